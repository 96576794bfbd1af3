"""Derive a portfolio's positions from all bookings that imports made for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from analytics.positions import (
    CONVERSION_IN,
    CONVERSION_OUT,
    SPLIT,
    ZERO,
    DerivedPosition,
    PositionLedger,
)
from stream.messages import Position

INSTRUMENT_MARK = "#"  # no currency's code begins so: cash lines are named by theirs


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """Hold a booking as `analytics.positions` reads it; an instrument's `symbol` is its number after a #."""

    reference: str
    type: str
    booked_at: datetime
    symbol: str | None
    quantity: Decimal | None
    amount: Decimal
    currency: str
    rate_to_base: Decimal


def ledger_symbol(instrument: int | None) -> str | None:
    """Return how a row names an instrument."""
    return None if instrument is None else f"{INSTRUMENT_MARK}{instrument}"


@dataclass(frozen=True, slots=True)
class CarriedPrice:
    """Say that from `date` on a price of instrument `old` is, times `factor`, one of `new`: after a split they are one.

    It stands in until a price of after it comes.
    """

    old: int
    new: int
    date: date
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Derivation:
    """Hold what all bookings of a portfolio make: its lines, and the prices that splits and conversions changed.

    `unheld` are the instruments of splits that found nothing to split.
    """

    lines: tuple[DerivedPosition, ...]
    carried: tuple[CarriedPrice, ...]
    unheld: frozenset[int] = frozenset()


def derive(rows: Iterable[LedgerRow], opening_at: datetime) -> Derivation:
    """Return what all bookings of a portfolio make, in whatever order they come.

    A split of what is not held, because the statement begins after it was bought, moves the quantity at no cost:
    once the earlier statement is there too, all is derived anew.
    """
    ledger, prices = PositionLedger(), _Prices()
    unheld: set[int] = set()
    opened = False
    for row in sorted(rows, key=lambda one: (one.booked_at, one.reference)):
        if not opened and row.booked_at >= opening_at:
            ledger.open_day()
            opened = True
        prices.take(row)
        try:
            ledger.book(row)
        except ValueError:
            ledger.book(replace(row, type="delivery"))
            unheld.add(_number(row.symbol))
    if not opened:
        ledger.open_day()
    return Derivation(ledger.positions(), tuple(prices.carried), frozenset(unheld))


class _Prices:
    """Follow quantities, to know by what a split or a conversion changes the price."""

    def __init__(self) -> None:
        self.carried: list[CarriedPrice] = []
        self._held: dict[str, Decimal] = {}
        self._given_up: LedgerRow | None = None

    def take(self, row: LedgerRow) -> None:
        """Take a booking."""
        if row.symbol is None or not row.quantity:
            return
        held = self._held.get(row.symbol, ZERO)
        self._held[row.symbol] = held + row.quantity
        if row.type == SPLIT and held * (held + row.quantity) > ZERO:
            self._carry(row.symbol, row.symbol, row.booked_at, held / (held + row.quantity))
        elif row.type == CONVERSION_OUT:
            self._given_up = row
        elif row.type == CONVERSION_IN and self._given_up is not None:
            out, self._given_up = self._given_up, None
            self._carry(out.symbol, row.symbol, row.booked_at, -(out.quantity or ZERO) / row.quantity)

    def _carry(self, old: str | None, new: str | None, at: datetime, factor: Decimal) -> None:
        self.carried.append(CarriedPrice(_number(old), _number(new), at.date(), factor))


def position_lines(lines: Iterable[DerivedPosition], cash: Mapping[str, int]) -> tuple[Position, ...]:
    """Return lines as the wire record has them; `cash` are the cash instruments by currency."""
    return tuple(
        Position(
            _number(line.symbol) if line.symbol.startswith(INSTRUMENT_MARK) else cash[line.symbol],
            line.quantity,
            line.cost_basis,
            line.cost_basis_base,
            line.opening_quantity,
            line.day_traded,
            line.realised_today,
            line.day_traded_base,
        )
        for line in lines
    )


def _number(symbol: str | None) -> int:
    return int((symbol or "").removeprefix(INSTRUMENT_MARK))
