"""State once how each figure is made: in symbols, in words, and as arithmetic over recomputed rows.

The symbols are those of `analytics.revaluation`, which does the arithmetic: quantity q, unit value p (price times
factor, in the instrument's currency), at the prior close q0 and c; traded T since then, or t in base currency; x
units of base currency for one of the instrument's now, y at the prior close; [ ] rounds once, half-even, to the
minor unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from analytics.revaluation import ExactRow, HeldLine, RowAmounts, Terms
from analytics.rounding import to_minor_exact
from db.instruments import Instrument
from stream.messages import PortfolioPositions, Position, Valuation, ValuationRow

ZERO = Decimal(0)
HUNDRED = Decimal(100)
DIMENSIONS = ("asset_class", "sector", "country", "currency")

# What rows are made of: name in `ExactRow` → (symbol, how it is made).
TERMS: dict[str, tuple[str, str]] = {
    "value": ("[q p x]", "value now: quantity, price, factor and the rate now"),
    "opening": ("[q0 c y]", "opening value: quantity, price and rate at the prior close"),
    "traded": ("[t]", "traded since the prior close, each booking at its own rate"),
    "value_at_close_rate": ("[q p y]", "value now at the rate of the prior close"),
    "traded_at_close_rate": ("[T y]", "traded since the prior close, at the rate of the prior close"),
    "cost": ("[C]", "average cost of what is held, each booking at its own rate"),
    "realised": ("[R]", "profit realised since the prior close against average cost"),
}


@dataclass(frozen=True, slots=True)
class WorkedRow:
    """Hold one row with everything it was recomputed from.

    `line` is what the positions say, `held` the same on the valuation's day and in its shares; `digits` are those of
    the instrument's currency.
    """

    line: Position
    held: HeldLine
    shown: ValuationRow
    instrument: Instrument
    terms: Terms
    exact: ExactRow
    rounded: RowAmounts
    digits: int


@dataclass(frozen=True, slots=True)
class Worked:
    """Hold a valuation and its recomputation; `digits` are those of the base currency."""

    valuation: Valuation
    record: PortfolioPositions
    rows: tuple[WorkedRow, ...]
    totals: RowAmounts
    digits: int

    def amount(self, minor: int) -> Decimal:
        """Return minor units as an amount of the base currency."""
        return Decimal(minor).scaleb(-self.digits)


@dataclass(frozen=True, slots=True)
class Formula:
    """Say how a figure is made. `signs` are the terms it adds and takes away, over the rows that `scope` admits.

    `kind` is `amount` (in base currency), `local` (in the instrument's), `ratio` or `given` (not computed).
    `figure` computes it from the recomputation; the row is None for a portfolio's own figures.
    """

    symbols: str
    words: str
    figure: Callable[[Worked, WorkedRow | None], Decimal]
    signs: Mapping[str, int]
    scope: Callable[[WorkedRow], bool] = lambda _row: True
    kind: str = "amount"

    def terms(self, worked: Worked, rows: Iterable[WorkedRow]) -> dict[str, tuple[Decimal, Decimal]]:
        """Return the sums of the terms over rows: name → (before rounding, of rounded rows), in base currency."""
        rows = tuple(rows)
        return {
            name: (
                sum((getattr(row.exact, name) for row in rows), ZERO),
                worked.amount(sum(round_term(row, name, worked.digits) for row in rows)),
            )
            for name in self.signs
        }


def round_term(row: WorkedRow, name: str, digits: int) -> int:
    """Return a term of a row in minor units: the one rounding there is."""
    return to_minor_exact(getattr(row.exact, name).scaleb(digits))


def _percent(gain: int, value: int) -> Decimal:
    return HUNDRED * gain / abs(value - gain) if value != gain else ZERO


def _quotient(part: int, whole: int) -> Decimal:
    return Decimal(part) / whole if whole else ZERO


def _total(name: str) -> Callable[[Worked, WorkedRow | None], Decimal]:
    return lambda worked, _row: worked.amount(getattr(worked.totals, name))


def _own(name: str) -> Callable[[Worked, WorkedRow | None], Decimal]:
    return lambda worked, row: worked.amount(getattr(_given(row).rounded, name))


def _given(row: WorkedRow | None) -> WorkedRow:
    assert row is not None, "a figure of a row needs the row"
    return row


def _stale_share(worked: Worked, _row: WorkedRow | None) -> Decimal:
    gross = sum(abs(row.rounded.value) for row in worked.rows)
    return _quotient(sum(abs(row.rounded.value) for row in worked.rows if row.shown.stale), gross)


def _local(row: WorkedRow | None, amount: Decimal) -> Decimal:
    digits = _given(row).digits
    return Decimal(to_minor_exact(amount.scaleb(digits))).scaleb(-digits)


def _value_local(_worked: Worked, row: WorkedRow | None) -> Decimal:
    row = _given(row)
    return _local(row, row.held.quantity * row.terms.price * row.terms.factor)


def _is_cash(row: WorkedRow) -> bool:
    return row.terms.cash


def _is_invested(row: WorkedRow) -> bool:
    return not row.terms.cash


VALUE = {"value": 1}
DAY = {"value": 1, "opening": -1, "traded": -1}
DAY_PRICE = {"value_at_close_rate": 1, "opening": -1, "traded_at_close_rate": -1}
DAY_CURRENCY = {"value": 1, "value_at_close_rate": -1, "traded": -1, "traded_at_close_rate": 1}
UNREALISED = {"value": 1, "cost": -1}

PORTFOLIO_FORMULAS: dict[str, Formula] = {
    "total_equity": Formula("E = Σ [q p x]", "The sum of the rows' values.", _total("value"), VALUE),
    "cash": Formula("Σ [q x] of cash", "The sum of the cash rows.", _total("cash"), VALUE, _is_cash),
    "buying_power": Formula(
        "max(cash, 0)",
        "Cash where it is positive, else nothing.",
        lambda worked, _row: worked.amount(max(worked.totals.cash, 0)),
        VALUE,
        _is_cash,
    ),
    "market_value": Formula(
        "E - cash",
        "Total equity less cash: the sum of the rows that are not cash.",
        lambda worked, _row: worked.amount(worked.totals.value - worked.totals.cash),
        VALUE,
        _is_invested,
    ),
    "day_pnl": Formula(
        "G = Σ ([q p x] - [q0 c y] - [t])",
        "Value now, less value at the prior close, less what was traded in since; summed over the rows.",
        _total("day_pnl"),
        DAY,
    ),
    "day_pnl_pct": Formula(
        "100 G / |E - G|",
        "Day P&L in percent of total equity less day P&L.",
        lambda worked, _row: _percent(worked.totals.day_pnl, worked.totals.value),
        DAY,
        kind="ratio",
    ),
    "day_pnl_price": Formula(
        "Σ ([q p y] - [q0 c y] - [T y])",
        "The day P&L at the rates of the prior close: what the prices did.",
        _total("day_pnl_price"),
        DAY_PRICE,
    ),
    "day_pnl_currency": Formula(
        "G - Σ ([q p y] - [q0 c y] - [T y])",
        "Day P&L less its price effect: what the rates of exchange did.",
        lambda worked, _row: worked.amount(worked.totals.day_pnl - worked.totals.day_pnl_price),
        DAY_CURRENCY,
    ),
    "unrealised_pnl": Formula(
        "Σ ([q p x] - [C]) of what is not cash",
        "Value now less average cost at the rates of the bookings; cash has none.",
        _total("unrealised_pnl"),
        UNREALISED,
        _is_invested,
    ),
    "realised_pnl_today": Formula(
        "Σ [R]",
        "What was realised since the prior close against average cost, at the rates of the bookings.",
        _total("realised_today"),
        {"realised": 1},
    ),
    "stale_share": Formula(
        "Σ |[q p x]| of stale rows / Σ |[q p x]|",
        "The gross value of rows with a stale price over the gross value of all rows; a fraction.",
        _stale_share,
        VALUE,
        kind="ratio",
    ),
}

ROW_FORMULAS: dict[str, Formula] = {
    "quantity": Formula("q", "As the positions say.", lambda _worked, row: _given(row).held.quantity, {}, kind="given"),
    "price": Formula(
        "last, else (bid + ask) / 2, else c",
        "The newest quote's last trade, else the middle of bid and ask; without a quote the prior close.",
        lambda _worked, row: _given(row).terms.price,
        {},
        kind="given",
    ),
    "prior_close": Formula(
        "c",
        "The newest close of a day before the portfolio's day, in the shares of now: divided by the splits since.",
        lambda _worked, row: _given(row).terms.prior_close,
        {},
        kind="given",
    ),
    "value": Formula("[q p x]", "Quantity, price, factor and the rate now.", _own("value"), VALUE),
    "value_local": Formula(
        "[q p]", "Quantity, price and factor, in the instrument's currency.", _value_local, VALUE, kind="local"
    ),
    "day_pnl": Formula(
        "g = [q p x] - [q0 c y] - [t]",
        "Value now, less value at the prior close, less what was traded in since.",
        _own("day_pnl"),
        DAY,
    ),
    "day_pnl_pct": Formula(
        "100 g / |[q p x] - g|",
        "The row's day P&L in percent of its opening value and what was traded in.",
        lambda _worked, row: _percent(_given(row).rounded.day_pnl, _given(row).rounded.value),
        DAY,
        kind="ratio",
    ),
    "day_pnl_price": Formula(
        "[q p y] - [q0 c y] - [T y]",
        "The row's day P&L at the rate of the prior close: what the price did.",
        _own("day_pnl_price"),
        DAY_PRICE,
    ),
    "contribution": Formula(
        "100 g / |E - G|",
        "The row's day P&L in percent of the portfolio's equity less day P&L; contributions add up to day_pnl_pct.",
        lambda worked, row: _contribution(worked, _given(row)),
        DAY,
        kind="ratio",
    ),
    "unrealised_pnl": Formula(
        "[q p x] - [C]; 0 for cash",
        "Value now less average cost at the rates of the bookings.",
        _own("unrealised_pnl"),
        UNREALISED,
    ),
    "cost_basis": Formula(
        "[C]",
        "Average cost of what is held, in the instrument's currency.",
        lambda _worked, row: _local(row, _given(row).line.cost_basis),
        {"cost": 1},
        kind="local",
    ),
    "weight": Formula(
        "[q p x] / E",
        "The row's value as a fraction of total equity.",
        lambda worked, row: _quotient(_given(row).rounded.value, worked.totals.value),
        VALUE,
        kind="ratio",
    ),
}


def _contribution(worked: Worked, row: WorkedRow) -> Decimal:
    opening = abs(worked.totals.value - worked.totals.day_pnl)
    return HUNDRED * row.rounded.day_pnl / opening if opening else ZERO


def allocation_formula(dimension: str, part: str) -> Formula:
    """Return how a part of the allocation is made: the values of the rows whose instrument says so."""

    def belongs(row: WorkedRow) -> bool:
        return bool(getattr(row.instrument, dimension) == part)

    def figure(worked: Worked, _row: WorkedRow | None) -> Decimal:
        return worked.amount(sum(row.rounded.value for row in worked.rows if belongs(row)))

    words = f"The sum of the values of the rows whose {dimension.replace('_', ' ')} is {part}."
    return Formula(f"Σ [q p x] of {part}", words, figure, VALUE, belongs)
