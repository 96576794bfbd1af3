import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.returns import PERIODS, chain, cumulative, day_returns, period_returns

AMOUNTS = st.floats(1_000, 1_000_000)
GROWTHS = st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=40)


def days(count: int, last: str = "2026-11-20") -> np.ndarray:
    return np.datetime64(last, "D") - np.arange(count)[::-1].astype("timedelta64[D]")


def grow(first: float, growths: list[float], flows: list[float]) -> np.ndarray:
    """Return the equity of days that each grow, then receive a flow at their end."""
    equity = [first]
    for growth, flow in zip(growths, flows, strict=True):
        equity.append(equity[-1] * (1 + growth) + flow)
    return np.array(equity)


def test_a_flow_at_the_end_of_the_day_is_no_performance() -> None:
    assert day_returns([100.0, 160.0, 176.0], [100.0, 50.0, 0.0]).tolist() == pytest.approx([0.0, 0.1, 0.1])


def test_a_day_after_one_without_equity_returns_nothing() -> None:
    assert day_returns([0.0, 100.0, 0.0, 50.0], [0.0, 100.0, -100.0, 50.0]).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_several_portfolios_are_measured_at_once() -> None:
    equity = np.array([[100.0, 110.0], [200.0, 150.0]])
    assert day_returns(equity, np.zeros_like(equity))[:, 1].tolist() == pytest.approx([0.1, -0.25])


@given(AMOUNTS, GROWTHS, st.data())
def test_chained_returns_are_the_growth_whatever_flows_in_or_out(first: float, growths: list[float], data) -> None:
    flows = data.draw(st.lists(st.floats(0, 100_000), min_size=len(growths), max_size=len(growths)))
    equity = grow(first, growths, flows)
    measured = chain(day_returns(equity, [0.0, *flows])[1:])
    assert measured == pytest.approx(math.prod(1 + growth for growth in growths) - 1, rel=1e-9, abs=1e-9)


@given(GROWTHS, st.data())
def test_chaining_parts_is_chaining_the_whole(growths: list[float], data) -> None:
    cut = data.draw(st.integers(0, len(growths)))
    parts = (1 + chain(growths[:cut])) * (1 + chain(growths[cut:])) - 1
    assert parts == pytest.approx(chain(growths), abs=1e-12)
    assert cumulative(growths)[-1] == pytest.approx(chain(growths), abs=1e-12)


def test_the_return_of_nothing_is_zero() -> None:
    assert chain([]) == 0.0


@given(AMOUNTS, GROWTHS)
def test_the_gain_is_what_equity_grew_by_beyond_flows(first: float, growths: list[float]) -> None:
    flows = [500.0] * len(growths)
    equity = grow(first, growths, flows)
    dates = days(len(equity))
    daily = period_returns(dates, equity, [0.0, *flows])["daily"]
    assert daily is not None
    assert daily.gain == pytest.approx(equity[-2] * growths[-1], rel=1e-6, abs=1e-6)
    assert daily.fraction == pytest.approx(growths[-1], abs=1e-9)


def test_a_period_begins_with_the_last_valuation_on_or_before_its_first_day() -> None:
    dates = np.array(["2026-10-16", "2026-11-12", "2026-11-16", "2026-11-20"], "datetime64[D]")
    found = period_returns(dates, [100.0, 110.0, 120.0, 132.0], [0.0] * 4)
    fractions = {name: found[name] and round(found[name].fraction, 9) for name in PERIODS}
    assert fractions == {
        "daily": 0.1,
        "weekly": 0.2,
        "monthly": 0.32,
        "quarterly": None,
        "yearly": None,
        "threeYear": None,
        "fiveYear": None,
    }


def test_years_are_counted_by_the_calendar() -> None:
    dates = np.array(["2021-11-20", "2023-11-20", "2025-11-20", "2026-11-20"], "datetime64[D]")
    found = period_returns(dates, [100.0, 200.0, 400.0, 800.0], [0.0] * 4)
    assert [found[name].gain for name in ("yearly", "threeYear", "fiveYear")] == [400.0, 600.0, 700.0]


def test_a_month_back_from_its_thirty_first_day_is_the_last_of_the_shorter_month() -> None:
    dates = np.array(["2026-02-27", "2026-02-28", "2026-03-31"], "datetime64[D]")
    assert period_returns(dates, [1.0, 2.0, 4.0], [0.0] * 3)["monthly"].gain == 2.0


@pytest.mark.parametrize("count", [0, 1])
def test_a_history_of_less_than_two_days_has_no_periods(count: int) -> None:
    found = period_returns(days(count), np.ones(count), np.zeros(count))
    assert found == dict.fromkeys(PERIODS)
