"""Say what a portfolio's lines are on a day: positions that are older than the day have not moved in it.

A record of positions holds what moved since the prior close of the day it was made on. On a later day nothing has:
what is held is what was held at the prior close, and nothing was traded or realised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from analytics.revaluation import ZERO, HeldLine


@dataclass(frozen=True, slots=True)
class DayLine:
    """Hold one position as of a day; the fields are those of `analytics.revaluation.HeldLine`."""

    instrument: int
    quantity: Decimal
    opening_quantity: Decimal
    day_traded: Decimal
    day_traded_base: Decimal | None
    cost_basis_base: Decimal
    realised_today: Decimal


def lines_of_day(lines: Iterable[HeldLine], event_ns: int, day_start_ns: int) -> tuple[HeldLine, ...]:
    """Return the lines of a record made at `event_ns` as they are on the day that began at `day_start_ns`."""
    if event_ns >= day_start_ns:
        return tuple(lines)
    return tuple(
        DayLine(one.instrument, one.quantity, one.quantity, ZERO, ZERO, one.cost_basis_base, ZERO) for one in lines
    )
