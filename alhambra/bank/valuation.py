"""Value every portfolio at every close: the performance history that the seed writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from alhambra.bank.model import Account, Bank, BankBooking
from alhambra.bank.prices import dollar_rates
from analytics.returns import day_returns

Array = npt.NDArray[np.float64]

FLOW_TYPES = frozenset({"deposit", "withdrawal"})


@dataclass(frozen=True, slots=True)
class DailyHistory:
    """Hold one portfolio's closes in base currency from its first day, float64 [days]; amounts to the cent."""

    portfolio_id: UUID
    dates: Sequence[date]
    equity: Array
    net_flow: Array
    day_return: Array


@dataclass(frozen=True, slots=True)
class _Tables:
    """Hold what all portfolios share: the value in dollars of one unit [dates, instruments], and the axes."""

    values: Array
    dollars: Mapping[str, Array]
    columns: Mapping[str, int]
    days: Mapping[date, int]


def daily_histories(bank: Bank) -> Iterator[DailyHistory]:
    """Yield the history of each account that has bookings before today, in the order of the accounts."""
    tables = _tables(bank)
    by_account: dict[str, list[BankBooking]] = defaultdict(list)
    for booking in bank.bookings:
        if booking.booked_at.date() < bank.today:
            by_account[booking.iboss_account_id].append(booking)
    for account in bank.accounts:
        if account.iboss_account_id in by_account:
            yield _history(account, by_account[account.iboss_account_id], bank.dates, tables)


def _tables(bank: Bank) -> _Tables:
    dollars = dollar_rates(bank.instruments, bank.closes)
    factors = np.array([instrument.price_factor for instrument in bank.instruments])
    rates = np.column_stack([dollars[instrument.currency] for instrument in bank.instruments])
    columns = {instrument.symbol: column for column, instrument in enumerate(bank.instruments)}
    return _Tables(
        bank.closes * factors * rates, dollars, columns, {day: place for place, day in enumerate(bank.dates)}
    )


def _history(account: Account, bookings: Sequence[BankBooking], dates: Sequence[date], tables: _Tables) -> DailyHistory:
    first = tables.days[account.opened_on]
    length = len(dates) - first
    moved: dict[str, Array] = {}
    flows = np.zeros(length)
    for booking in bookings:
        day = tables.days[booking.booked_at.date()] - first
        amount = float(booking.amount)
        _moves(moved, booking.currency, length)[day] += amount
        if booking.symbol is not None and booking.quantity is not None:
            _moves(moved, booking.symbol, length)[day] += float(booking.quantity)
        if booking.type in FLOW_TYPES:
            flows[day] += amount * float(booking.rate_to_base)
    held = np.cumsum(np.column_stack(list(moved.values())), axis=0)
    values = tables.values[first:, [tables.columns[symbol] for symbol in moved]]
    equity = np.round((held * values).sum(axis=1) / tables.dollars[account.base_currency][first:], 2)
    flows = np.round(flows, 2)
    return DailyHistory(account.portfolio_id, dates[first:], equity, flows, day_returns(equity, flows))


def _moves(moved: dict[str, Array], symbol: str, length: int) -> Array:
    """Return what moved of a symbol each day, beginning with nothing."""
    found = moved.get(symbol)
    if found is None:
        found = moved[symbol] = np.zeros(length)
    return found


def to_money(amount: float) -> Decimal:
    """Turn an amount that is rounded to the cent into `Decimal`."""
    return Decimal(f"{amount:.2f}")
