"""Whatever comes in whatever order, the book holds what a dictionary would."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from books import SPECS, create_prices
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream.book import Book
from stream.messages import PortfolioPositions, Position
from stream.prices import InstrumentSpec

HOLDABLE = [spec.id for spec in SPECS if spec.asset_class != "fx"]
amounts = st.integers(-1_000_000, 1_000_000).map(lambda cents: Decimal(cents) / 100)
TODAY_NS = 1_000


class BookModel(RuleBasedStateMachine):
    """Put, replace, grow, shrink, learn of instruments and begin days, beside a dictionary that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.prices = create_prices()
        self.book = Book(self.prices, day_start_ns=TODAY_NS, capacity=8)
        self.model: dict[str, PortfolioPositions] = {}
        self.learnt = 0

    @rule(
        portfolio=st.integers(0, 90).map(str),
        version=st.integers(0, 4),
        base=st.sampled_from(["USD", "EUR", "JPY"]),
        held=st.dictionaries(st.integers(0, 30), st.tuples(amounts, amounts, amounts), max_size=12),
        event_ns=st.sampled_from([TODAY_NS - 1, TODAY_NS]),
    )
    def put(
        self,
        portfolio: str,
        version: int,
        base: str,
        held: dict[int, tuple[Decimal, Decimal, Decimal]],
        event_ns: int,
    ) -> None:
        known = HOLDABLE + [100 + number for number in range(self.learnt)]
        lines = {known[number % len(known)]: values for number, values in held.items()}
        record = PortfolioPositions(
            portfolio, version, base, tuple(line(one, *values) for one, values in lines.items()), event_ns, 0
        )
        is_news = portfolio not in self.model or version > self.model[portfolio].version
        assert (self.book.put(record, 0, 1) is not None) == is_news
        if is_news:
            self.model[portfolio] = record if event_ns >= self.book.day_starts_ns[0] else opened(record)

    @rule()
    def learn(self) -> None:
        number = 100 + self.learnt
        self.prices.add(
            [InstrumentSpec(number, f"N{number}", "", "equity", "", "US", "USD", None, 1.0, 2.0 + self.learnt, 0)]
        )
        self.learnt += 1

    @rule()
    def begin_day(self) -> None:
        self.book.begin_day(self.book.day_starts_ns[0] + 1)
        self.model = {
            key: record if record.event_ns >= self.book.day_starts_ns[0] else opened(record)
            for key, record in self.model.items()
        }

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert set(self.book.by_id) == set(self.model)
        for key, record in self.model.items():
            portfolio = self.book.by_id[key]
            run = self.book.run(portfolio)
            base = self.prices.currencies[portfolio.base]
            assert (base, int(self.book.base[portfolio.index])) == (record.base_currency, portfolio.base)
            ids = [self.prices.specs[index].id for index in self.book.instrument[run].tolist()]
            assert ids == [line.instrument for line in record.positions]
            assert self.book.quantity[run].tolist() == [float(line.quantity) for line in record.positions]
            assert self.book.traded[run].tolist() == [float(line.day_traded) for line in record.positions]
            assert self.book.opening_quantity[run].tolist() == [
                float(line.opening_quantity) for line in record.positions
            ]

    @rule()
    def compact(self) -> None:
        self.book.compact()

    @invariant()
    def the_index_leads_to_every_position_and_to_nothing_else(self) -> None:
        index = self.book.index
        found = {}
        for instrument, (start, count) in enumerate(zip(index.start, index.count, strict=True)):
            for entry in range(start, start + count):
                place = int(index.place[entry])
                assert place not in found
                assert index.slot[place] == entry - start
                found[place] = (instrument, int(index.holder[entry]), float(index.quantity[entry]))
        held = {}
        for portfolio in self.book.portfolios:
            for place in range(*self.book.run(portfolio).indices(len(self.book.instrument))):
                held[place] = (int(self.book.instrument[place]), portfolio.index, float(self.book.quantity[place]))
        assert found == held
        order = np.argsort(index.start, kind="stable")
        ends, starts = (index.start + index.room)[order], index.start[order]
        taken = index.room[order] > 0
        assert (starts[taken][1:] >= ends[taken][:-1]).all()
        assert (index.count <= index.room).all()

    @invariant()
    def runs_do_not_overlap(self) -> None:
        size = len(self.book)
        order = np.argsort(self.book.start[:size], kind="stable")
        starts, room, count = self.book.start[order], self.book.room[order], self.book.count[order]
        taken = room > 0  # an empty portfolio has no place of its own
        assert (count <= room).all()
        assert (starts[taken][1:] >= (starts + room)[taken][:-1]).all()


def line(instrument: int, quantity: Decimal, opening: Decimal, traded: Decimal) -> Position:
    return Position(instrument, quantity, Decimal(1), Decimal(1), opening, traded, Decimal(0))


def opened(record: PortfolioPositions) -> PortfolioPositions:
    """Return the record as the next day finds it: all that is held was there, nothing is traded."""
    lines = tuple(line(one.instrument, one.quantity, one.quantity, Decimal(0)) for one in record.positions)
    return PortfolioPositions(record.portfolio, record.version, record.base_currency, lines, record.event_ns, 0)


BookModel.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBook = BookModel.TestCase
