"""Derive positions from bookings: quantities, average cost, and what moved and was realised today, in `Decimal`.

What a booking does to the cash of its currency and, where it names an instrument, to the instrument's line:

    booking                               cash                   line
    buy, sell                             +amount, moved         quantity, cost; -amount moved
    dividend, coupon, tax, fee … of one   +amount, moved         -amount moved: it is that line's profit or loss
    interest, fee, tax … of none          +amount                none: it is profit or loss of the day, in cash
    deposit, withdrawal, fx_in, fx_out    +amount, moved         none
    split                                 none                   quantity only, cost and opening as before
    conversion_out, conversion_in         none                   quantity; the one gives its cost to the other, at
                                                                 once after it: moved, and nothing is realised

"Moved" is what `day_traded` counts, in the line's currency, and `day_traded_base` at the rate of each booking. A
line's day P&L is its value now, less that at the prior close, less what moved (`analytics.revaluation`); so over a
portfolio it is the change of equity less deposits and withdrawals.

Average cost: a purchase adds what was paid; a sale takes out cost in proportion to what was sold and realises the
difference; a sale beyond what is held realises all of it and opens a short position at the price of the sale.
Cash is a position in the instrument whose symbol is the currency's code. For tax lots see `analytics.lots`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

ZERO = Decimal(0)
COST_STEP = Decimal("0.000001")
FLOW_TYPES = frozenset({"deposit", "withdrawal"})
EXCHANGE_TYPES = frozenset({"fx_in", "fx_out"})
SPLIT = "split"
CONVERSION_OUT, CONVERSION_IN = "conversion_out", "conversion_in"
NO_CASH = frozenset({SPLIT, CONVERSION_OUT, CONVERSION_IN})


class LedgerEntry(Protocol):
    """Describe what is read of a booking.

    `amount` is the signed effect on cash in `currency`, `quantity` the signed effect on the position in
    `symbol` (which trades in `currency`); `rate_to_base` is units of base currency for one of `currency`. That of
    an exchange is the rate that was dealt, so that both of its bookings are worth the same.
    """

    @property
    def type(self) -> str:
        """Return the kind of booking: a trade, an external flow, income and charges, or a split."""

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
    `cost_basis_base` the same in base currency at booking rates; both to six places. `day_traded_base` is exact.
    `realised_today` is in base currency; cash realises nothing, its change of value is in the day's currency effect.
    """

    symbol: str
    quantity: Decimal
    cost_basis: Decimal
    cost_basis_base: Decimal
    opening_quantity: Decimal
    day_traded: Decimal
    day_traded_base: Decimal
    realised_today: Decimal


