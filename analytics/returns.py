"""Measure performance: time-weighted returns of days, chained over periods.

A day's return is (equity - flow) / equity of the day before - 1, external flows at the end of the day.
Returns are fractions, not percent; geometric chaining; nothing is annualised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class PeriodReturn:
    """Hold what a period brought: `fraction` time-weighted, `gain` in money net of external flows."""

    fraction: float
    gain: float


# How far back a period's base lies: (months, days). `daily` is the last valuation before the newest one.
PERIODS: dict[str, tuple[int, int]] = {
    "daily": (0, 0),
    "weekly": (0, 7),
    "monthly": (1, 0),
    "quarterly": (3, 0),
    "yearly": (12, 0),
    "threeYear": (36, 0),
    "fiveYear": (60, 0),
}


def day_returns(equity: npt.ArrayLike, net_flow: npt.ArrayLike) -> Array:
    """Return the time-weighted return of each day.

    `equity` and `net_flow` (deposits positive, in the same currency) are [..., days]. A day after one
    without positive equity has no base and returns 0, as does the first day.
    """
    value = np.asarray(equity, np.float64)
    flow = np.asarray(net_flow, np.float64)
    returns = np.zeros_like(value)
    before = value[..., :-1]
    based = before > 0
    np.divide(value[..., 1:] - flow[..., 1:] - before, before, out=returns[..., 1:], where=based)
    return returns


def chain(returns: npt.ArrayLike) -> float:
    """Return the return of all periods together; 0 where there are none."""
    return float(np.prod(1.0 + np.asarray(returns, np.float64)) - 1.0)


def cumulative(returns: npt.ArrayLike) -> Array:
    """Return the chained return up to and including each period, of the same shape."""
    grown = np.cumprod(1.0 + np.asarray(returns, np.float64), axis=-1, dtype=np.float64)
    return grown - 1.0


def period_returns(dates: Dates, equity: npt.ArrayLike, net_flow: npt.ArrayLike) -> dict[str, PeriodReturn | None]:
    """Return what each of `PERIODS` brought up to the newest valuation; None where the history is shorter.

    `dates` are datetime64[D], ascending; `equity` and `net_flow` have one entry a date. To include today,
    append its live equity and flow. A period begins with the last valuation on or before its first day.
    """
    value = np.asarray(equity, np.float64)
    flow = np.asarray(net_flow, np.float64)
    returns = day_returns(value, flow)
    result: dict[str, PeriodReturn | None] = {}
    for name in PERIODS:
        base = _base(dates, name)
        if base < 0 or value[base] <= 0:
            result[name] = None
            continue
        gain = value[-1] - value[base] - flow[base + 1 :].sum()
        result[name] = PeriodReturn(chain(returns[base + 1 :]), float(gain))
    return result


def _base(dates: Dates, period: str) -> int:
    """Return the index of the valuation that a period starts from, negative where there is none."""
    if len(dates) < 2:
        return -1
    months, days = PERIODS[period]
    if not months and not days:
        return len(dates) - 2
    start = _months_before(dates[-1], months) - np.timedelta64(days, "D")
    return int(np.searchsorted(dates, start, side="right")) - 1


def _months_before(day: np.datetime64, months: int) -> np.datetime64:
    """Return the same day of the month so many months ago, or that month's last day where it is shorter."""
    month = day.astype("datetime64[M]")
    target = month - np.timedelta64(months, "M")
    last = (target + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    same = target.astype("datetime64[D]") + (day.astype("datetime64[D]") - month.astype("datetime64[D]"))
    return min(same, last)


def percent_of_opening(gain: float, value: float) -> float:
    """Return a gain in percent of what it was made on, value less gain; 0 where that is nothing."""
    opening = value - gain
    return 100.0 * gain / abs(opening) if opening else 0.0
