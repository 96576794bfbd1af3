"""Derive what positions cost from bookings, to hold it against what the back office says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from analytics.positions import PositionLedger
from db.reconciliation import BookedEntry


@dataclass(frozen=True, slots=True)
class Costs:
    """Hold the average cost of what is held, in the instrument's currency and in base currency.

    The latter is None where a booking of the portfolio has no rate.
    """

    local: Decimal
    base: Decimal | None


def derive_costs(bookings: Sequence[BookedEntry]) -> Mapping[int, Costs]:
    """Return the costs by instrument, without cash, from all bookings of a portfolio in order of time.

    Raises `ValueError` where they contradict each other, such as a split of what is not held.
    """
    ledger = PositionLedger()
    for one in bookings:
        ledger.book(one)
    rated = all(one.rated for one in bookings)
    return {
        int(line.symbol): Costs(line.cost_basis, line.cost_basis_base if rated else None)
        for line in ledger.positions()
        if line.symbol.isdigit()
    }