class _Line:
    """Keep the running state of one line."""

    __slots__ = ("cost", "cost_base", "opening", "quantity", "realised", "traded", "traded_base")

    def __init__(self) -> None:
        self.quantity = ZERO
        self.cost = ZERO
        self.cost_base = ZERO
        self.open_day()

    def open_day(self) -> None:
        """Make the present quantity that of the prior close."""
        self.opening = self.quantity
        self.traded = ZERO
        self.traded_base = ZERO
        self.realised = ZERO

    def trade(self, amount: Decimal, rate: Decimal) -> None:
        """Count an amount that moved in."""
        self.traded += amount
        self.traded_base += amount * rate

    def split(self, quantity: Decimal) -> None:
        """Change the quantity at the same cost; raises `ValueError` where that would close or turn the position."""
        if (self.quantity + quantity) * self.quantity <= ZERO:
            raise ValueError(f"a split cannot change {self.quantity} by {quantity}")
        self.quantity += quantity

    def give_up(self, quantity: Decimal) -> tuple[Decimal, Decimal]:
        """Take a signed quantity out and return the cost, local and base, of what of it was held; realise nothing."""
        if self.quantity * quantity >= ZERO:
            taken, taken_base = ZERO, ZERO
        else:
            taken, taken_base = self._take_out(min(abs(quantity), abs(self.quantity)))
        self.quantity += quantity
        self.take_over(ZERO, -taken, -taken_base)
        return taken, taken_base

    def take_over(self, quantity: Decimal, cost: Decimal, cost_base: Decimal) -> None:
        """Put in a quantity with the cost that another line gave up."""
        self.quantity += quantity
        self.cost += cost
        self.cost_base += cost_base
        self.traded += cost
        self.traded_base += cost_base

    def move(self, quantity: Decimal, cost: Decimal, cost_base: Decimal) -> None:
        """Apply a signed quantity that cost this much (of the same sign)."""
        if self.quantity * quantity >= ZERO:
            self.quantity += quantity
            self.cost += cost
            self.cost_base += cost_base
            return
        closed = min(abs(quantity), abs(self.quantity))
        taken, taken_base = self._take_out(closed)
        if closed == abs(quantity):
            paid, paid_base = cost, cost_base
        else:
            share = closed / abs(quantity)
            paid, paid_base = (cost * share).quantize(COST_STEP), (cost_base * share).quantize(COST_STEP)
        self.realised -= taken_base + paid_base
        self.cost += cost - paid - taken
        self.cost_base += cost_base - paid_base - taken_base
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
        self._given_up = (ZERO, ZERO)

    def book(self, entry: LedgerEntry) -> None:
        """Apply one booking to the cash of its currency and to its instrument.

        Raises `ValueError` for a split of what is not held, or one that leaves nothing of it.
        """
        if entry.type not in NO_CASH:
            self._book_cash(entry)
        if entry.symbol is None or entry.type in FLOW_TYPES or entry.type in EXCHANGE_TYPES:
            return
        line = self._line(entry.symbol)
        if entry.type == SPLIT:
            line.split(entry.quantity or ZERO)
        elif entry.type == CONVERSION_OUT:
            self._given_up = line.give_up(entry.quantity or ZERO)
        elif entry.type == CONVERSION_IN:
            line.take_over(entry.quantity or ZERO, *self._given_up)
            self._given_up = (ZERO, ZERO)
        else:
            self._book_trade(line, entry)

    @staticmethod
    def _book_trade(line: _Line, entry: LedgerEntry) -> None:
        line.trade(-entry.amount, entry.rate_to_base)
        if entry.quantity:
            line.move(entry.quantity, -entry.amount, -at_cost_step(entry.amount * entry.rate_to_base))

    def open_day(self) -> None:
        """Make the present quantities those of the prior close, and forget what was closed before."""
        self._lines = {symbol: line for symbol, line in self._lines.items() if line.quantity}
        for line in self._lines.values():
            line.open_day()

    def positions(self) -> tuple[DerivedPosition, ...]:
        """Return the lines that are held, or were at the prior close or moved since, in order of symbol."""
        return tuple(
            DerivedPosition(
                symbol,
                line.quantity,
                line.cost,
                line.cost_base,
                line.opening,
                line.traded,
                line.traded_base,
                line.realised,
            )
            for symbol, line in sorted(self._lines.items())
            if line.quantity or line.opening or line.traded or line.traded_base or line.realised
        )

    def _book_cash(self, entry: LedgerEntry) -> None:
        cash = self._line(entry.currency)
        cash.move(entry.amount, entry.amount, at_cost_step(entry.amount * entry.rate_to_base))
        cash.realised = ZERO
        if entry.symbol is not None or entry.type in FLOW_TYPES or entry.type in EXCHANGE_TYPES:
            cash.trade(entry.amount, entry.rate_to_base)

    def _line(self, symbol: str) -> _Line:
        found = self._lines.get(symbol)
        if found is None:
            found = self._lines[symbol] = _Line()
        return found


def derive_positions(bookings: Iterable[LedgerEntry], opening_at: datetime) -> tuple[DerivedPosition, ...]:
    """Return a portfolio's positions from all of its bookings in order of time.

    What was booked before `opening_at` (timezone-aware) makes the opening quantities, what was booked
    at or after it the day's trades. Raises `ValueError` for a split that cannot be.
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


def at_cost_step(amount: Decimal) -> Decimal:
    """Round an amount to the six places that costs are kept to."""
    return amount.quantize(COST_STEP)
