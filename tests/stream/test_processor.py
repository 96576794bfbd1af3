"""Live equals batch, totals equal rows, whatever the positions, prices and rates."""

from decimal import Decimal

import numpy as np
import pytest
from books import MINOR_UNITS, NOW_NS, SPECS, batch_inputs, create_prices, positions, quotes
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.revaluation import revalue
from stream.agreement import largest_difference
from stream.book import PositionsRefused
from stream.messages import PortfolioPositions, Position
from stream.processor import Processor

BASES = ("USD", "EUR", "GBP", "CHF", "AED", "JPY")
HOLDABLE = [spec.id for spec in SPECS if spec.asset_class != "fx"]
money = st.decimals(-10_000_000, 10_000_000, places=2)
quantities = st.decimals(-100_000, 1_000_000, places=6)
lines = st.builds(
    Position,
    st.sampled_from(HOLDABLE),
    quantities,
    money,
    money,
    quantities,
    money,
    money,
    st.none() | money,
)
records = st.builds(
    PortfolioPositions,
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 9),
    st.sampled_from(BASES),
    st.lists(lines, max_size=8, unique_by=lambda line: line.instrument).map(tuple),
    st.just(NOW_NS),
    st.just(NOW_NS),
)
SECURITIES = [spec for spec in SPECS if spec.asset_class not in ("cash", "fx")]
RATES = [spec for spec in SPECS if spec.asset_class == "fx"]
moves = st.floats(0.5, 2.0)  # of the prior close: amounts stay below the bound that ADR 6 states
marks = st.lists(
    st.tuples(st.sampled_from(SECURITIES + RATES), moves).map(lambda pair: (pair[0].id, pair[0].prior_close * pair[1])),
    max_size=12,
)


def minor(amount: float, currency: str) -> int:
    return round(amount * 10 ** MINOR_UNITS[currency])


def assert_totals_equal_rows(valuation) -> None:
    currency = valuation.base_currency
    assert sum(minor(row.value, currency) for row in valuation.rows) == minor(valuation.total_equity, currency)
    assert sum(minor(row.day_pnl, currency) for row in valuation.rows) == minor(valuation.day_pnl, currency)
    assert sum(minor(row.unrealised_pnl, currency) for row in valuation.rows) == minor(
        valuation.unrealised_pnl, currency
    )
    for amounts in valuation.allocation.values():
        assert sum(minor(amount, currency) for amount in amounts.values()) == minor(valuation.total_equity, currency)
    if valuation.total_equity:
        assert sum(row.weight for row in valuation.rows) == pytest.approx(1.0)


PACES = {"whatever is cheaper": (4.5, 10.0), "always what has changed": (1e9, 0.0), "always everything": (0.0, 1e9)}


@settings(max_examples=100, deadline=None)
@given(events=st.lists(st.one_of(records, marks), max_size=12))
@pytest.mark.parametrize("pace", PACES.values(), ids=PACES)
def test_live_equals_batch_and_totals_equal_rows(pace, events) -> None:
    processor = Processor(create_prices())
    processor.revaluation.pace.full_ns, processor.revaluation.pace.change_ns = pace
    newest: dict[str, PortfolioPositions] = {}
    for step, event in enumerate(events):
        if isinstance(event, PortfolioPositions):
            held = newest.get(event.portfolio)
            event = event if held is None else with_base(event, held.base_currency)
            if processor.apply_positions(event, 0, 1):
                newest[event.portfolio] = event
        else:
            processor.apply_quotes(quotes(*event, event_ns=NOW_NS + step), NOW_NS)
        processor.revalue(NOW_NS)
    terms, rates = batch_inputs(processor.prices)
    for index, portfolio in enumerate(processor.book.portfolios):
        valuation = processor.take(index, NOW_NS)
        assert_totals_equal_rows(valuation)
        record = newest[portfolio.id]
        batch = revalue(record.base_currency, record.positions, terms, rates)
        assert largest_difference(valuation, batch, MINOR_UNITS[valuation.base_currency]) == 0.0


def with_base(record: PortfolioPositions, base: str) -> PortfolioPositions:
    return PortfolioPositions(record.portfolio, record.version, base, record.positions, NOW_NS, NOW_NS)


def test_ties_round_half_even_as_decimal_does() -> None:
    processor = Processor(create_prices())
    record = positions("a", "USD", 1, (3, "101", "0"), (4, "3", "0"))
    processor.apply_positions(record, 0, 1)
    processor.apply_quotes(quotes((3, 157.575), (4, 1.115)), NOW_NS)
    processor.revalue(NOW_NS)
    values = {row.symbol: row.value for row in processor.take(0, NOW_NS).rows}
    assert values == {"AAPL": 15915.08, "XOM": 3.34}  # 15915.075 to the even 08, 3.345 to the even 34


def test_a_newer_version_replaces_and_an_older_one_changes_nothing() -> None:
    processor = Processor(create_prices())
    assert processor.apply_positions(positions("a", "USD", 5, (3, "10", "1500")), 0, 1)
    assert not processor.apply_positions(positions("a", "USD", 5, (3, "99", "1500")), 0, 1)
    assert not processor.apply_positions(positions("a", "USD", 4, (3, "99", "1500")), 0, 1)
    processor.revalue(NOW_NS)
    assert processor.take(0, NOW_NS).total_equity == 1500.0
    assert processor.apply_positions(positions("a", "USD", 6, *((n, "1", "1") for n in HOLDABLE)), 0, 1)
    processor.revalue(NOW_NS)
    assert len(processor.take(0, NOW_NS).rows) == len(HOLDABLE)


