"""Rebuild a portfolio as it was shown: totals as they were stored, rows computed anew from what they were made of.

The recomputation is in `Decimal`, by `analytics.revaluation`, and shares nothing with the pass that made the totals. So
its totals either equal the stored ones to the minor unit, or the difference is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from analytics.opening import lines_of_day
from analytics.returns import percent_of_opening
from analytics.revaluation import Rates, RowAmounts, Terms, create_inputs, revalue
from analytics.rounding import to_minor_exact
from analytics.splits import NO_SPLITS, Splits
from api.portfolio.combine import DIMENSIONS
from db.instruments import Instrument
from db.time_machine import Inputs, Moment, ShownPrice, ShownTotals
from stream.messages import Position, Valuation, ValuationRow, decode_positions

STATES = ("live", "close", "stale")
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class NotRebuilt(LookupError):
    """Say what is missing for a portfolio to be rebuilt."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Hold a total that does not equal its recomputation, both as amounts in the base currency."""

    portfolio_id: UUID
    field: str
    stored: float
    recomputed: float


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Hold a portfolio as shown when a minute ended, where its totals and rows disagree, and the rates of then."""

    ended_at: datetime
    valuation: Valuation
    differences: tuple[Difference, ...]
    rates: Rates


@dataclass(frozen=True, slots=True)
class _Priced:
    """Hold an instrument with the prior close that counted then, as `create_inputs` reads it."""

    id: int
    asset_class: str
    currency: str
    base_currency: str | None
    price_factor: float
    prior_close: float


@dataclass(frozen=True, slots=True)
class _Line:
    """Hold all that is known of one row, the quantity in the shares of then, and the scale of the currency."""

    position: Position
    quantity: Decimal
    amounts: RowAmounts
    instrument: Instrument
    terms: Terms
    price: ShownPrice
    local_scale: int


def rebuild(
    moment: Moment, instruments: Iterable[Instrument], minor_units: Mapping[str, int], splits: Splits = NO_SPLITS
) -> Rebuilt:
    """Rebuild a portfolio at a moment, from the splits that were known then.

    Raises `NotRebuilt` where what it was computed from is not there.
    """
    inputs = moment.inputs
    if inputs is None:
        raise NotRebuilt(f"prices and positions of {moment.minute:%Y-%m-%d %H:%M} UTC were not kept")
    record = decode_positions(inputs.record)
    known = {one.id: one for one in instruments if one.id in inputs.prices}
    terms, rates = _terms_and_rates(known.values(), inputs, minor_units)
    ended_ns = nanoseconds(moment.ended_at)
    held = lines_of_day(record.positions, record.event_ns, nanoseconds(inputs.day_start), splits, ended_ns)
    try:
        batch = revalue(record.base_currency, held, terms, rates)
    except KeyError as error:
        raise NotRebuilt(f"nothing was known then of {error.args[0]!r}, which the portfolio holds") from error
    lines = [
        _Line(
            position,
            line.quantity,
            amounts,
            known[position.instrument],
            terms[position.instrument],
            inputs.prices[position.instrument],
            10 ** minor_units[terms[position.instrument].currency],
        )
        for position, line, amounts in zip(record.positions, held, batch.rows, strict=True)
    ]
    scale = 10 ** minor_units[moment.base_currency]
    differences = _differences(moment, batch.totals, scale)
    return Rebuilt(moment.ended_at, _valuation(moment, lines, batch.totals, scale), differences, rates)


def nanoseconds(at: datetime) -> int:
    """Return a moment in nanoseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1) * 1000


def _terms_and_rates(
    instruments: Iterable[Instrument], inputs: Inputs, minor_units: Mapping[str, int]
) -> tuple[dict[int, Terms], Rates]:
    """Return the prices of then as a recomputation takes them; as in the stream, an absent rate counts as 1."""
    marks, priced = {}, []
    for one in instruments:
        absent = 0.0 if one.base_currency is None else 1.0
        marks[one.id] = Decimal(inputs.prices[one.id].price or absent)
        close = inputs.closes.get(one.id, 0.0) or absent
        priced.append(_Priced(one.id, one.asset_class, one.currency, one.base_currency, one.price_factor, close))
    return create_inputs(priced, marks, minor_units)


