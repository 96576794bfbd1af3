"""Compute market value and profit and loss, row by row and in total, in one compiled pass.

For a position of quantity q at unit value p (price times factor, local currency), traded t since the prior
close, opening value o (base currency), with the cross rate x now and y at the prior close:

    value            = q p x
    day P&L          = (q p - t) x - o
      price effect   = (q p - t) y - o           at the rates of the prior close
      currency effect = day P&L - price effect
    unrealised P&L   = q p x - cost              cost in base currency at booking rates; nothing for cash

Each is rounded once to the minor unit (`stream.rounding`); every total is the sum of rounded rows in
integers, so that totals equal rows exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from stream.book import Book, Portfolio
from stream.prices import PriceTable
from stream.rounding import round_minor

EQUITY, CASH, DAY, DAY_PRICE, UNREALISED = range(5)
TOTALS = 5


class Revaluation:
    """Keep the totals of every portfolio in integer minor units, and who has changed since last published.

    `totals` is int64 [portfolio, (equity, cash, day P&L, its price effect, unrealised P&L)]; `stale_share`
    float64, `oldest_price_ns` int64 and `pending` uint8 by portfolio.
    """

    def __init__(self, prices: PriceTable, book: Book) -> None:
        self._prices = prices
        self._book = book
        self.totals = np.zeros((0, TOTALS), np.int64)
        self.stale_share = np.zeros(0)
        self.oldest_price_ns = np.zeros(0, np.int64)
        self.pending = np.zeros(0, np.uint8)
        self.touched = np.zeros(0, np.uint8)

    def touch(self, portfolio: Portfolio) -> None:
        """Have a portfolio revalued whatever its prices do: its positions have changed."""
        self._fit()
        self.touched[portfolio.index] = 1

    def run(self, now_ns: int) -> int:
        """Revalue every portfolio that a new price, rate or version has touched; return how many."""
        self._fit()
        prices, book = self._prices, self._book
        was_stale = prices.stale
        prices.refresh(now_ns)
        changed = _revalue(
            len(book),
            book.start,
            book.count,
            book.base,
            book.instrument,
            book.quantity,
            book.traded,
            book.opening_value,
            book.cost_base,
            prices.unit_value,
            prices.currency,
            prices.cash,
            prices.cross,
            prices.cross_close,
            prices.scale,
            prices.dirty | (prices.stale != was_stale),
            prices.currency_dirty,
            prices.stale,
            prices.price_ns,
            self.touched,
            self.totals,
            self.stale_share,
            self.oldest_price_ns,
            self.pending,
        )
        prices.settle()
        self.touched[:] = 0
        return int(changed)

    def rows(self, portfolio: Portfolio) -> npt.NDArray[np.int64]:
        """Return the rows in minor units: int64 [position, (value, day P&L, price effect, unrealised, local value)]."""
        prices, book = self._prices, self._book
        run = book.run(portfolio)
        rows = np.empty((run.stop - run.start, 5), np.int64)
        _value_rows(
            run.start,
            portfolio.base,
            book.instrument,
            book.quantity,
            book.traded,
            book.opening_value,
            book.cost_base,
            prices.unit_value,
            prices.currency,
            prices.cash,
            prices.cross,
            prices.cross_close,
            prices.scale,
            rows,
        )
        return rows

    def _fit(self) -> None:
        missing = len(self._book) - len(self.pending)
        if missing <= 0:
            return
        more = max(missing, 64, len(self.pending))
        self.totals = np.concatenate([self.totals, np.zeros((more, TOTALS), np.int64)])
        self.stale_share = np.concatenate([self.stale_share, np.zeros(more)])
        self.oldest_price_ns = np.concatenate([self.oldest_price_ns, np.zeros(more, np.int64)])
        self.pending = np.concatenate([self.pending, np.zeros(more, np.uint8)])
        self.touched = np.concatenate([self.touched, np.zeros(more, np.uint8)])


@njit(inline="always")
def _amounts(
    local: float, traded: float, opening: float, cost: float, cash: bool, cross: float, cross_close: float, scale: float
) -> tuple[float, float, float, float]:
    value = round_minor(local * cross)
    day = round_minor((local - traded) * cross - opening * scale)
    price = round_minor((local - traded) * cross_close - opening * scale)
    unrealised = 0.0 if cash else round_minor(local * cross - cost * scale)
    return value, day, price, unrealised


@njit(cache=True)
def _revalue(
    portfolios: int,
    start: Any,
    count: Any,
    base: Any,
    instrument: Any,
    quantity: Any,
    traded: Any,
    opening: Any,
    cost: Any,
    unit_value: Any,
    currency: Any,
    cash: Any,
    cross: Any,
    cross_close: Any,
    scale: Any,
    dirty: Any,
    currency_dirty: Any,
    stale: Any,
    price_ns: Any,
    touched: Any,
    totals: Any,
    stale_share: Any,
    oldest: Any,
    pending: Any,
) -> int:
    changed = 0
    for p in range(portfolios):
        b = base[p]
        first = start[p]
        stop = first + count[p]
        seen = touched[p] | currency_dirty[b]
        for k in range(first, stop):
            s = instrument[k]
            seen |= dirty[s] | currency_dirty[currency[s]]
        if not seen:
            continue
        changed += 1
        pending[p] = 1
        equity = in_cash = day = price = unrealised = gross = stale_gross = 0.0
        oldest_ns = np.int64(0)
        for k in range(first, stop):
            s = instrument[k]
            c = currency[s]
            v, d, e, u = _amounts(
                quantity[k] * unit_value[s],
                traded[k],
                opening[k],
                cost[k],
                cash[s],
                cross[c, b],
                cross_close[c, b],
                scale[b],
            )
            equity += v
            day += d
            price += e
            unrealised += u
            gross += abs(v)
            if cash[s]:
                in_cash += v
            else:
                oldest_ns = price_ns[s] if oldest_ns == 0 else min(oldest_ns, price_ns[s])
            if stale[s]:
                stale_gross += abs(v)
        totals[p, EQUITY] = np.int64(equity)
        totals[p, CASH] = np.int64(in_cash)
        totals[p, DAY] = np.int64(day)
        totals[p, DAY_PRICE] = np.int64(price)
        totals[p, UNREALISED] = np.int64(unrealised)
        stale_share[p] = stale_gross / gross if gross > 0.0 else 0.0
        oldest[p] = oldest_ns
    return changed


@njit(cache=True)
def _value_rows(
    start: int,
    base: int,
    instrument: Any,
    quantity: Any,
    traded: Any,
    opening: Any,
    cost: Any,
    unit_value: Any,
    currency: Any,
    cash: Any,
    cross: Any,
    cross_close: Any,
    scale: Any,
    rows: Any,
) -> None:
    for i in range(len(rows)):
        k = start + i
        s = instrument[k]
        c = currency[s]
        local = quantity[k] * unit_value[s]
        v, d, e, u = _amounts(
            local, traded[k], opening[k], cost[k], cash[s], cross[c, base], cross_close[c, base], scale[base]
        )
        rows[i, 0] = np.int64(v)
        rows[i, 1] = np.int64(d)
        rows[i, 2] = np.int64(e)
        rows[i, 3] = np.int64(u)
        rows[i, 4] = np.int64(round_minor(local * scale[c]))