def test_a_growing_portfolio_leaves_its_neighbours_as_they_are() -> None:
    processor = Processor(create_prices())
    for number in range(300):
        processor.apply_positions(positions(f"p{number}", "USD", 1, (3, str(number), "0")), 0, 1)
    everything = [(n, "1", "0") for n in HOLDABLE]
    processor.apply_positions(positions("p7", "USD", 2, *everything), 0, 1)
    processor.revalue(NOW_NS)
    equities = [processor.take(index, NOW_NS).total_equity for index in range(300)]
    assert equities[8:] == [150.0 * number for number in range(8, 300)]


def test_positions_that_cannot_be_valued_are_refused_and_the_old_ones_stay() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("a", "USD", 1, (3, "10", "1500")), 0, 1)
    with pytest.raises(PositionsRefused, match=r"\[77\]") as refused:
        processor.apply_positions(positions("a", "USD", 2, (3, "10", "1"), (77, "1", "1")), 0, 1)
    assert refused.value.reason == "unknown_instrument"
    with pytest.raises(PositionsRefused, match="XTS"):
        processor.apply_positions(positions("b", "XTS", 1, (3, "10", "1")), 0, 1)
    processor.revalue(NOW_NS)
    assert processor.take(0, NOW_NS).total_equity == 1500.0
    assert processor.portfolio("b") is None


def test_only_portfolios_that_a_price_touches_are_revalued() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("us", "USD", 1, (3, "10", "0")), 0, 1)
    processor.apply_positions(positions("ch", "CHF", 1, (12, "10", "0")), 0, 1)
    assert processor.revalue(NOW_NS) == 2
    assert processor.revalue(NOW_NS) == 0
    processor.apply_quotes(quotes((3, 151.0)), NOW_NS)
    assert processor.revalue(NOW_NS) == 1
    processor.apply_quotes(quotes((9, 0.9)), NOW_NS)
    assert processor.revalue(NOW_NS) == 1


def test_day_pnl_splits_into_price_and_currency_effect() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("a", "USD", 1, (2, "1000", "0")), 0, 1)
    processor.apply_quotes(quotes((7, 1.2)), NOW_NS)
    processor.revalue(NOW_NS)
    valuation = processor.take(0, NOW_NS)
    assert (valuation.day_pnl, valuation.day_pnl_price, valuation.day_pnl_currency) == (100.0, 0.0, 100.0)


def test_a_trade_of_the_day_counts_from_its_own_price() -> None:
    """20 shares bought today at 152 with cash from the opening: only the move since then is profit."""
    bought = Position(3, Decimal(20), Decimal(3040), Decimal(3040), Decimal(0), Decimal(3040))
    cash = Position(1, Decimal(6960), Decimal(0), Decimal(0), Decimal(10_000), Decimal(-3040))
    processor = Processor(create_prices())
    processor.apply_positions(PortfolioPositions("a", 1, "USD", (cash, bought), NOW_NS, NOW_NS), 0, 1)
    processor.apply_quotes(quotes((3, 155.0)), NOW_NS)
    processor.revalue(NOW_NS)
    valuation = processor.take(0, NOW_NS)
    assert (valuation.total_equity, valuation.day_pnl, valuation.unrealised_pnl) == (10_060.0, 60.0, 60.0)


def test_the_roll_of_the_day_starts_the_pnl_anew() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("a", "USD", 1, (3, "10", "0")), 0, 1)
    processor.apply_quotes(quotes((3, 155.0)), NOW_NS)
    processor.revalue(NOW_NS)
    processor.begin_day(NOW_NS, {3: (155.0, NOW_NS)})
    processor.revalue(NOW_NS)
    assert processor.take(0, NOW_NS).day_pnl == 0.0


def test_positions_of_an_earlier_day_open_with_what_is_held() -> None:
    """What was bought yesterday was there at the close: today it is no trade."""
    bought = Position(3, Decimal(20), Decimal(3040), Decimal(3040), Decimal(0), Decimal(3040), Decimal(7))
    processor = Processor(create_prices(), day_start_ns=NOW_NS + 1)
    processor.apply_positions(PortfolioPositions("a", 1, "USD", (bought,), NOW_NS, NOW_NS), 0, 1)
    processor.apply_quotes(quotes((3, 151.0)), NOW_NS)
    processor.revalue(NOW_NS)
    valuation = processor.take(0, NOW_NS)
    assert (valuation.day_pnl, valuation.realised_pnl_today) == (20.0, 0.0)


def test_the_totals_of_the_book_convert_each_portfolio_once() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("us", "USD", 1, (3, "10", "0")), 0, 1)
    processor.apply_positions(positions("eu", "EUR", 1, (3, "10", "0")), 0, 1)
    processor.revalue(NOW_NS)
    totals = processor.totals()
    assert totals.total_equity.tolist() == [150_000, 136_364]
    assert totals.equity_reference.tolist() == [150_000, 150_000]
    assert np.isfinite(totals.day_pnl_pct).all()


def test_a_short_position_and_an_empty_portfolio_are_valued() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("short", "USD", 1, (3, "-10", "-1600")), 0, 1)
    processor.apply_positions(positions("empty", "USD", 1), 0, 1)
    processor.apply_quotes(quotes((3, 140.0)), NOW_NS)
    processor.revalue(NOW_NS)
    short, empty = processor.take(0, NOW_NS), processor.take(1, NOW_NS)
    assert (short.total_equity, short.day_pnl, short.unrealised_pnl) == (-1400.0, 100.0, 200.0)
    assert (empty.total_equity, empty.day_pnl_pct, empty.stale_share) == (0.0, 0.0, 0.0)
