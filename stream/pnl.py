"""Keep every portfolio's value up to date: by what has changed where that is cheaper, else by one pass over all.

The formulas stand in `analytics.revaluation`, the passes in `stream.kernels`.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from stream import kernels
from stream.book import Book, Portfolio
from stream.dimensions import Dimensions
from stream.prices import PriceTable

BLOCK = 1280  # values of a block, at least: with what it is made from they stay in the first level of cache
FORGET = 0.2  # share of the newest measurement in the running figure
MEASURABLE = 2_000  # entries or positions; fewer take too short a time to tell


class Pace:
    """Know what a pass costs, so that the cheaper one is taken: nanoseconds a position, as measured here.

    Begins with what `alhambra bench book` finds where neither pass finds its data in a cache.
    """

    def __init__(self) -> None:
        self.full_ns = 4.5
        self.change_ns = 10.0

    def prefers_changes(self, entries: int, positions: int) -> bool:
        """Say whether following `entries` of the index costs less than a pass over all positions."""
        return entries * self.change_ns < positions * self.full_ns

    def took(self, *, full: bool, size: int, spent_ns: int) -> None:
        """Learn what a pass over `size` entries or positions took."""
        if size < MEASURABLE:
            return
        if full:
            self.full_ns += FORGET * (spent_ns / size - self.full_ns)
        else:
            self.change_ns += FORGET * (spent_ns / size - self.change_ns)


class Revaluation:
    """Keep equity and allocation of every portfolio in whole minor units, and who has changed since last published.

    `equity` is float64 by portfolio, `pending` uint8. The sums by dimension, float64 [portfolio, column of
    `dimensions`], come with a pass; where only changes were followed they are added up anew when somebody asks.
    """

    def __init__(self, prices: PriceTable, book: Book) -> None:
        self._prices = prices
        self._book = book
        self._turn = 0
        self._touched: set[int] = set()
        self._values = np.zeros(BLOCK)
        self._seen = np.zeros(0, np.int64)
        self._unit_base = np.zeros((len(prices.currencies), 0))
        self.pace = Pace()
        self.dimensions = Dimensions()
        self.equity = np.zeros(0)
        self._sums = np.zeros((0, 0))
        self._outdated = np.zeros(0, np.uint8)
        self.pending = np.zeros(0, np.uint8)

    def touch(self, portfolio: Portfolio) -> None:
        """Have a portfolio valued anew whatever its prices do: its positions have changed."""
        self._touched.add(portfolio.index)

    def run(self, now_ns: int) -> int:
        """Bring every portfolio up to the newest prices and positions; return how many that touched."""
        prices, book = self._prices, self._book
        prices.refresh(now_ns)
        self._fit()
        self._turn += 1
        changed = prices.changed[: prices.changes]
        entries = int(book.index.count[changed].sum())
        rated = bool(prices.currency_dirty.any())
        if not rated and self.pace.prefers_changes(entries, book.used):
            touched = self._follow(changed, entries)
        else:
            self._pass_over_all()
            touched = self._mark(changed, entries, rated=rated)
        prices.settle()
        return touched + self._value_touched()

    def value_one(self, portfolio: Portfolio) -> None:
        """Value one portfolio anew at the prices of the last run."""
        self._fit()
        self._pass(portfolio.index, portfolio.index + 1)
        self._touched.discard(portfolio.index)

    def is_touched(self, portfolio: Portfolio) -> bool:
        """Say whether its positions have changed since it was last valued."""
        return portfolio.index in self._touched

    def rows(self, portfolio: Portfolio) -> npt.NDArray[np.float64]:
        """Return the rows, in whole minor units: float64 [position, `kernels.VALUE` to `kernels.LOCAL_COST`].

        The last two columns are in minor units of the instrument's currency.
        """
        prices, book = self._prices, self._book
        run = book.run(portfolio)
        rows = np.empty((run.stop - run.start, kernels.ROW_COLUMNS))
        kernels.value_rows(
            run.start,
            portfolio.base,
            book.instrument,
            book.quantity,
            book.opening_quantity,
            book.traded,
            book.traded_base,
            book.cost_local,
            book.cost_base,
            book.realised,
            prices.unit_value,
            prices.prior_close[portfolio.zone],
            prices.factor,
            prices.cash,
            prices.currency,
            prices.cross_close[portfolio.zone],
            prices.scale,
            self._unit_base,
            rows,
        )
        return rows

    def allocation(self, portfolio: Portfolio) -> dict[str, dict[str, float]]:
        """Return the values by asset class, sector, country and currency, in units of the base currency."""
        index = portfolio.index
        if self._outdated[index]:
            self._pass(index, index + 1)
        return self.dimensions.describe(self._sums[index], float(self._prices.scale[portfolio.base]))

    def cash(self, size: int) -> npt.NDArray[np.float64]:
        """Return the cash of the first `size` portfolios."""
        self._fit()
        book = self._book
        kernels.value_outdated(
            size,
            self._outdated,
            book.start,
            book.count,
            book.base,
            book.instrument,
            book.quantity,
            self._unit_base,
            self.dimensions.codes,
            self.equity,
            self._sums,
            self._values,
        )
        cash: npt.NDArray[np.float64] = self._sums[:size, self.dimensions.cash_columns()].sum(axis=1)
        return cash

    def at_close_rates(self, members: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return float64 [member, (value at the rates of the prior close, gross value, of that stale)]."""
        self._fit()
        prices, book = self._prices, self._book
        start = book.start[members]
        totals = np.empty((len(start), 3))
        kernels.sum_at_close_rates(
            len(start),
            start,
            book.count[members],
            book.base[members],
            book.zone[members],
            book.instrument,
            book.quantity,
            prices.unit_value,
            prices.currency,
            prices.cross_close,
            prices.state,
            self._unit_base,
            totals,
        )
        return totals

    def _follow(self, changed: npt.NDArray[np.int64], entries: int) -> int:
        prices, book = self._prices, self._book
        began = time.perf_counter_ns()
        touched = kernels.value_changes(
            changed,
            prices.unit_value,
            prices.currency,
            prices.cross,
            self._unit_base,
            book.index.start,
            book.index.count,
            book.index.holder,
            book.index.quantity,
            book.base,
            self._turn,
            self.equity,
            self._outdated,
            self._seen,
            self.pending,
        )
        self.pace.took(full=False, size=entries, spent_ns=time.perf_counter_ns() - began)
        return int(touched)

    def _pass_over_all(self) -> None:
        prices = self._prices
        began = time.perf_counter_ns()
        kernels.fill_units(prices.unit_value, prices.currency, prices.cross, self._unit_base)
        self._pass(0, len(self._book))
        self.pace.took(full=True, size=self._book.used, spent_ns=time.perf_counter_ns() - began)

    def _pass(self, first: int, last: int) -> None:
        book = self._book
        kernels.value_all(
            first,
            last,
            book.start,
            book.count,
            book.base,
            book.instrument,
            book.quantity,
            self._unit_base,
            self.dimensions.codes,
            self.equity,
            self._sums,
            self._values,
        )
        self._outdated[first:last] = 0

    def _mark(self, changed: npt.NDArray[np.int64], entries: int, *, rated: bool) -> int:
        """Mark who is to be published; return how many."""
        book, turn = self._book, self._turn
        size = len(book)
        if entries > size * 4:  # nearly everybody holds one of them
            self.pending[:size] = 1
            return size
        touched = 0
        if rated:
            moved = sum({1 << int(one) % 63 for one in np.flatnonzero(self._prices.currency_dirty)})
            touched = kernels.mark_currencies(size, book.currencies, moved, turn, self._seen, self.pending)
        index = book.index
        return touched + int(
            kernels.mark_holders(changed, index.start, index.count, index.holder, turn, self._seen, self.pending)
        )

    def _value_touched(self) -> int:
        """Value the portfolios whose positions have changed; return how many the prices had not touched anyway."""
        fresh = [one for one in self._touched if self._seen[one] != self._turn]
        for one in self._touched:
            self._pass(one, one + 1)
            self.pending[one] = 1
        self._touched.clear()
        return len(fresh)

    def _fit(self) -> None:
        """Make room for portfolios, instruments and columns that have come since."""
        prices, book = self._prices, self._book
        if len(self.dimensions.codes) < len(prices.specs):
            self.dimensions.learn(prices.specs)
            book.index.fit(len(prices.specs), len(book.instrument))
            units = np.zeros((len(prices.currencies), len(prices.specs)))
            kernels.fill_units(prices.unit_value, prices.currency, prices.cross, units)
            units[:, : self._unit_base.shape[1]] = self._unit_base
            self._unit_base = units
        size = max(len(book.start), 1)
        if self._sums.shape != (size, self.dimensions.width):
            sums = np.zeros((size, self.dimensions.width))
            sums[: len(self._sums), : self._sums.shape[1]] = self._sums
            self._sums = sums
        if len(self.equity) < size:
            more = size - len(self.equity)
            self.equity = np.concatenate([self.equity, np.zeros(more)])
            self.pending = np.concatenate([self.pending, np.zeros(more, np.uint8)])
            self._outdated = np.concatenate([self._outdated, np.zeros(more, np.uint8)])
            self._seen = np.concatenate([self._seen, np.zeros(more, np.int64)])
        if book.largest > len(self._values):
            self._values = np.zeros(2 * book.largest)