def _differences(moment: Moment, totals: RowAmounts, scale: int) -> tuple[Difference, ...]:
    recomputed = ShownTotals(totals.value, totals.cash, totals.day_pnl, totals.day_pnl_price, totals.unrealised_pnl)
    pairs = [
        (name, getattr(moment.totals, name), getattr(recomputed, name))
        for name in ("total_equity", "cash", "day_pnl", "day_pnl_price", "unrealised_pnl")
    ]
    return tuple(
        Difference(moment.portfolio_id, name, stored / scale, found / scale)
        for name, stored, found in pairs
        if stored != found
    )


def _valuation(moment: Moment, lines: list[_Line], totals: RowAmounts, scale: int) -> Valuation:
    """Return the valuation of then: its own totals are those that were stored."""
    shown = moment.totals
    ended_ns = nanoseconds(moment.ended_at)
    times = [one.price.price_ns for one in lines if not one.terms.cash]
    return Valuation(
        portfolio_id=str(moment.portfolio_id),
        epoch=moment.epoch,
        seq=moment.seq,
        event_ns=ended_ns,
        computed_ns=ended_ns,
        base_currency=moment.base_currency,
        total_equity=shown.total_equity / scale,
        cash=shown.cash / scale,
        buying_power=max(shown.cash, 0) / scale,
        market_value=(shown.total_equity - shown.cash) / scale,
        day_pnl=shown.day_pnl / scale,
        day_pnl_pct=percent_of_opening(shown.day_pnl, shown.total_equity),
        day_pnl_price=shown.day_pnl_price / scale,
        day_pnl_currency=(shown.day_pnl - shown.day_pnl_price) / scale,
        unrealised_pnl=shown.unrealised_pnl / scale,
        realised_pnl_today=totals.realised_today / scale,
        stale_share=moment.stale_share,
        oldest_price_ns=min(times, default=0),
        allocation={dimension: _allocation(lines, dimension, scale) for dimension in DIMENSIONS},
        rows=[_row(one, totals, scale) for one in lines],
        version=moment.version,
        day_start_ns=0 if moment.inputs is None else nanoseconds(moment.inputs.day_start),
    )


def _allocation(lines: list[_Line], dimension: str, scale: int) -> dict[str, float]:
    sums: dict[str, int] = {}
    for one in lines:
        part = getattr(one.instrument, dimension)
        sums[part] = sums.get(part, 0) + one.amounts.value
    return {part: value / scale for part, value in sums.items()}


def _row(line: _Line, totals: RowAmounts, scale: int) -> ValuationRow:
    amounts, terms, local = line.amounts, line.terms, Decimal(line.local_scale)
    opening = totals.value - totals.day_pnl
    state = STATES[line.price.state]
    return ValuationRow(
        instrument=line.instrument.id,
        symbol=line.instrument.symbol,
        quantity=float(line.quantity),
        price=float(terms.price),
        value=amounts.value / scale,
        value_local=to_minor_exact(line.quantity * terms.price * terms.factor * local) / line.local_scale,
        day_pnl=amounts.day_pnl / scale,
        day_pnl_pct=percent_of_opening(amounts.day_pnl, amounts.value),
        unrealised_pnl=amounts.unrealised_pnl / scale,
        cost_basis=to_minor_exact(line.position.cost_basis * local) / line.local_scale,
        weight=amounts.value / totals.value if totals.value else 0.0,
        price_ns=line.price.price_ns,
        stale=state == "stale",
        prior_close=float(terms.prior_close),
        day_pnl_price=amounts.day_pnl_price / scale,
        contribution=100.0 * amounts.day_pnl / abs(opening) if opening else 0.0,
        state=state,
    )
