"""Sum what does not move with a price: a portfolio's opening value, trades and cost.

They change with a booking or with the day. With them a revaluation needs only the value of each position:
day P&L = equity - basis, unrealised P&L = equity - cash - cost; see `analytics.revaluation` for the formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from stream.prices import PriceTable
from stream.rounding import round_minor

if TYPE_CHECKING:
    from stream.book import Book, Portfolio


class PortfolioConstants:
    """Keep whole minor units of the base currency by portfolio, as float64 (exact below 2^53).

    `basis` is opening value plus trades since, `close_basis` the same with the trades at the rates of the prior
    close, `cost` the cost of everything but cash.
    """

    def __init__(self) -> None:
        self.basis = np.zeros(0)
        self.close_basis = np.zeros(0)
        self.cost = np.zeros(0)

    def widen(self, more: int) -> None:
        """Make room for so many more portfolios."""
        for name in ("basis", "close_basis", "cost"):
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros(more)]))

    def sum(self, book: Book, prices: PriceTable, portfolio: Portfolio) -> None:
        """Sum the constants of one portfolio anew."""
        run, index = book.run(portfolio), portfolio.index
        self.basis[index], self.close_basis[index], self.cost[index] = _sum_fixed(
            run.start,
            run.stop,
            portfolio.base,
            book.instrument,
            book.opening_quantity,
            book.traded,
            book.traded_base,
            book.cost_base,
            book.realised,
            prices.prior_close[portfolio.zone],
            prices.factor,
            prices.cash,
            prices.currency,
            prices.cross_close[portfolio.zone],
            prices.scale[portfolio.base],
        )


@njit(inline="always")
def fixed_row(
    k: int, s: int, opening_quantity: Any, traded: Any, traded_base: Any, cost_base: Any, realised: Any,
    prior_close: Any, factor: Any, cross_close: float, scale: float,
) -> tuple[float, float, float, float, float]:  # fmt: skip
    """Return what is fixed of the row at place `k`, which holds instrument `s`."""
    close = prior_close[s] if prior_close[s] == prior_close[s] else 0.0
    traded_at_close = round_minor(traded[k] * cross_close)
    known = traded_base[k] == traded_base[k]
    return (
        round_minor(opening_quantity[k] * close * factor[s] * cross_close),
        round_minor(traded_base[k] * scale) if known else traded_at_close,
        traded_at_close,
        round_minor(cost_base[k] * scale),
        round_minor(realised[k] * scale),
    )


@njit(cache=True)
def _sum_fixed(
    first: int, last: int, base: int, instrument: Any, opening_quantity: Any, traded: Any, traded_base: Any,
    cost_base: Any, realised: Any, prior_close: Any, factor: Any, cash: Any, currency: Any, cross_close: Any,
    scale: float,
) -> tuple[float, float, float]:  # fmt: skip
    basis = close_basis = cost = 0.0
    for k in range(first, last):
        s = instrument[k]
        opening, moved, moved_at_close, paid, _ = fixed_row(
            k, s, opening_quantity, traded, traded_base, cost_base, realised,
            prior_close, factor, cross_close[currency[s], base], scale,
        )  # fmt: skip
        basis += opening + moved
        close_basis += opening + moved_at_close
        cost += 0.0 if cash[s] else paid
    return basis, close_basis, cost
