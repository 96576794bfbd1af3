from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from fakes_api import create_valuation
from hypothesis import given
from hypothesis import strategies as st

from analytics.returns import percent_of_opening
from api.portfolio.combine import allocation, combine
from api.portfolio.performance import RateClose, Today, performance
from api.portfolio.rates import MissingRate, Rate, conversion, dollar_values
from api.portfolio.shapes import allocation_shape, holdings_shape
from db.history import DailyValuation
from db.instruments import Instrument


def instrument(symbol: str, asset_class: str, currency: str) -> Instrument:
    return Instrument(1, symbol, None, symbol, asset_class, "Sector", "US", currency, None, 1.0, 0.01, "")


SAME = Rate(1.0, 1.0)
KNOWN = {
    "AAPL": instrument("AAPL", "equity", "USD"),
    "NESN": instrument("NESN", "equity", "CHF"),
    "USD": instrument("USD", "cash", "USD"),
}
cents = st.integers(-(10**11), 10**11)
holdings = st.dictionaries(st.sampled_from(sorted(KNOWN)), st.tuples(cents, cents), min_size=1)


@given(holdings, holdings, st.floats(0.01, 100))
def test_totals_equal_rows_whatever_is_put_together(
    first: dict[str, tuple[int, int]], second: dict[str, tuple[int, int]], rate: float
) -> None:
    valuations = [create_valuation("a", first), create_valuation("b", second, currency="EUR")]
    combined = combine(valuations, {"USD": SAME, "EUR": Rate(rate, rate)}, "USD", 2, KNOWN)
    assert combined.total_equity == sum(one.value for one in combined.holdings)
    assert combined.day_pnl == sum(one.day_pnl for one in combined.holdings)
    assert combined.cash == sum(one.value for one in combined.holdings if one.symbol == "USD")
    for parts in allocation(combined, KNOWN).values():
        assert sum(parts.values()) == combined.total_equity
    shape = holdings_shape(combined, KNOWN, 0)
    percent = percent_of_opening(combined.day_pnl, combined.total_equity)
    assert sum(one["contribution"] for one in shape) == pytest.approx(percent, rel=1e-6, abs=1e-6)
    assert round(100 * sum(Decimal(str(one["value"])) for one in shape)) == combined.total_equity


@given(holdings)
def test_one_portfolio_alone_has_its_own_digits(values: dict[str, tuple[int, int]]) -> None:
    valuation = create_valuation("a", values, seq=7)
    combined = combine([valuation], {"USD": SAME}, "USD", 2, KNOWN)
    assert combined.amount(combined.total_equity) == valuation.total_equity
    assert combined.amount(combined.day_pnl) == valuation.day_pnl
    assert combined.amount(combined.cash) == valuation.cash
    assert {one.symbol: combined.amount(one.value) for one in combined.holdings} == {
        row.symbol: row.value for row in valuation.rows
    }
    assert combined.seq == 7
    for row in holdings_shape(combined, KNOWN, 0):
        theirs = next(one for one in valuation.rows if one.symbol == row["symbol"])
        assert (row["weight"], row["dayPLPercent"]) == (theirs.weight, theirs.day_pnl_pct)


def test_the_same_instrument_in_two_portfolios_is_one_row() -> None:
    valuations = [
        create_valuation("a", {"AAPL": (1000, 10)}),
        create_valuation("b", {"AAPL": (501, 1)}, currency="EUR"),
    ]
    combined = combine(valuations, {"USD": SAME, "EUR": Rate(1.5, 1.5)}, "USD", 2, KNOWN)
    (row,) = combined.holdings
    assert (row.value, row.day_pnl, row.quantity) == (1752, 12, 20.0)  # 1000 + 751.5 and 10 + 1.5, ties to even


def test_the_days_profit_is_the_change_of_the_value_in_the_currency_it_is_shown_in() -> None:
    """1,000.00 EUR that gained 10.00 today, while the euro went from 1.10 to 1.20: worth 1,089 then and 1,200 now."""
    combined = combine(
        [create_valuation("a", {"AAPL": (100_000, 1_000)}, currency="EUR")], {"EUR": Rate(1.2, 1.1)}, "USD", 2, KNOWN
    )
    assert (combined.total_equity, combined.day_pnl) == (120_000, 120_000 - 108_900)


def test_an_unknown_instrument_is_still_counted() -> None:
    combined = combine([create_valuation("a", {"NEW": (1000, 10)})], {"USD": SAME}, "USD", 2, {})
    assert allocation_shape(combined, {})["sector"] == [{"name": "unknown", "value": 10.0, "weight": 1.0}]


def test_rates_go_through_the_dollar_whichever_way_they_are_quoted() -> None:
    values = dollar_values([("EUR", "USD", 1.25), ("USD", "CHF", 0.8), ("EUR", "GBP", 0.9), ("USD", "JPY", 0.0)])
    assert conversion(values, "EUR", "CHF") == pytest.approx(1.0)
    assert conversion(values, "CHF", "USD") == pytest.approx(1.25)
    assert conversion({}, "SEK", "SEK") == 1.0
    with pytest.raises(MissingRate, match="JPY"):
        conversion(values, "JPY", "EUR")


START = date(2026, 1, 1)


def days(portfolio: object, equities: list[float], first: int = 0) -> list[DailyValuation]:
    return [
        DailyValuation(portfolio, START + timedelta(days=first + index), Decimal(str(one)), Decimal(0), 0.0)  # type: ignore[arg-type]
        for index, one in enumerate(equities)
    ]


def test_performance_chains_the_past_with_the_present_and_leaves_deposits_out() -> None:
    portfolio = uuid4()
    found = performance(
        days(portfolio, [100, 110]), {portfolio: "USD"}, [], "USD", Today(START + timedelta(days=2), 171.0, 50.0)
    )
    daily, weekly = found["daily"], found["weekly"]
    assert daily is not None
    assert daily.fraction == pytest.approx(0.1)  # 110 grew by 11; 50 came in
    assert daily.gain == pytest.approx(11)
    assert weekly is None


def test_portfolios_in_several_currencies_are_converted_at_the_rates_of_each_day() -> None:
    euros, dollars = uuid4(), uuid4()
    closes = [RateClose(START, "EUR", "USD", 1.0), RateClose(START + timedelta(days=7), "EUR", "USD", 1.2)]
    past = days(euros, [100] * 8) + days(dollars, [100] * 3, first=5)
    found = performance(
        past, {euros: "EUR", dollars: "USD"}, closes, "USD", Today(START + timedelta(days=8), 220.0, 0.0)
    )["daily"]
    assert found is not None
    assert found.fraction == pytest.approx(0.0)  # 120 + 100 the day before
    with pytest.raises(MissingRate):
        performance(past, {euros: "EUR", dollars: "USD"}, [], "USD", Today(START + timedelta(days=8), 1.0, 0.0))


def test_without_a_past_there_is_no_performance() -> None:
    found = performance([], {uuid4(): "USD"}, [], "USD", Today(START, 100.0, 0.0))
    assert set(found.values()) == {None}
    assert set(found) == {"daily", "weekly", "monthly", "quarterly", "yearly", "threeYear", "fiveYear"}
