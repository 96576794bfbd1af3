"""Match sales with purchases first in, first out: the tax lots of a portfolio, in `Decimal`.

A lot is opened by each purchase, or by each short sale where nothing is held; whatever moves the position the other
way closes lots, oldest first, and what is left of it opens a lot. A split scales the open lots of its instrument
at the same total cost; a conversion hands lots on to another instrument, with their costs and dates. Of every amount
that is divided the last part takes what is left, so nothing is lost to rounding: in the instrument's currency

    money in and out of trades = gains of the disposals - cost of the open lots

exactly, and in base currency at booking rates to six places. Average cost (`analytics.positions`) arrives at the
same gain where everything is closed, and at another one on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from analytics.positions import CONVERSION_IN, CONVERSION_OUT, COST_STEP, SPLIT, ZERO, LedgerEntry, at_cost_step

QUANTITY_STEP = Decimal("0.000000000001")  # of lots after a split; finer than any quantity that is booked


class LotEntry(LedgerEntry, Protocol):
    """Describe what is read of a booking: as for positions, and its reference."""

    @property
    def reference(self) -> str:
        """Return what names the booking."""


@dataclass(frozen=True, slots=True)
class OpenLot:
    """Hold what is left of a lot; quantity and costs are negative when short.

    `reference` and `opened_at` are those of the booking that opened it, `cost_base` at its rate.
    """

    symbol: str
    reference: str
    opened_at: datetime
    quantity: Decimal
    cost: Decimal
    cost_base: Decimal


@dataclass(frozen=True, slots=True)
class Disposal:
    """Hold the closing of a lot or of a part of it: what it brought and what it had cost, both positive.

    `reference` names the booking that opened the lot, `closed_by` the one that closed it; `quantity` is positive.
    Of a short position the proceeds came first, at the rate of that day. Base amounts are at booking rates.
    """

    symbol: str
    reference: str
    closed_by: str
    opened_at: datetime
    closed_at: datetime
    short: bool
    quantity: Decimal
    proceeds: Decimal
    cost: Decimal
    proceeds_base: Decimal
    cost_base: Decimal

    @property
    def gain(self) -> Decimal:
        """Return the gain in the instrument's currency."""
        return self.proceeds - self.cost

    @property
    def gain_base(self) -> Decimal:
        """Return the gain in base currency."""
        return self.proceeds_base - self.cost_base

    @property
    def days_held(self) -> int:
        """Return the days from opening to closing, by date."""
        return (self.closed_at.date() - self.opened_at.date()).days


@dataclass(frozen=True, slots=True)
class Lots:
    """Hold open lots by symbol, oldest first within each, and disposals in the order they came about."""

    open: tuple[OpenLot, ...]
    disposals: tuple[Disposal, ...]


def derive_lots(bookings: Iterable[LotEntry]) -> Lots:
    """Return the lots of a portfolio from all of its bookings in order of time; cash has none.

    Raises `ValueError` for a split of what is not held, or one that leaves nothing of it.
    """
    lots: dict[str, deque[OpenLot]] = {}
    disposals: list[Disposal] = []
    given_up: list[OpenLot] = []
    for entry in bookings:
        if entry.symbol is None or not entry.quantity:
            continue
        queue = lots.setdefault(entry.symbol, deque())
        if entry.type == SPLIT:
            lots[entry.symbol] = _split(queue, entry.quantity)
            continue
        if entry.type == CONVERSION_OUT:
            given_up = _give_up(queue, entry.quantity)
            continue
        if entry.type == CONVERSION_IN and given_up:
            queue.extend(_take_over(given_up, entry.symbol, entry.quantity))
            given_up = []
            continue
        incoming: OpenLot | None = _lot(entry, entry.symbol, entry.quantity)
        while incoming is not None and queue and queue[0].quantity * incoming.quantity < ZERO:
            incoming = _match(queue, incoming, disposals)
        if incoming is not None:
            queue.append(incoming)
    return Lots(tuple(lot for symbol in sorted(lots) for lot in lots[symbol]), tuple(disposals))


def _lot(entry: LotEntry, symbol: str, quantity: Decimal) -> OpenLot:
    cost_base = -at_cost_step(entry.amount * entry.rate_to_base)
    return OpenLot(symbol, entry.reference, entry.booked_at, quantity, -entry.amount, cost_base)


def _match(queue: deque[OpenLot], incoming: OpenLot, disposals: list[Disposal]) -> OpenLot | None:
    """Close what the oldest lot and the incoming one have in common; return what is left of the incoming one."""
    oldest = queue.popleft()
    closed = min(abs(oldest.quantity), abs(incoming.quantity))
    taken, left = _divide(oldest, closed)
    paid, rest = _divide(incoming, closed)
    if left is not None:
        queue.appendleft(left)
    short = oldest.quantity < ZERO
    sold, bought = (taken, paid) if short else (paid, taken)
    disposals.append(
        Disposal(
            symbol=oldest.symbol,
            reference=oldest.reference,
            closed_by=incoming.reference,
            opened_at=oldest.opened_at,
            closed_at=incoming.opened_at,
            short=short,
            quantity=closed,
            proceeds=-sold.cost,
            cost=bought.cost,
            proceeds_base=-sold.cost_base,
            cost_base=bought.cost_base,
        )
    )
    return rest


def _divide(lot: OpenLot, size: Decimal) -> tuple[OpenLot, OpenLot | None]:
    """Return the part of a lot that has `size` units, and the rest of it, None where there is none."""
    whole = abs(lot.quantity)
    if size == whole:
        return lot, None
    part = replace(
        lot,
        quantity=size.copy_sign(lot.quantity),
        cost=(lot.cost * size / whole).quantize(COST_STEP),
        cost_base=(lot.cost_base * size / whole).quantize(COST_STEP),
    )
    rest = replace(
        lot,
        quantity=lot.quantity - part.quantity,
        cost=lot.cost - part.cost,
        cost_base=lot.cost_base - part.cost_base,
    )
    return part, rest


def _give_up(queue: deque[OpenLot], quantity: Decimal) -> list[OpenLot]:
    """Take the oldest lots out, up to a quantity, without closing them."""
    left, taken = abs(quantity), []
    while queue and left > ZERO and queue[0].quantity * quantity < ZERO:
        part, rest = _divide(queue[0], min(left, abs(queue[0].quantity)))
        queue.popleft()
        if rest is not None:
            queue.appendleft(rest)
        taken.append(part)
        left -= abs(part.quantity)
    return taken


def _take_over(given_up: list[OpenLot], symbol: str, quantity: Decimal) -> deque[OpenLot]:
    """Return lots as `quantity` units of another instrument."""
    renamed = deque(replace(lot, symbol=symbol) for lot in given_up)
    return _split(renamed, quantity - sum((lot.quantity for lot in given_up), ZERO))


def _split(queue: deque[OpenLot], quantity: Decimal) -> deque[OpenLot]:
    held = sum((lot.quantity for lot in queue), ZERO)
    left = held + quantity
    if left * held <= ZERO:
        raise ValueError(f"a split cannot change {held} by {quantity}")
    scaled: deque[OpenLot] = deque()
    ratio = left / held
    for lot in list(queue)[:-1]:
        scaled.append(replace(lot, quantity=(lot.quantity * ratio).quantize(QUANTITY_STEP)))
        left -= scaled[-1].quantity
    scaled.append(replace(queue[-1], quantity=left))
    return scaled
