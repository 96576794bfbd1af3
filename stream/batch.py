"""Recompute a portfolio from positions, prices and rates in `Decimal`: what the live figures must equal.

Nothing of the arithmetic is shared with the compiled pass but the grid of the rounding rule, so that a fault in
one shows against the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext

from stream.messages import PortfolioPositions, Position, Valuation
from stream.prices import REFERENCE_CURRENCY, InstrumentSpec
from stream.rounding import round_minor_exact

PRECISION = 40


@dataclass(frozen=True, slots=True)
class Reference:
    """Say what the batch needs of an instrument: unit value and opening unit value in its currency."""

    currency: str
    cash: bool
    factor: Decimal
    price: Decimal
    prior_close: Decimal


@dataclass(frozen=True, slots=True)
class Rates:
    """Hold the value of one unit of each currency in the reference currency, now and at the prior close."""

    now: Mapping[str, Decimal]
    close: Mapping[str, Decimal]
    minor_units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BatchValuation:
    """Hold the recomputed totals in integer minor units, and before rounding in units of the currency."""

    total_equity: int
    cash: int
    day_pnl: int
    day_pnl_price: int
    unrealised_pnl: int
    exact_equity: Decimal
    exact_day_pnl: Decimal


def create_inputs(
    specs: Iterable[InstrumentSpec], marks: Mapping[int, Decimal], minor_units: Mapping[str, int]
) -> tuple[dict[int, Reference], Rates]:
    """Read instruments and the newest marks (by instrument id) as inputs; without a mark the prior close counts."""
    references, now, close = {}, {REFERENCE_CURRENCY: Decimal(1)}, {REFERENCE_CURRENCY: Decimal(1)}
    with localcontext() as context:
        context.prec = PRECISION
        for spec in specs:
            cash = spec.asset_class == "cash"
            prior = Decimal(1) if cash else Decimal(0 if math.isnan(spec.prior_close) else spec.prior_close)
            mark = Decimal(1) if cash else marks.get(spec.id, prior)
            references[spec.id] = Reference(spec.currency, cash, Decimal(repr(spec.price_factor)), mark, prior)
            if spec.base_currency is not None and spec.currency == REFERENCE_CURRENCY:
                now[spec.base_currency], close[spec.base_currency] = mark, prior
            elif spec.base_currency == REFERENCE_CURRENCY:
                now[spec.currency], close[spec.currency] = 1 / mark, 1 / prior
    return references, Rates(now, close, minor_units)


def revalue_batch(record: PortfolioPositions, references: Mapping[int, Reference], rates: Rates) -> BatchValuation:
    """Value a portfolio from nothing; raises `KeyError` for an instrument or currency it is not told of."""
    with localcontext() as context:
        context.prec = PRECISION
        rows = [
            _revalue_row(line, references[line.instrument], record.base_currency, rates) for line in record.positions
        ]
        scale = Decimal(10) ** rates.minor_units[record.base_currency]
        rounded = [[round_minor_exact(amount * scale) for amount in row] for row in rows]
        cash = [references[line.instrument].cash for line in record.positions]
        return BatchValuation(
            total_equity=sum(row[0] for row in rounded),
            cash=sum(row[0] for row, is_cash in zip(rounded, cash, strict=True) if is_cash),
            day_pnl=sum(row[1] for row in rounded),
            day_pnl_price=sum(row[2] for row in rounded),
            unrealised_pnl=sum(row[3] for row in rounded),
            exact_equity=sum((row[0] for row in rows), Decimal(0)),
            exact_day_pnl=sum((row[1] for row in rows), Decimal(0)),
        )


def largest_difference(live: Valuation, batch: BatchValuation, minor_units: int) -> float:
    """Return the largest difference of any total, relative to the portfolio's equity (at least one minor unit)."""
    scale = 10**minor_units
    pairs = (
        (live.total_equity, batch.total_equity),
        (live.cash, batch.cash),
        (live.day_pnl, batch.day_pnl),
        (live.day_pnl_price, batch.day_pnl_price),
        (live.unrealised_pnl, batch.unrealised_pnl),
    )
    size = max(abs(batch.total_equity), 1)
    return max(float(abs(round(streamed * scale) - recomputed)) / size for streamed, recomputed in pairs)


def _revalue_row(
    line: Position, reference: Reference, base: str, rates: Rates
) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    now = rates.now[reference.currency] / rates.now[base]
    close = rates.close[reference.currency] / rates.close[base]
    local = line.quantity * reference.price * reference.factor
    opening = line.opening_quantity * reference.prior_close * reference.factor * close
    value = local * now
    day = (local - line.day_traded) * now - opening
    price_effect = (local - line.day_traded) * close - opening
    unrealised = Decimal(0) if reference.cash else value - line.cost_basis_base
    return value, day, price_effect, unrealised
