"""Say what a watched stream shows: its figures, and the columns of its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alhambra.client import Update
from alhambra.watch_figures import amount, exact, minor_units

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """Describe a column: its text for a row, how it is coloured, from which width of the terminal it is there.

    `signed` columns are green and red by their sign, `moving` ones for a moment as they change.
    """

    title: str
    field: str
    text: Callable[[Fields, Fields], str]
    from_width: int = 0
    left: bool = False
    signed: bool = False
    moving: bool = False


def _of(field: str, *, signed: bool = False) -> Callable[[Fields, Fields], str]:
    """Write an amount in the currency of the totals."""

    def text(row: Fields, totals: Fields) -> str:
        return amount(row[field], minor_units(currency_of(totals)), signed=signed)

    return text


def _own(field: str, *, signed: bool = False) -> Callable[[Fields, Fields], str]:
    """Write an amount in the currency of the row."""

    def text(row: Fields, _totals: Fields) -> str:
        return amount(row[field], minor_units(row["base_currency"]), signed=signed)

    return text


def _percent(
    field: str, factor: float = 1.0, digits: int = 2, *, signed: bool = True
) -> Callable[[Fields, Fields], str]:
    def text(row: Fields, _totals: Fields) -> str:
        return amount(row[field] * factor, digits, signed=signed)

    return text


def _exact(field: str, least: int = 0) -> Callable[[Fields, Fields], str]:
    def text(row: Fields, _totals: Fields) -> str:
        return exact(row[field], least)

    return text


def _word(field: str) -> Callable[[Fields, Fields], str]:
    def text(row: Fields, _totals: Fields) -> str:
        return str(row[field] or "")

    return text


def currency_of(totals: Fields) -> str | None:
    """Return the currency of the totals."""
    found: str | None = totals.get("base_currency") or totals.get("reference_currency") or totals.get("currency")
    return found


HOLDINGS = (
    Column("Symbol", "symbol", _word("symbol"), left=True),
    Column("Name", "name", _word("name"), from_width=100, left=True),
    Column("Quantity", "quantity", _exact("quantity"), from_width=92),
    Column("Price", "price", _exact("price", 2), moving=True),
    Column("Value", "value", _of("value"), moving=True),
    Column("Weight %", "weight", _percent("weight", 100.0, signed=False)),
    Column("Day P&L", "day_pnl", _of("day_pnl", signed=True), signed=True),
    Column("Day %", "day_pnl_pct", _percent("day_pnl_pct"), signed=True),
    Column("Unrealised", "unrealised_pnl", _of("unrealised_pnl", signed=True), from_width=132, signed=True),
)
FLOOR = (
    Column("Portfolio", "name", _word("name"), left=True),
    Column("Client", "client", _word("client"), from_width=92, left=True),
    Column("", "base_currency", _word("base_currency"), from_width=112, left=True),
    Column("Equity", "total_equity", _own("total_equity"), from_width=112),
    Column("in {currency}", "equity_reference", _of("equity_reference"), moving=True),
    Column("Day P&L", "day_pnl_reference", _of("day_pnl_reference", signed=True), signed=True),
    Column("Day %", "day_pnl_pct", _percent("day_pnl_pct"), signed=True),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """Describe one of the figures above the table."""

    title: str
    field: str
    text: Callable[[Fields, Fields], str]
    signed: bool = False


FIGURES = (
    Figure("Total equity", "total_equity", _of("total_equity")),
    Figure("Day P&L", "day_pnl", _of("day_pnl", signed=True), signed=True),
    Figure("Day %", "day_pnl_pct", _percent("day_pnl_pct"), signed=True),
    Figure("Cash", "cash", _of("cash")),
    Figure("Unrealised", "unrealised_pnl", _of("unrealised_pnl", signed=True), signed=True),
    Figure("Realised today", "realised_pnl_today", _of("realised_pnl_today", signed=True), signed=True),
    Figure("Portfolios", "portfolios", _exact("portfolios")),
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Hold two rows for below the table, by field: what the rows that have no room are together, and the whole."""

    rows: tuple[Mapping[str, str], Mapping[str, str]]

    def texts(self, field: str) -> list[str]:
        """Return what stands in a column."""
        return [row[field] for row in self.rows if field in row]


def worth_of(update: Update) -> str:
    """Return the field whose sum over the rows is the total equity."""
    return "equity_reference" if update.stream.startswith("floor:") else "value"


def sums_of(update: Update, keys: Sequence[str]) -> Sums:
    """Add up: what is not among `keys` is the whole less what is, so that what is shown adds up too."""
    totals, floor = update.totals, update.stream.startswith("floor:")
    fields = {worth_of(update): "total_equity", "day_pnl_reference" if floor else "day_pnl": "day_pnl"}
    digits = minor_units(currency_of(totals))
    count = totals.get("view_rows", len(update.rows)) - len(keys)
    label = "name" if floor else "symbol"
    rest, whole = {label: f"{count:,} more"}, {label: "Total"}
    for field, total in fields.items():
        shown = sum(update.rows[key].get(field, 0.0) for key in keys)
        signed = total == "day_pnl"
        rest[field] = amount(totals[total] - shown, digits, signed=signed)
        whole[field] = amount(totals[total], digits, signed=signed)
    whole["day_pnl_pct"] = amount(totals["day_pnl_pct"], 2, signed=True)
    if not floor:
        whole["weight"] = amount(100.0, 2)
    return Sums((rest, whole))
