"""Measure the book: a pass over everything, what a few ticks cost, and how near that is to the memory's own speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from analytics.revaluation import create_inputs, revalue
from stream.messages import PortfolioPositions, Position, QuoteBatch, decode_quotes, encode_quotes
from stream.prices import InstrumentSpec, PriceTable
from stream.processor import Processor

CURRENCIES = {"USD": 2, "EUR": 2, "GBP": 2, "CHF": 2, "JPY": 0}
RATES = {"EUR": 1.1, "GBP": 1.3, "CHF": 1.13, "JPY": 0.0066}
COUNTRIES = {"US": "USD", "CA": "USD", "DE": "EUR", "FR": "EUR", "NL": "EUR", "GB": "GBP", "CH": "CHF", "JP": "JPY"}
CLASSES = ("equity", "equity", "equity", "equity", "etf", "bond", "fund")
SECTORS = ("Technology", "Health", "Financials", "Industry", "Energy", "Consumer", "Utilities", "Materials")
TICKS_A_BATCH = 1_000
CYCLE_S = 0.05
PROOF = 50
STREAM_BYTES = 400_000_000  # far beyond any cache
NOW_NS = 1_790_000_000_000_000_000


class BookFigures(msgspec.Struct, frozen=True):
    """Hold what one core did; times are medians, bandwidths the best of their rounds, in 10^9 bytes a second.

    `full_ms` is a cycle in which every price and rate has moved, all four allocations included; `incremental_ms` one
    in which the share `dirty` of the instruments has ticked and no rate, followed through the index; `dirty_share`
    the share of portfolios which that touched. `ticks_per_s` counts ticks decoded from records of a thousand and
    applied, with a full cycle each 50 ms. `bytes_per_position` is what the arrays of a cycle hold, index included.
    `achieved_gb_s` is what the full pass reads of positions and writes of results over its time; a copy counts its
    bytes twice, read and written. `largest_relative_error` compares the equity of some portfolios in float64 before
    rounding with `Decimal`; the rounded amounts must be equal (`unequal_portfolios`).
    """

    portfolios: int
    positions: int
    instruments: int
    dirty: float
    full_ms: float
    incremental_ms: float
    dirty_share: float
    ticks_per_s: float
    bytes_per_position: float
    achieved_gb_s: float
    streaming_read_gb_s: float
    memcpy_gb_s: float
    largest_relative_error: float
    unequal_portfolios: int
    change_ms: float


def measure_book(portfolios: int, positions: int, instruments: int, dirty: float) -> BookFigures:
    """Build a book of random portfolios and measure it."""
    random = np.random.default_rng(1)
    processor, records = create_book(random, portfolios, positions, instruments)
    market = Market(processor, random)
    full = market.time_full()
    read, copy = _streaming_read(), _memcpy()
    share, incremental = market.time_incremental(dirty)
    ticks = market.count_ticks()
    unequal, error = compare_exactly(processor, [records[one] for one in random.integers(0, len(records), PROOF)])
    return BookFigures(
        portfolios=portfolios,
        positions=processor.book.used,
        instruments=instruments,
        dirty=dirty,
        full_ms=round(1e3 * full, 4),
        incremental_ms=round(1e3 * incremental, 4),
        dirty_share=round(share, 4),
        ticks_per_s=round(ticks),
        bytes_per_position=round(hot_bytes(processor) / processor.book.used, 2),
        achieved_gb_s=round(bytes_of_full_pass(processor) / full / 1e9, 2),
        streaming_read_gb_s=round(read, 2),
        memcpy_gb_s=round(copy, 2),
        largest_relative_error=error,
        unequal_portfolios=unequal,
        change_ms=round(1e3 * _time_change(processor, records[0]), 4),
    )


def create_book(
    random: np.random.Generator, portfolios: int, positions: int, instruments: int
) -> tuple[Processor, list[PortfolioPositions]]:
    """Return a book of portfolios that hold each `positions` different instruments, and the records that filled it."""
    specs = [_rate(number, code) for number, code in enumerate(RATES)]
    specs += [_instrument(len(specs) + number, random) for number in range(instruments)]
    processor = Processor(PriceTable(CURRENCIES, specs))
    first = len(RATES)
    quantities = [Decimal(int(one)) / 100 for one in random.integers(100, 1_000_000, 4_096)]
    zero, codes, records = Decimal(0), list(CURRENCIES), []
    for number in range(portfolios):
        held = (random.integers(0, instruments) + np.arange(positions) * 37) % instruments + first
        amounts = random.integers(0, len(quantities), positions).tolist()
        lines = tuple(
            Position(one, quantities[at], zero, zero, quantities[at], zero)
            for one, at in zip(sorted(set(held.tolist())), amounts, strict=False)
        )
        base = codes[number % len(codes)]
        records.append(PortfolioPositions(f"p{number}", 1, base, lines, NOW_NS, NOW_NS))
        processor.apply_positions(records[-1], 0, 1)
    processor.book.compact()
    processor.revalue(NOW_NS)
    return processor, records


class Market:
    """Move the prices of a book."""

    def __init__(self, processor: Processor, random: np.random.Generator) -> None:
        self._processor = processor
        self._random = random
        self._prices = np.array([spec.prior_close for spec in processor.prices.specs])
        self._now_ns = NOW_NS

    def tick(self, instruments: npt.NDArray[np.int64]) -> QuoteBatch:
        """Return new prices of these instruments, later than any before."""
        self._now_ns += 1_000_000
        self._prices[instruments] *= 1.0 + self._random.normal(0.0, 1e-4, len(instruments))
        price, absent = self._prices[instruments], np.full(len(instruments), np.nan)
        times = np.full(len(instruments), self._now_ns, np.int64)
        return QuoteBatch("bench", self._now_ns, instruments.astype(np.uint32), absent, absent, price, absent, times)

    def time_full(self, rounds: int = 15) -> float:
        """Return the seconds of a cycle after everything has moved."""
        everything = np.arange(len(self._prices))
        return self._median(lambda: self.tick(everything), rounds)

    def time_incremental(self, dirty: float, rounds: int = 31) -> tuple[float, float]:
        """Return (share of portfolios touched, seconds) of a cycle after a share of the instruments has ticked."""
        size = max(round(dirty * (len(self._prices) - len(RATES))), 1)
        pace = self._processor.revaluation.pace
        usual = pace.change_ns, pace.full_ns
        pace.change_ns, pace.full_ns = 0.0, 1e9  # the index, whatever a pass would cost
        touched: list[int] = []

        def some() -> QuoteBatch:
            return self.tick(self._random.choice(np.arange(len(RATES), len(self._prices)), size, replace=False))

        spent = self._median(some, rounds, touched)
        pace.change_ns, pace.full_ns = usual
        return statistics.median(touched) / len(self._processor.book), spent

    def count_ticks(self, seconds: float = 1.0) -> float:
        """Return ticks a second of one core, decoded, applied and valued at twenty cycles a second."""
        records = [
            encode_quotes(self.tick(self._random.integers(0, len(self._prices), TICKS_A_BATCH))) for _ in range(64)
        ]
        began = turned = time.perf_counter()
        ticks = 0
        while (now := time.perf_counter()) - began < seconds:
            self._processor.apply_quotes(decode_quotes(records[ticks // TICKS_A_BATCH % len(records)]), self._now_ns)
            ticks += TICKS_A_BATCH
            if now - turned > CYCLE_S:
                turned = now
                self._processor.revalue(self._now_ns)
        return ticks / (time.perf_counter() - began)

    def _median(self, ticks: Callable[[], QuoteBatch], rounds: int, touched: list[int] | None = None) -> float:
        spent = []
        for _ in range(rounds):
            self._processor.apply_quotes(ticks(), self._now_ns)
            began = time.perf_counter()
            found = self._processor.revalue(self._now_ns)
            spent.append(time.perf_counter() - began)
            if touched is not None:
                touched.append(found)
        return statistics.median(spent)


def compare_exactly(processor: Processor, records: list[PortfolioPositions]) -> tuple[int, float]:
    """Return (portfolios whose rounded totals differ from `Decimal`, largest relative error of equity unrounded)."""
    prices, book = processor.prices, processor.book
    marks = {
        spec.id: Decimal(float(mark)) for spec, mark in zip(prices.specs, prices.mark, strict=True) if mark == mark
    }
    terms, rates = create_inputs(prices.specs, marks, CURRENCIES)
    unequal, largest = 0, 0.0
    for record in records:
        portfolio = book.by_id[record.portfolio]
        batch = revalue(record.base_currency, record.positions, terms, rates)
        live = processor.take(portfolio.index, NOW_NS)
        scale = 10 ** CURRENCIES[record.base_currency]
        unequal += round(live.total_equity * scale) != batch.totals.value
        run = book.run(portfolio)
        held = book.instrument[run]
        cross = prices.cross[prices.currency[held], portfolio.base] / scale
        equity = float((book.quantity[run] * prices.unit_value[held] * cross).sum())
        exact = sum((row.value for row in batch.exact), Decimal(0))
        largest = max(largest, abs(float((Decimal(equity) - exact) / exact)))
    return unequal, largest


def hot_bytes(processor: Processor) -> int:
    """Return the bytes that the arrays of a cycle use for positions: instrument, quantity, and their index."""
    book, index = processor.book, processor.book.index
    of_positions = book.instrument.itemsize + book.quantity.itemsize + index.slot.itemsize
    of_entries = index.holder.itemsize + index.place.itemsize + index.quantity.itemsize
    return book.used * of_positions + index.used * of_entries


def bytes_of_full_pass(processor: Processor) -> int:
    """Return the bytes that a full pass reads of the positions and writes of equity and allocations."""
    book, size = processor.book, len(processor.book)
    read = book.used * (book.instrument.itemsize + book.quantity.itemsize)
    read += size * (book.start.itemsize + book.count.itemsize + book.base.itemsize)
    return read + size * (8 + 8 * processor.revaluation.dimensions.width)


def _rate(number: int, code: str) -> InstrumentSpec:
    return InstrumentSpec(number, f"{code}/USD", code, "fx", "Currency", "US", "USD", code, 1.0, RATES[code], NOW_NS)


def _instrument(number: int, random: np.random.Generator) -> InstrumentSpec:
    country, currency = list(COUNTRIES.items())[number % len(COUNTRIES)]
    kind = CLASSES[number // 3 % len(CLASSES)]
    close = float(np.round(random.uniform(5, 500), 2))
    sector = SECTORS[number // 7 % len(SECTORS)]
    return InstrumentSpec(number, f"I{number}", "", kind, sector, country, currency, None, 1.0, close, NOW_NS)


def _time_change(processor: Processor, record: PortfolioPositions, rounds: int = 101) -> float:
    """Return the seconds in which one portfolio gets a new version and is valued."""
    spent = []
    for version in range(2, rounds + 2):
        fresh = msgspec.structs.replace(record, version=version)
        began = time.perf_counter()
        processor.apply_positions(fresh, 0, 1)
        processor.revalue(NOW_NS)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def _streaming_read() -> float:
    column = np.ones(STREAM_BYTES // 8)
    return _best(lambda: _sum(column), STREAM_BYTES)


def _memcpy() -> float:
    column = np.ones(STREAM_BYTES // 8)
    target = np.empty_like(column)
    return _best(lambda: np.copyto(target, column), 2 * STREAM_BYTES)


def _best(act: Callable[[], object], size: int) -> float:
    act()
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        act()
        spent.append(time.perf_counter() - began)
    return size / min(spent) / 1e9


@njit(cache=True, fastmath=True)
def _sum(column: Any) -> float:
    total = 0.0
    for k in range(len(column)):
        total += column[k]
    return total
