"""Know which shares an amount is in: those of before a split, or of after it.

A quantity or a price says by its time in which shares it is: the splits that took effect after that time are still to
be applied to it. A quantity is multiplied by their ratio and a price divided by it, so that their product stays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import prod
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_NS = 2**63 - 1
ONE = Decimal(1)


class SplitTerms(Protocol):
    """Describe what is read of a split; `db.corporate_actions.KnownSplit` is one."""

    @property
    def instrument(self) -> int:
        """Return the instrument's number."""

    @property
    def ex_date(self) -> date:
        """Return the first date whose close is in new shares."""

    @property
    def effective_at(self) -> datetime:
        """Return from when quantities and prices are in new shares, timezone-aware."""

    @property
    def ratio(self) -> Decimal:
        """Return new shares for one old: below 1 for a reverse split."""


@dataclass(frozen=True, slots=True)
class Split:
    """Hold one split, its moment in nanoseconds since the epoch; the other fields are those of `SplitTerms`."""

    instrument: int
    ex_date: date
    effective_ns: int
    ratio: Decimal


class Splits:
    """Hold splits in the order in which they take effect; two are equal where they hold the same ones."""

    def __init__(self, splits: Iterable[Split] = ()) -> None:
        self._all = tuple(sorted(splits, key=lambda one: (one.effective_ns, one.instrument)))
        self._moments = [one.effective_ns for one in self._all]
        self._of: dict[int, list[Split]] = {}
        for one in self._all:
            self._of.setdefault(one.instrument, []).append(one)

    def __len__(self) -> int:
        return len(self._all)

    def between(self, since_ns: int, until_ns: int) -> tuple[Split, ...]:
        """Return what took effect after `since_ns` and up to `until_ns`."""
        return self._all[bisect_right(self._moments, since_ns) : bisect_right(self._moments, until_ns)]

    def next_ns(self, after_ns: int) -> int:
        """Return when the next one takes effect after a moment, `NEVER_NS` where none is known."""
        place = bisect_right(self._moments, after_ns)
        return self._moments[place] if place < len(self._moments) else NEVER_NS

    def ratio(self, instrument: int, since_ns: int, until_ns: int) -> Decimal:
        """Return how many shares of `until_ns` one of `since_ns` is."""
        found = self._of.get(instrument, ())
        return prod((one.ratio for one in found if since_ns < one.effective_ns <= until_ns), start=ONE)

    def since_close(self, instrument: int, day: date, until_ns: int) -> tuple[Split, ...]:
        """Return what is between the close of a date and `until_ns`."""
        return tuple(one for one in self._of.get(instrument, ()) if day < one.ex_date and one.effective_ns <= until_ns)

    def ratio_since_close(self, instrument: int, day: date, until_ns: int) -> Decimal:
        """Return how many shares of `until_ns` one at the close of a date is."""
        return prod((one.ratio for one in self.since_close(instrument, day, until_ns)), start=ONE)


NO_SPLITS = Splits()


def create_splits(terms: Iterable[SplitTerms]) -> Splits:
    """Return the splits that these terms describe."""
    return Splits(Split(one.instrument, one.ex_date, _nanoseconds(one.effective_at), one.ratio) for one in terms)


def _nanoseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1) * 1000
