"""Sum what does not move with a price: a portfolio's opening value, trades, cost and realised profit.

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
    close, `cost` the cost of everything but cash, `realised` what was realised since the prior close.
    """

    def __init__(self) -> None:
        self.basis = np.zeros(0)
        self.close_basis = np.zeros(0)
        self.cost = np.zeros(0)
        self.realised = np.zeros(0)

    def widen(self, more: int) -> None:
        """Make room for so many more portfolios."""
        for name in ("basis", "close_basis", "cost", "realised"):
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros(more)]))

    def sum(self, book: Book, prices: PriceTable, portfolio: Portfolio) -> None:
        """Sum the constants of one portfolio anew."""
        run = book.run(portfolio)
        fixed = fixed_amounts(book, prices, portfolio)
        securities = ~prices.cash[book.instrument[run]]
        index = portfolio.index
        self.basis[index] = fixed[:, OPENING].sum() + fixed[:, TRADED].sum()
        self.close_basis[index] = fixed[:, OPENING].sum() + fixed[:, TRADED_AT_CLOSE].sum()
        self.cost[index] = fixed[securities, COST].sum()
        self.realised[index] = fixed[:, REALISED].sum()


OPENING, TRADED, TRADED_AT_CLOSE, COST, REALISED = range(5)


def fixed_amounts(book: Book, prices: PriceTable, portfolio: Portfolio) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what is fixed of each row, rounded: float64 [position, (opening, traded, traded at close, cost, realised)]."""
    run = book.run(portfolio)
    fixed = np.empty((run.stop - run.start, 5))
    _fixed_amounts(
        run.start,
        portfolio.base,
        book.instrument,
        book.opening_quantity,
        book.traded,
        book.traded_base,
        book.cost_base,
        book.realised,
        prices.prior_close[portfolio.zone],
        prices.factor,
        prices.currency,
        prices.cross_close[portfolio.zone],
        prices.scale[portfolio.base],
        fixed,
    )
    return fixed


@njit(cache=True)
def _fixed_amounts(
    start: int,
    base: int,
    instrument: Any,
    opening_quantity: Any,
    traded: Any,
    traded_base: Any,
    cost_base: Any,
    realised: Any,
    prior_close: Any,
    factor: Any,
    currency: Any,
    cross_close: Any,
    scale: float,
    fixed: Any,
) -> None:
    for i in range(len(fixed)):
        k = start + i
        s = instrument[k]
        close = prior_close[s] if prior_close[s] == prior_close[s] else 0.0
        cross = cross_close[currency[s], base]
        traded_at_close = round_minor(traded[k] * cross)
        known = traded_base[k] == traded_base[k]
        fixed[i, OPENING] = round_minor(opening_quantity[k] * close * factor[s] * cross)
        fixed[i, TRADED] = round_minor(traded_base[k] * scale) if known else traded_at_close
        fixed[i, TRADED_AT_CLOSE] = traded_at_close
        fixed[i, COST] = round_minor(cost_base[k] * scale)
        fixed[i, REALISED] = round_minor(realised[k] * scale)
