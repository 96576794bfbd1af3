"""What is watched is written at once, the rest within its budget, longest waiting first; an outage loses nothing."""

from collections import Counter

import numpy as np
import pytest
from books import create_prices, positions, quotes
from fakes_stream import FakeProducer, FakeStore

from db.live import Watched
from stream.outbox import Outbox
from stream.processor import Processor
from stream.publisher import BACKGROUND_PER_CYCLE, Publisher

CYCLE_NS = 50_000_000
SECOND_NS = 1_000_000_000


class Cycles:
    """Drive a publisher over a synthetic book in which every cycle changes everything."""

    def __init__(self, portfolios: int) -> None:
        self.processor = Processor(create_prices())
        for number in range(portfolios):
            self.processor.apply_positions(positions(f"p{number}", "USD", 1, (3, str(number + 1), "0")), 0, 1)
        self.store = FakeStore()
        self.publisher = Publisher(self.processor, self.store, Outbox(FakeProducer()), "worker", 7)
        self.now_ns = 10 * SECOND_NS
        self.price = 100.0

    async def turn(self, step_ns: int = CYCLE_NS, tick: bool = True) -> None:
        self.now_ns += step_ns
        if tick:
            self.price += 0.5
            self.processor.apply_quotes(quotes((3, self.price), event_ns=self.now_ns), self.now_ns)
        self.processor.revalue(self.now_ns)
        await self.publisher.publish(self.now_ns)

    def stored(self) -> Counter[str]:
        return Counter(portfolio for stored, _ in self.store.rounds for portfolio in stored)


async def test_a_watched_portfolio_is_published_each_cycle_and_the_others_once_a_second() -> None:
    cycles = Cycles(20)
    cycles.publisher.watched = Watched(keen=frozenset({"p3", "p4", "nobody's"}))
    for _ in range(40):  # two seconds, from 0.05 s on
        await cycles.turn()
    rounds = [(stored, published) for stored, published in cycles.store.rounds if published]
    assert [(set(stored), published) for stored, published in rounds] == [({"p3", "p4"}, {"p3", "p4"})] * 40
    counts = cycles.stored()
    assert (counts.pop("p3"), counts.pop("p4")) == (40, 40)
    assert set(counts.values()) == {2}


async def test_the_budget_of_a_cycle_holds_with_a_thousand_portfolios_and_all_have_their_turn() -> None:
    cycles = Cycles(1000)
    for _ in range(20):
        await cycles.turn()
    sizes = [len(stored) for stored, _ in cycles.store.rounds]
    assert sizes == [BACKGROUND_PER_CYCLE] * 20  # within a second all of them; then they wait for theirs
    assert set(cycles.stored().values()) == {1}


async def test_the_longest_waiting_go_first() -> None:
    cycles = Cycles(350)
    written = {f"p{number}": 0 for number in range(350)}
    for _ in range(14):
        await cycles.turn(SECOND_NS)
        newest = cycles.store.rounds[-1][0]
        assert max(written[one] for one in newest) <= min(written[one] for one in written.keys() - newest)
        written |= dict.fromkeys(newest, cycles.now_ns)


async def test_what_waits_for_its_second_is_written_without_another_tick() -> None:
    cycles = Cycles(1)
    await cycles.turn()
    await cycles.turn()
    assert len(cycles.store.rounds) == 1
    await cycles.turn(SECOND_NS, tick=False)
    assert len(cycles.store.rounds) == 2
    assert len(cycles.processor.pending()) == 0


@pytest.mark.parametrize("watched", [set(), {"p1"}], ids=["nothing watched", "one watched"])
async def test_everything_is_written_again_after_an_outage(watched: set[str]) -> None:
    """Redis may have come back empty: so also what has not changed since is written."""
    cycles = Cycles(5)
    cycles.publisher.watched = Watched(keen=frozenset(watched))
    await cycles.turn()
    cycles.store.away = True
    await cycles.turn(SECOND_NS)
    await cycles.turn()
    cycles.store.away = False
    cycles.store.rounds.clear()
    cycles.store.layouts.clear()
    await cycles.turn(SECOND_NS, tick=False)
    assert set(cycles.stored()) == {f"p{number}" for number in range(5)}
    assert len(cycles.store.layouts) == 1
    prices = cycles.processor.prices
    assert set(cycles.store.quotes) == {one.symbol for one in prices.specs if one.asset_class != "cash"}


async def test_totals_follow_their_layout_and_are_written_four_times_a_second() -> None:
    cycles = Cycles(3)
    for _ in range(20):
        await cycles.turn()
    assert len(cycles.store.totals) == 4
    assert [one.seq for one in cycles.store.totals] == [1, 2, 3, 4]
    cycles.processor.apply_positions(positions("late", "USD", 1, (3, "1", "0")), 0, 1)
    await cycles.turn(SECOND_NS)
    assert [one.portfolios[-1] for one in cycles.store.layouts] == ["p2", "late"]
    newest = cycles.store.totals[-1]
    assert (newest.epoch, newest.layout) == (cycles.store.layouts[-1].epoch, cycles.store.layouts[-1].layout)
    assert np.frombuffer(newest.total_equity, "<i8").tolist() == [
        round(cycles.price * quantity * 100) for quantity in (1, 2, 3, 1)
    ]
