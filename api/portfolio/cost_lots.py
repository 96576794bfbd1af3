"""Show the bookings behind a row: what traded today, and the lots that its cost consists of, first in first out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from analytics.lots import OpenLot, derive_lots
from analytics.positions import CONVERSION_IN, CONVERSION_OUT
from api.portfolio.provenance import plain
from db.provenance import BookedEntry

Shape = dict[str, Any]
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class RatedEntry:
    """Be a booking whose rate is known, or counts as nothing: an `analytics.lots.LotEntry`."""

    booked: BookedEntry
    rate_to_base: Decimal

    @property
    def type(self) -> str:
        """Return the kind of booking."""
        return self.booked.type

    @property
    def booked_at(self) -> datetime:
        """Return when it was booked."""
        return self.booked.booked_at

    @property
    def symbol(self) -> str | None:
        """Return the instrument."""
        return self.booked.symbol

    @property
    def quantity(self) -> Decimal | None:
        """Return the signed effect on the position."""
        return self.booked.quantity

    @property
    def amount(self) -> Decimal:
        """Return the signed effect on cash."""
        return self.booked.amount

    @property
    def currency(self) -> str:
        """Return the currency of the amount."""
        return self.booked.currency

    @property
    def reference(self) -> str:
        """Return what names the booking."""
        return self.booked.reference


def day_bookings(bookings: Iterable[BookedEntry], symbol: str, since: datetime) -> list[Shape]:
    """Return the bookings since the day began that touched a row: of the instrument, or of the currency where cash."""
    return [
        {
            "reference": one.reference,
            "type": one.type,
            "at": one.booked_at.isoformat(),
            "symbol": one.symbol,
            "quantity": plain(one.quantity),
            "price": plain(one.price),
            "amount": plain(one.amount),
            "currency": one.currency,
            "rateToBase": plain(one.rate_to_base),
        }
        for one in bookings
        if one.booked_at >= since and symbol in (one.symbol, one.currency)
    ]


def open_lots(bookings: Sequence[BookedEntry], symbol: str, base_currency: str) -> list[Shape]:
    """Return the open lots of an instrument; costs in base are null where a booking does not say its rate."""
    family = _converted_into(bookings, symbol)
    mine = [one for one in bookings if one.symbol in family]
    rates = [one.rate_to_base or (Decimal(1) if one.currency == base_currency else None) for one in mine]
    known = None not in rates
    try:
        lots = derive_lots(RatedEntry(one, rate or ZERO) for one, rate in zip(mine, rates, strict=True)).open
    except ValueError:  # a split of what these bookings do not hold: they are not all there are, and make no lots
        return []
    return [_lot_shape(one, known) for one in lots if one.symbol == symbol]


def _converted_into(bookings: Sequence[BookedEntry], symbol: str) -> set[str | None]:
    """Return the instrument with those whose lots it took over, and theirs before them."""
    family: set[str | None] = {symbol}
    for before, one in reversed(list(pairwise(bookings))):
        if (before.type, one.type) == (CONVERSION_OUT, CONVERSION_IN) and one.symbol in family:
            family.add(before.symbol)
    return family


def _lot_shape(lot: OpenLot, base_known: bool) -> Shape:
    return {
        "reference": lot.reference,
        "openedAt": lot.opened_at.isoformat(),
        "quantity": plain(lot.quantity),
        "cost": plain(lot.cost),
        "costBase": plain(lot.cost_base) if base_known else None,
    }
