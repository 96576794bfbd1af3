"""Note what a portfolio is worth at one moment, with all it follows from, and compare it with a recomputation.

What is noted is what the world is shown: the document, and the sums that are kept from cycle to cycle by differences.
What it is compared with shares nothing with it but prices and the rule of rounding: the positions come from
PostgreSQL, not from the book, and the arithmetic is that of `analytics.revaluation`, in `Decimal`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from analytics.opening import lines_of_day
from analytics.revaluation import PRECISION, REFERENCE_CURRENCY, BatchValuation, create_inputs, revalue
from analytics.splits import Splits
from stream.book import Portfolio
from stream.messages import PortfolioPositions, Valuation
from stream.prices import InstrumentSpec, PriceTable
from stream.processor import Processor
from stream.valuation import create_valuation

# Figures of a document and of its recomputation, in minor units; both name the same thing.
TOTALS = {
    "total_equity": "value",
    "cash": "cash",
    "day_pnl": "day_pnl",
    "day_pnl_price": "day_pnl_price",
    "unrealised_pnl": "unrealised_pnl",
    "realised_pnl_today": "realised_today",
}
ROWS = {"value": "value", "day_pnl": "day_pnl", "day_pnl_price": "day_pnl_price", "unrealised_pnl": "unrealised_pnl"}


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold a portfolio at its present seq.

    `equity` and `basis` (opening value and trades) are those kept from cycle to cycle, in minor units. `unrounded` is
    by instrument the float64 amounts before rounding, in minor units: value now, and value at the prior close.
    `specs` are the instruments held and the rates of exchange, at the prior closes of the portfolio's time zone. All
    of it is in the shares of `shares_ns`, which follow from `splits`.
    """

    valuation: Valuation
    equity: float
    basis: float
    unrounded: Mapping[int, tuple[float, float]]
    specs: tuple[InstrumentSpec, ...]
    marks: Mapping[int, Decimal]
    day_start_ns: int
    splits: Splits
    shares_ns: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold what a comparison found: the largest difference before rounding, in minor units, and each one after it."""

    largest: float
    differences: tuple[str, ...]


def take_sample(processor: Processor, portfolio: Portfolio, now_ns: int) -> Sample:
    """Note a portfolio right after a revaluation and before anything else is awaited, so that nothing has moved."""
    prices, book, revaluation = processor.prices, processor.book, processor.revaluation
    # before the document is made, which sums anew what it finds outdated: a wrong sum must not be mended unseen
    equity, basis = float(revaluation.equity[portfolio.index]), float(book.constants.basis[portfolio.index])
    instruments = book.instrument[book.run(portfolio)]
    wanted = sorted({*instruments.tolist(), *_rate_instruments(prices, portfolio, instruments)})
    closes = prices.prior_close[portfolio.zone]
    return Sample(
        valuation=create_valuation(prices, book, revaluation, portfolio, now_ns),
        equity=equity,
        basis=basis,
        unrounded=_unrounded(processor, portfolio),
        specs=tuple(replace(prices.specs[one], prior_close=float(closes[one])) for one in wanted),
        marks={prices.specs[one].id: Decimal(float(prices.price[one])) for one in wanted},
        day_start_ns=book.day_starts_ns[portfolio.zone],
        splits=prices.splits,
        shares_ns=prices.shares_ns,
    )


def _rate_instruments(prices: PriceTable, portfolio: Portfolio, held: npt.NDArray[np.uint32]) -> list[int]:
    """Return the rates of exchange of the currencies that count here, by their place in the prices."""
    codes = {prices.currencies[one] for one in (portfolio.base, *prices.currency[held].tolist())} - {REFERENCE_CURRENCY}
    return [
        index
        for index, spec in enumerate(prices.specs)
        if spec.base_currency is not None and codes & {spec.currency, spec.base_currency}
    ]


def _unrounded(processor: Processor, portfolio: Portfolio) -> dict[int, tuple[float, float]]:
    prices, book = processor.prices, processor.book
    run = book.run(portfolio)
    held = book.instrument[run]
    currency = prices.currency[held]
    value = book.quantity[run] * (prices.unit_value[held] * prices.cross[currency, portfolio.base])
    close = prices.closes(portfolio.zone, held) * prices.factor[held]
    opening = book.opening_quantity[run] * close * prices.cross_close[portfolio.zone, currency, portfolio.base]
    ids = [prices.specs[one].id for one in held.tolist()]
    return dict(zip(ids, zip(value.tolist(), opening.tolist(), strict=True), strict=True))


def compare(sample: Sample, record: PortfolioPositions, minor_units: Mapping[str, int]) -> Comparison:
    """Recompute a sample from a record of positions and compare every amount of it.

    Raises `KeyError` and `ArithmeticError` where the record asks for what the stream has no price or rate of.
    """
    terms, rates = create_inputs(sample.specs, sample.marks, minor_units)
    lines = lines_of_day(record.positions, record.event_ns, sample.day_start_ns, sample.splits, sample.shares_ns)
    batch = revalue(record.base_currency, lines, terms, rates)
    scale = 10 ** minor_units[record.base_currency]
    symbols = {spec.id: spec.symbol for spec in sample.specs}
    names = [symbols[line.instrument] for line in record.positions]
    found = (*_kept(sample, scale), *_totals(sample, batch, scale), *_rows(sample, batch, names, scale))
    largest = _largest(sample, batch, [line.instrument for line in record.positions], scale)
    return Comparison(largest, tuple(found))


def _totals(sample: Sample, batch: BatchValuation, scale: int) -> Iterator[str]:
    for field, name in TOTALS.items():
        live, recomputed = round(getattr(sample.valuation, field) * scale), getattr(batch.totals, name)
        if live != recomputed:
            yield _sentence(field, live, recomputed, scale)


def _rows(sample: Sample, batch: BatchValuation, symbols: list[str], scale: int) -> Iterator[str]:
    shown = {row.symbol: row for row in sample.valuation.rows}
    if shown.keys() != set(symbols):
        yield f"the rows are {sorted(shown)} live and {sorted(symbols)} in the ledger"
        return
    for symbol, row in zip(symbols, batch.rows, strict=True):
        for field, name in ROWS.items():
            live, recomputed = round(getattr(shown[symbol], field) * scale), getattr(row, name)
            if live != recomputed:
                yield _sentence(f"{field} of {symbol}", live, recomputed, scale)


def _kept(sample: Sample, scale: int) -> Iterator[str]:
    """Compare the document with itself and with what is kept: totals are the sums of rows, whichever way."""
    valuation = sample.valuation
    equity, day = round(valuation.total_equity * scale), round(valuation.day_pnl * scale)
    sums = {
        "the sum of the rows' values": (sum(round(row.value * scale) for row in valuation.rows), equity),
        "the sum of the rows' day P&L": (sum(round(row.day_pnl * scale) for row in valuation.rows), day),
        "the equity kept by differences": (int(sample.equity), equity),
        "the day P&L of the floor": (int(sample.equity - sample.basis), day),
    }
    for dimension, parts in valuation.allocation.items():
        sums[f"the allocation by {dimension}"] = (sum(round(part * scale) for part in parts.values()), equity)
    for name, (live, total) in sums.items():
        if live != total:
            yield f"{name} is {live / scale} and the total {total / scale}"


def _sentence(what: str, live: int, recomputed: int, scale: int) -> str:
    return f"{what} is {live / scale} live and {recomputed / scale} recomputed"


def _largest(sample: Sample, batch: BatchValuation, instruments: list[int], scale: int) -> float:
    """Return the largest difference of an amount before rounding, in minor units; infinite where a row is missing."""
    if sample.unrounded.keys() != set(instruments):
        return float("inf")
    largest = Decimal(0)
    with localcontext() as context:
        context.prec = PRECISION
        for instrument, exact in zip(instruments, batch.exact, strict=True):
            for live, recomputed in zip(sample.unrounded[instrument], (exact.value, exact.opening), strict=True):
                largest = max(largest, abs(Decimal(live) - recomputed * scale))
    return float(largest)


def minor_units_of(prices: PriceTable) -> dict[str, int]:
    """Return how many digits an amount of each currency has."""
    return {code: round(float(np.log10(scale))) for code, scale in zip(prices.currencies, prices.scale, strict=True)}
