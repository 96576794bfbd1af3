"""Turn records into valuations: the pure middle, without I/O and without a clock of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analytics.revaluation import REFERENCE_CURRENCY
from analytics.splits import Split, Splits
from stream.book import Book, Portfolio
from stream.messages import PortfolioPositions, QuoteBatch, Valuation
from stream.pnl import Revaluation
from stream.prices import PriceTable
from stream.quotes import Refusal
from stream.rounding import round_minor_columns
from stream.valuation import create_valuation


@dataclass(frozen=True, slots=True)
class BookTotals:
    """Hold the totals of every portfolio in book order, int64 minor units unless said otherwise.

    `equity_reference` and `day_pnl_reference` are in the reference currency, each rounded once, so that a
    floor's total is their sum. `day_pnl_pct` is percent, `stale_share` a fraction.
    """

    total_equity: npt.NDArray[np.int64]
    cash: npt.NDArray[np.int64]
    day_pnl: npt.NDArray[np.int64]
    day_pnl_price: npt.NDArray[np.int64]
    unrealised_pnl: npt.NDArray[np.int64]
    day_pnl_pct: npt.NDArray[np.float64]
    equity_reference: npt.NDArray[np.int64]
    day_pnl_reference: npt.NDArray[np.int64]
    stale_share: npt.NDArray[np.float64]


class Processor:
    """Hold prices, positions and their valuation; times are given, in nanoseconds."""

    def __init__(self, prices: PriceTable, day_start_ns: int = 0) -> None:
        self.prices = prices
        self.book = Book(prices, day_start_ns)
        self.revaluation = Revaluation(prices, self.book)

    def apply_quotes(self, batch: QuoteBatch, now_ns: int) -> list[Refusal]:
        """Take the newest prices of a batch; return what was refused."""
        return self.prices.apply(batch, now_ns)

    def apply_positions(self, record: PortfolioPositions, partition: int, epoch: int) -> bool:
        """Take a portfolio's positions; say whether they were news. Raises `PositionsRefused`."""
        portfolio = self.book.put(record, partition, epoch)
        if portfolio is None:
            return False
        self.revaluation.touch(portfolio)
        return True

    def begin_day(self, day_start_ns: int, closes: Mapping[int, tuple[float, int]], zone: str = "UTC") -> None:
        """Begin a time zone's day from these prior closes: instrument id → (close, nanosecond it was made)."""
        self.prices.roll(zone, closes)
        for portfolio in self.book.begin_day(day_start_ns, zone):
            self.revaluation.touch(portfolio)

    def learn_splits(self, splits: Splits) -> bool:
        """Take the splits that are known now; False where one came or changed that had to be applied already.

        Then all is to be restored. What split before everything that is held is only noted.
        """
        prices = self.prices
        applied, known = (set(one.between(0, prices.shares_ns)) for one in (prices.splits, splits))
        if any(self._is_late(one) for one in applied ^ known):
            return False
        prices.learn_splits(splits)
        return True

    def _is_late(self, split: Split) -> bool:
        """Say whether anything that is held of an instrument, or its day, is of before a split."""
        prices, book, place = self.prices, self.book, self.prices.place(split.instrument)
        if place < 0:
            return False
        closes_ns = prices.prior_close_ns[prices.prior_close[:, place] > 0, place].tolist()
        mark_ns = [ns for ns in (int(prices.mark_ns[place]),) if ns]
        held_ns = [portfolio.event_ns for portfolio in book.holders(place)]
        moments = (*closes_ns, *mark_ns, *held_ns, *book.day_starts_ns.values())
        return any(ns <= split.effective_ns for ns in moments)

    def follow_splits(self, now_ns: int) -> None:
        """Put prices and positions into the shares of now."""
        for split in self.prices.follow_splits(now_ns):
            for portfolio in self.book.split(split):
                self.revaluation.touch(portfolio)

    def revalue(self, now_ns: int) -> int:
        """Bring every valuation up to the newest prices, in the shares of now; return how many portfolios changed."""
        if now_ns >= self.prices.splits.next_ns(self.prices.shares_ns):
            self.follow_splits(now_ns)
        return self.revaluation.run(now_ns)

    def pending(self) -> npt.NDArray[np.int64]:
        """Return the indices of the portfolios that changed since they were last taken."""
        return np.flatnonzero(self.revaluation.pending[: len(self.book)])

    def has_pending(self) -> bool:
        """Say whether there is any."""
        return bool(self.revaluation.pending[: len(self.book)].any())

    def take(self, index: int, computed_ns: int) -> Valuation:
        """Return a portfolio's valuation under the next number of its sequence; it is then no longer pending."""
        portfolio = self.book.portfolios[index]
        portfolio.seq += 1
        self.revaluation.pending[index] = 0
        if self.revaluation.is_touched(portfolio):  # positions came after the last revaluation: rows and totals agree
            self.revaluation.value_one(portfolio)
        return create_valuation(self.prices, self.book, self.revaluation, portfolio, computed_ns)

    def totals(self) -> BookTotals:
        """Return the totals of the whole book."""
        size = len(self.book)
        constants, base = self.book.constants, self.book.base[:size]
        cash = self.revaluation.cash(size)
        equity = self.revaluation.equity[:size]
        moving = self.revaluation.at_close_rates(slice(size))
        day = equity - constants.basis[:size]
        opening, gross = np.abs(equity - day), moving[:, 1]
        into_reference = (
            self.prices.cross[base, self.prices.currency_index[REFERENCE_CURRENCY]] / self.prices.scale[base]
        )
        return BookTotals(
            total_equity=equity.astype(np.int64),
            cash=cash.astype(np.int64),
            day_pnl=day.astype(np.int64),
            day_pnl_price=(moving[:, 0] - constants.close_basis[:size]).astype(np.int64),
            unrealised_pnl=(equity - cash - constants.cost[:size]).astype(np.int64),
            day_pnl_pct=np.divide(100.0 * day, opening, out=np.zeros(size), where=opening > 0),
            equity_reference=round_minor_columns(equity * into_reference),
            day_pnl_reference=round_minor_columns(day * into_reference),
            stale_share=np.divide(moving[:, 2], gross, out=np.zeros(size), where=gross > 0),
        )

    def held(self, portfolios: Collection[str]) -> list[int]:
        """Return the indices of those portfolios that are in this book."""
        return [self.book.by_id[one].index for one in portfolios if one in self.book.by_id]

    def portfolio(self, identity: str) -> Portfolio | None:
        """Return where a portfolio stands, or None where it is not in this book."""
        return self.book.by_id.get(identity)
