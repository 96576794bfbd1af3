"""Derive positions from bookings: quantities, average cost and what was realised, all in `Decimal`.

Average cost: a purchase adds what was paid; a sale takes out cost in proportion to what was sold and
realises the difference; a sale beyond what is held realises all of it and opens a short position at the
price of the sale. Cash is a position in the instrument whose symbol is the currency's code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

ZERO = Decimal(0)
COST_STEP = Decimal("0.000001")
TRADED_TYPES = frozenset({"deposit", "withdrawal", "buy", "sell", "fx_in", "fx_out"})


class LedgerEntry(Protocol):
    """Describe what is read of a booking.

    `amount` is the signed effect on cash in `currency`, `quantity` the signed effect on the position in
    `symbol` (which trades in `currency`); `rate_to_base` is units of base currency for one of `currency`.
    """

    @property
    def type(self) -> str:
        """Return the kind of booking: a trade, an external flow, or income and charges."""

    @property
    def booked_at(self) -> datetime:
        """Return when it was booked, timezone-aware."""

    @property
    def symbol(self) -> str | None:
        """Return the instrument, or None where only cash moves."""

    @property
    def quantity(self) -> Decimal | None:
        """Return the signed effect on the position, or None where only cash moves."""

    @property
    def amount(self) -> Decimal:
        """Return the signed effect on cash."""

    @property
    def currency(self) -> str:
        """Return the currency of the amount."""

    @property
    def rate_to_base(self) -> Decimal:
        """Return the rate of the booking."""


@dataclass(frozen=True, slots=True)
class DerivedPosition:
    """Hold one line, with the fields of `stream.messages.Position` but the symbol for the number.

    `cost_basis` is the cost of all that is held (negative when short), in the instrument's currency, and
    `cost_basis_base` the same in base currency at booking rates; both to six places. `realised_today` is
    in base currency; cash realises nothing, its change of value is in the day's currency effect.
    """

    symbol: str
    quantity: Decimal
    cost_basis: Decimal
    cost_basis_base: Decimal
    opening_quantity: Decimal
    day_traded: Decimal
    realised_today: Decimal


class _Line:
    """Keep the running state of one line."""

    __slots__ = ("cost", "cost_base", "opening", "quantity", "realised", "traded")

    def __init__(self) -> None:
        self.quantity = ZERO
        self.cost = ZERO
        self.cost_base = ZERO
        self.opening = ZERO
        self.traded = ZERO
        self.realised = ZERO

    def move(self, quantity: Decimal, cost: Decimal, cost_base: Decimal) -> None:
        """Apply a signed quantity that cost this much (of the same sign)."""
        if self.quantity * quantity >= ZERO:
            self.quantity += quantity
            self.cost += cost
            self.cost_base += cost_base
            return
        closed = min(abs(quantity), abs(self.quantity))
        taken, taken_base = self._take_out(closed)
        share = closed / abs(quantity)
        self.realised -= taken_base + (cost_base * share).quantize(COST_STEP)
        if closed < abs(quantity):
            self.cost = (cost * (1 - share)).quantize(COST_STEP)
            self.cost_base = (cost_base * (1 - share)).quantize(COST_STEP)
        else:
            self.cost -= taken
            self.cost_base -= taken_base
        self.quantity += quantity

    def _take_out(self, closed: Decimal) -> tuple[Decimal, Decimal]:
        """Return the cost, local and base, of `closed` units of what is held."""
        held = abs(self.quantity)
        if closed == held:
            return self.cost, self.cost_base
        return (self.cost * closed / held).quantize(COST_STEP), (self.cost_base * closed / held).quantize(COST_STEP)


class PositionLedger:
    """Keep the positions of one portfolio up to date as bookings arrive in order of time."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def book(self, entry: LedgerEntry) -> None:
        """Apply one booking to the cash of its currency and, where it has a quantity, to its instrument."""
        traded = entry.type in TRADED_TYPES
        cash = self._line(entry.currency)
        cash.move(entry.amount, entry.amount, (entry.amount * entry.rate_to_base).quantize(COST_STEP))
        cash.realised = ZERO
        if traded:
            cash.traded += entry.amount
        if entry.symbol is None or not entry.quantity:
            return
        line = self._line(entry.symbol)
        line.move(entry.quantity, -entry.amount, -(entry.amount * entry.rate_to_base).quantize(COST_STEP))
        if traded:
            line.traded -= entry.amount

    def open_day(self) -> None:
        """Make the present quantities those of the prior close, and forget what was closed before."""
        self._lines = {symbol: line for symbol, line in self._lines.items() if line.quantity}
        for line in self._lines.values():
            line.opening = line.quantity
            line.traded = ZERO
            line.realised = ZERO

    def positions(self) -> tuple[DerivedPosition, ...]:
        """Return the lines that are held, or were at the prior close or traded since, in order of symbol."""
        return tuple(
            DerivedPosition(symbol, line.quantity, line.cost, line.cost_base, line.opening, line.traded, line.realised)
            for symbol, line in sorted(self._lines.items())
            if line.quantity or line.opening or line.traded or line.realised
        )

    def _line(self, symbol: str) -> _Line:
        found = self._lines.get(symbol)
        if found is None:
            found = self._lines[symbol] = _Line()
        return found


def derive_positions(bookings: Iterable[LedgerEntry], opening_at: datetime) -> tuple[DerivedPosition, ...]:
    """Return a portfolio's positions from all of its bookings in order of time.

    What was booked before `opening_at` (timezone-aware) makes the opening quantities, what was booked
    at or after it the day's trades.
    """
    ledger = PositionLedger()
    opened = False
    for entry in bookings:
        if not opened and entry.booked_at >= opening_at:
            ledger.open_day()
            opened = True
        ledger.book(entry)
    if not opened:
        ledger.open_day()
    return ledger.positions()
