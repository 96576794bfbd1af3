"""Say what a portfolio's lines are on a day, in the shares of a moment of that day.

A record of positions holds what moved since the prior close of the day it was made on. On a later day nothing has:
what is held is what was held at the prior close, and nothing was traded or realised. A record also holds shares of its
time, and opening quantities in shares of its day's start: splits since then are applied to both, so that positions
read before a split are right after it, before the back office says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from analytics.revaluation import ZERO, HeldLine
from analytics.splits import NO_SPLITS, Splits


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


def lines_of_day(
    lines: Iterable[HeldLine], event_ns: int, day_start_ns: int, splits: Splits = NO_SPLITS, until_ns: int = 0
) -> tuple[HeldLine, ...]:
    """Return the lines of a record made at `event_ns` as they are on the day that began at `day_start_ns`.

    Quantities are in the shares of `until_ns`. A split at the very start of the day is one of the day.
    """
    of_today = event_ns >= day_start_ns
    if of_today and not splits:
        return tuple(lines)
    return tuple(_line(one, event_ns, day_start_ns if of_today else None, splits, until_ns) for one in lines)


def _line(one: HeldLine, event_ns: int, day_start_ns: int | None, splits: Splits, until_ns: int) -> DayLine:
    """Return a line; without a start of the day it is of an earlier one."""
    held = one.quantity * splits.ratio(one.instrument, event_ns, until_ns)
    if day_start_ns is None:
        return DayLine(one.instrument, held, held, ZERO, ZERO, one.cost_basis_base, ZERO)
    opening = one.opening_quantity * splits.ratio(one.instrument, day_start_ns - 1, until_ns)
    return DayLine(
        one.instrument, held, opening, one.day_traded, one.day_traded_base, one.cost_basis_base, one.realised_today
    )
