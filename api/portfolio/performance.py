"""Chain a client's past with the live present: what each period brought, in one currency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from analytics.returns import PeriodReturn, period_returns
from api.portfolio.rates import conversion, dollar_values
from db.history import DailyValuation

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Today:
    """Hold the live present: equity now and external flows since the newest day kept, in the target currency."""

    date: date
    equity: float
    net_flow: float


@dataclass(frozen=True, slots=True)
class RateClose:
    """Hold the close of a rate of exchange: units of `quoted` for one `base`."""

    date: date
    base: str
    quoted: str
    close: float


def performance(
    days: Sequence[DailyValuation],
    currencies: Mapping[UUID, str],
    closes: Iterable[RateClose],
    target: str,
    today: Today,
) -> dict[str, PeriodReturn | None]:
    """Return what each period brought to these portfolios together, converted at each day's own rates.

    Before a portfolio's first day it is worth nothing, after its last what it was worth then. Raises `MissingRate`.
    """
    past = [day for day in days if day.date < today.date]
    dates = sorted({day.date for day in past})
    factors = _factors(dates, closes, set(currencies.values()), target)
    equity, flow = np.zeros(len(dates)), np.zeros(len(dates))
    for portfolio in {day.portfolio_id for day in past}:
        mine = [day for day in past if day.portfolio_id == portfolio]
        factor = factors[currencies[portfolio]]
        equity += _carried(dates, [(day.date, day.total_equity) for day in mine]) * factor
        flow += _placed(dates, [(day.date, day.net_flow) for day in mine]) * factor
    return period_returns(
        np.array([*dates, today.date], "datetime64[D]"),
        np.append(equity, today.equity),
        np.append(flow, today.net_flow),
    )


def _placed(dates: list[date], values: list[tuple[date, Decimal]]) -> Array:
    row = np.zeros(len(dates))
    row[np.searchsorted(_days(dates), _days([day for day, _ in values]))] = [float(value) for _, value in values]
    return row


def _carried(dates: list[date], values: list[tuple[date, Decimal]]) -> Array:
    index = np.searchsorted(_days([day for day, _ in values]), _days(dates), side="right") - 1
    known = np.array([float(value) for _, value in values])
    return np.where(index >= 0, known[np.maximum(index, 0)], 0.0)


def _factors(dates: list[date], closes: Iterable[RateClose], wanted: set[str], target: str) -> dict[str, Array]:
    """Return for each currency and date the units of `target` one is, the newest close of each rate known then."""
    if wanted <= {target}:
        return {target: np.ones(len(dates))}
    ordered = sorted(closes, key=lambda one: one.date)
    quotes = {(one.base, one.quoted): one.close for one in reversed(ordered)}  # before its first close: the first
    factors = {currency: np.ones(len(dates)) for currency in wanted}
    place = 0
    for index, day in enumerate(dates):
        while place < len(ordered) and ordered[place].date <= day:
            quotes[ordered[place].base, ordered[place].quoted] = ordered[place].close
            place += 1
        values = dollar_values((base, quoted, price) for (base, quoted), price in quotes.items())
        for currency in wanted:
            factors[currency][index] = conversion(values, currency, target)
    return factors


def _days(dates: Sequence[date]) -> npt.NDArray[np.datetime64]:
    return np.array(dates, "datetime64[D]")
