"""Recompute a valuation from the very inputs that it names, and write down where a figure of it comes from.

The positions are those of the valuation's `version`, in the shares of when it was computed, as its prices and prior
closes are; these and the rates are taken from the valuation, each float as the decimal number it is exactly. What comes
out must be the figure that was shown; whether it is, is said (`matches`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from analytics.opening import lines_of_day
from analytics.revaluation import PRECISION, Rates, Terms, revalue
from analytics.splits import NO_SPLITS, Split, Splits
from api.portfolio.formulas import (
    DIMENSIONS,
    PORTFOLIO_FORMULAS,
    ROW_FORMULAS,
    TERMS,
    Formula,
    Worked,
    WorkedRow,
    allocation_formula,
    round_term,
)
from db.instruments import Instrument
from stream.messages import PortfolioPositions, Valuation, ValuationRow

Shape = dict[str, Any]
LARGEST_OLD = 10_000  # shares that become so many new ones
RATIO_TOLERANCE = Decimal("1e-12")  # of a ratio of whole minor units, computed once in float64


class Inexplicable(LookupError):
    """Say why a figure has no provenance.

    Inexplicable
    ├── UnknownField     no figure goes by this name, or not without (or not with) a symbol
    ├── UnknownSymbol    the portfolio holds no such instrument
    └── MissingInput     the valuation names an input that is not there, such as a rate
    """


class UnknownField(Inexplicable):
    """Say which figures there are."""


class UnknownSymbol(Inexplicable):
    """Say which instruments are held."""


class MissingInput(Inexplicable):
    """Say what is missing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Name a figure: a portfolio's own, a row's where there is a symbol, or `allocation.<dimension>.<part>`."""

    field: str
    symbol: str | None = None


# The names under which `/overview`, `/holdings` and `/allocation` show the same figures.
ALSO_CALLED = {
    "totalEquity": "total_equity",
    "cashBalance": "cash",
    "buyingPower": "buying_power",
    "dayPL": "day_pnl",
    "dayPLPercent": "day_pnl_pct",
    "unrealisedPL": "unrealised_pnl",
    "shares": "quantity",
    "valueLocal": "value_local",
    "costBasis": "cost_basis",
}


def work(
    valuation: Valuation,
    record: PortfolioPositions,
    instruments: Mapping[str, Instrument],
    minor_units: Mapping[str, int],
    day_start_ns: int,
    splits: Splits = NO_SPLITS,
) -> Worked:
    """Recompute a valuation in `Decimal`. Raises `MissingInput`."""
    rates = _rates(valuation, minor_units)
    shown = {row.instrument: row for row in valuation.rows}
    lines = lines_of_day(record.positions, record.event_ns, day_start_ns, splits, valuation.computed_ns)
    try:
        terms = {row.instrument: _terms(row, instruments[row.symbol]) for row in valuation.rows}
        batch = revalue(valuation.base_currency, lines, terms, rates)
        rows = tuple(
            WorkedRow(
                line,
                held,
                shown[line.instrument],
                instruments[shown[line.instrument].symbol],
                terms[line.instrument],
                exact,
                rounded,
                minor_units[terms[line.instrument].currency],
            )
            for line, held, exact, rounded in zip(record.positions, lines, batch.exact, batch.rows, strict=True)
        )
    except KeyError as error:
        raise MissingInput(f"the valuation does not name {error.args[0]!r}, which the positions need") from error
    return Worked(valuation, record, rows, batch.totals, minor_units[valuation.base_currency])


def _rates(valuation: Valuation, minor_units: Mapping[str, int]) -> Rates:
    now = {code: Decimal(rate[0]) for code, rate in valuation.rates.items()}
    close = {code: Decimal(rate[1]) for code, rate in valuation.rates.items()}
    return Rates(
        {**now, valuation.base_currency: Decimal(1)}, {**close, valuation.base_currency: Decimal(1)}, minor_units
    )


def _terms(row: ValuationRow, instrument: Instrument) -> Terms:
    cash = instrument.asset_class == "cash"
    price, close = (Decimal(1), Decimal(1)) if cash else (Decimal(row.price), Decimal(row.prior_close))
    return Terms(instrument.currency, cash, Decimal(repr(instrument.price_factor)), price, close)


def find_formula(wanted: Wanted, valuations: Sequence[Valuation]) -> Formula:
    """Return how the figure is made. Raises `UnknownField` and `UnknownSymbol`, which say what there is."""
    field = ALSO_CALLED.get(wanted.field, wanted.field)
    if wanted.symbol is not None:
        held = sorted({row.symbol for one in valuations for row in one.rows})
        if wanted.symbol not in held:
            raise UnknownSymbol(f"{wanted.symbol!r} is not held. There are: {', '.join(held) or 'none'}.")
        if field not in ROW_FORMULAS:
            raise UnknownField(f"A holding has no {wanted.field!r}. It has: {', '.join(ROW_FORMULAS)}.")
        return ROW_FORMULAS[field]
    if field in PORTFOLIO_FORMULAS:
        return PORTFOLIO_FORMULAS[field]
    if field in ROW_FORMULAS:
        raise UnknownField(f"{wanted.field!r} is a figure of a holding: name its symbol.")
    parts = [f"allocation.{one}.{part}" for one in DIMENSIONS for part in sorted(_parts(one, valuations))]
    if field in parts:
        return allocation_formula(*field.split(".", 2)[1:])
    names = [*PORTFOLIO_FORMULAS, *parts]
    raise UnknownField(f"There is no figure {wanted.field!r}. There are: {', '.join(names)}.")


def _parts(dimension: str, valuations: Iterable[Valuation]) -> set[str]:
    return {part for one in valuations for part in one.allocation.get(dimension, {})}


def formula_shape(formula: Formula) -> Shape:
    """Return how a figure is made, with what each of its terms means."""
    terms = [
        {"name": name, "symbols": TERMS[name][0], "words": TERMS[name][1], "sign": sign}
        for name, sign in formula.signs.items()
    ]
    return {"symbols": formula.symbols, "words": formula.words, "kind": formula.kind, "terms": terms}


def figure_shape(wanted: Wanted, formula: Formula, worked: Worked) -> Shape:
    """Return the figure as shown, its recomputation, whether they agree, and the terms behind it.

    A portfolio that does not have the row, or the part, is worth nothing there: `shown` is null, and it agrees.
    """
    row = next((one for one in worked.rows if one.shown.symbol == wanted.symbol), None)
    if wanted.symbol is not None and row is None:
        return {"shown": None, "recomputed": None, "matches": True, "terms": []}
    shown = _shown(wanted, worked.valuation, row)
    with localcontext() as context:
        context.prec = PRECISION
        recomputed = formula.figure(worked, row)
        terms = formula.terms(worked, rows_behind(formula, worked, row))
    digits = worked.digits if row is None or formula.kind != "local" else row.digits
    return {
        "shown": shown,
        "recomputed": f"{recomputed:f}",
        "matches": agrees(shown, recomputed, formula.kind, digits),
        "terms": [_term_shape(name, formula, amounts) for name, amounts in terms.items()],
    }


def rows_behind(formula: Formula, worked: Worked, row: WorkedRow | None) -> list[WorkedRow]:
    """Return the rows that a figure is made of: the one, or those that the formula admits."""
    return [row] if row is not None else [one for one in worked.rows if formula.scope(one)]


def agrees(shown: float, recomputed: Decimal, kind: str, digits: int) -> bool:
    """Say whether a figure is its recomputation: amounts to the minor unit, ratios to the noise of a division."""
    if kind == "ratio":
        return abs(Decimal(shown) - recomputed) <= RATIO_TOLERANCE * max(Decimal(1), abs(recomputed))
    if kind == "given":
        return shown == float(recomputed)
    return Decimal(round(shown * 10**digits)) == recomputed.scaleb(digits)


def _shown(wanted: Wanted, valuation: Valuation, row: WorkedRow | None) -> float:
    field = ALSO_CALLED.get(wanted.field, wanted.field)
    if row is not None:
        return float(getattr(row.shown, field))
    if field.startswith("allocation."):
        _, dimension, part = field.split(".", 2)
        return valuation.allocation[dimension].get(part, 0.0)
    return float(getattr(valuation, field))


def _term_shape(name: str, formula: Formula, amounts: tuple[Decimal, Decimal]) -> Shape:
    exact, rounded = amounts
    symbols, words = TERMS[name]
    named = {"name": name, "symbols": symbols, "words": words, "sign": formula.signs[name]}
    return {**named, "beforeRounding": plain(exact), "rounded": f"{rounded:f}"}


def row_shape(worked: Worked, row: WorkedRow, now_ns: int) -> Shape:
    """Return what a row is made of: quantity, price, prior close, rates, trades and cost, and its terms."""
    now, close = worked.valuation.rates.get(row.terms.currency, (1.0, 1.0))
    quantity = row.held.quantity
    return {
        "symbol": row.shown.symbol,
        "name": row.instrument.name,
        "currency": row.terms.currency,
        "quantity": plain(quantity),
        "factor": plain(row.terms.factor),
        "price": {
            "value": shortest(row.shown.price),
            "at": instant(row.shown.price_ns),
            "ageMs": max(0, now_ns - row.shown.price_ns) // 1_000_000 if row.shown.price_ns else None,
            "state": row.shown.state,
        },
        "priorClose": {"value": shortest(row.shown.prior_close)},
        "rate": {"now": now, "atClose": close},
        "openingQuantity": plain(row.held.opening_quantity),
        "traded": {"local": plain(row.held.day_traded), "base": plain(row.held.day_traded_base)},
        "cost": {
            "local": plain(row.line.cost_basis),
            "base": plain(row.line.cost_basis_base),
            "average": plain(row.line.cost_basis / quantity) if quantity else None,
            "lots": [],
            "lotsAddUp": True,
        },
        "terms": {
            name: {"beforeRounding": plain(getattr(row.exact, name)), "rounded": f"{worked.amount(minor):f}"}
            for name in TERMS
            for minor in (round_term(row, name, worked.digits),)
        },
    }


def position_shape(worked: Worked) -> Shape:
    """Return which valuation it is, and of which positions."""
    valuation = worked.valuation
    return {
        "epoch": valuation.epoch,
        "seq": valuation.seq,
        "computedAt": instant(valuation.computed_ns),
        "newestPriceAt": instant(valuation.event_ns),
        "positionsVersion": valuation.version,
        "positionsAt": instant(worked.record.event_ns),
    }


def split_shape(split: Split) -> Shape:
    """Return a split for people and programs: `ratio` as in 2:1, new shares for old ones."""
    return {
        "exDate": split.ex_date,
        "effectiveAt": instant(split.effective_ns),
        "ratio": ":".join(map(str, Fraction(split.ratio).limit_denominator(LARGEST_OLD).as_integer_ratio())),
    }


def instant(event_ns: int) -> str | None:
    """Return a moment for people and programs; None where there is none."""
    if not event_ns:
        return None
    return datetime.fromtimestamp(event_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def shortest(price: float) -> str:
    """Write a float by the fewest digits that name it; the arithmetic takes the number it is exactly."""
    return plain(Decimal(repr(price))) or ""


def plain(amount: Decimal | None) -> str | None:
    """Write a number without an exponent and without zeros that say nothing."""
    if amount is None:
        return None
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
