"""Find the positions of an instrument: one growing run of entries for each.

An entry is (portfolio, place in the book, quantity), so that a tick reads its holders in order and nothing else of
the book. Entries are added at the end of a run and taken out by moving the last one into the gap: both cost the same
whatever the size of the book.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FIRST_ROOM = 4


class InstrumentIndex:
    """Keep entries by instrument: `holder`, `place` (uint32) and `quantity` (float64) in `start` .. `start + count`.

    `slot` is by place in the book: where in its instrument's run the entry of that position stands.
    """

    def __init__(self, capacity: int) -> None:
        self.start = np.zeros(0, np.int64)
        self.count = np.zeros(0, np.int64)
        self.room = np.zeros(0, np.int64)
        self.used = 0
        self.holder = np.zeros(capacity, np.uint32)
        self.place = np.zeros(capacity, np.uint32)
        self.quantity = np.zeros(capacity)
        self.slot = np.zeros(capacity, np.uint32)

    def fit(self, instruments: int, places: int) -> None:
        """Make room for so many instruments and places in the book."""
        if instruments > len(self.start):
            more = instruments - len(self.start)
            self.start, self.count, self.room = (
                np.concatenate([column, np.zeros(more, np.int64)]) for column in (self.start, self.count, self.room)
            )
        if places > len(self.slot):
            self.slot = _grown(self.slot, places)

    def run(self, instrument: int) -> slice:
        """Return where the entries of an instrument stand."""
        if instrument >= len(self.start):
            return slice(0)
        start = int(self.start[instrument])
        return slice(start, start + int(self.count[instrument]))

    def add(
        self, instruments: npt.NDArray[np.uint32], quantities: npt.NDArray[np.float64], first: int, holder: int
    ) -> None:
        """Enter the positions that stand from `first` on in the book."""
        missing = int(_missing_room(instruments, self.count, self.room)) + self.used - len(self.holder)
        if missing > 0:
            capacity = max(2 * len(self.holder), len(self.holder) + missing)
            self.holder, self.place = _grown(self.holder, capacity), _grown(self.place, capacity)
            self.quantity = _grown(self.quantity, capacity)
        self.used = _add(
            instruments, quantities, first, holder, self.used,
            self.start, self.count, self.room, self.holder, self.place, self.quantity, self.slot,
        )  # fmt: skip

    def remove(self, instruments: npt.NDArray[np.uint32], first: int) -> None:
        """Take out the positions that stand from `first` on in the book."""
        _remove(instruments, first, self.start, self.count, self.holder, self.place, self.quantity, self.slot)

    def compact(self) -> None:
        """Lay the runs one after the other again, each with a little room: for after a restore, not for a change."""
        room = self.count + np.maximum(FIRST_ROOM, self.count // 16)
        start = np.cumsum(room) - room
        used = int(room.sum())
        for name in ("holder", "place", "quantity"):
            column = getattr(self, name)
            tight = np.zeros(used, column.dtype)
            _copy_runs(column, tight, self.start, start, self.count)
            setattr(self, name, tight)
        self.start, self.room, self.used = start, room, used


def _grown(column: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    grown = np.zeros(capacity, column.dtype)
    grown[: len(column)] = column
    return grown


@njit(cache=True)
def _missing_room(instruments: Any, count: Any, room: Any) -> int:
    missing = 0
    for s in instruments:
        if count[s] == room[s]:
            missing += max(2 * room[s], FIRST_ROOM)
    return missing


@njit(cache=True)
def _add(
    instruments: Any,
    quantities: Any,
    first: int,
    portfolio: int,
    used: int,
    start: Any,
    count: Any,
    room: Any,
    holder: Any,
    place: Any,
    quantity: Any,
    slot: Any,
) -> int:
    for i in range(len(instruments)):
        s = instruments[i]
        if count[s] == room[s]:  # a full run moves to the end, with twice the room
            for e in range(count[s]):
                holder[used + e] = holder[start[s] + e]
                place[used + e] = place[start[s] + e]
                quantity[used + e] = quantity[start[s] + e]
            start[s] = used
            room[s] = max(2 * room[s], FIRST_ROOM)
            used += room[s]
        e = start[s] + count[s]
        holder[e] = portfolio
        place[e] = first + i
        quantity[e] = quantities[i]
        slot[first + i] = count[s]
        count[s] += 1
    return used


@njit(cache=True)
def _remove(
    instruments: Any, first: int, start: Any, count: Any, holder: Any, place: Any, quantity: Any, slot: Any
) -> None:
    for i in range(len(instruments)):
        s = instruments[i]
        e = start[s] + slot[first + i]
        last = start[s] + count[s] - 1
        holder[e], place[e], quantity[e] = holder[last], place[last], quantity[last]
        slot[place[e]] = slot[first + i]
        count[s] -= 1


@njit(cache=True)
def _copy_runs(source: Any, target: Any, source_start: Any, target_start: Any, count: Any) -> None:
    for s in range(len(count)):
        for e in range(count[s]):
            target[target_start[s] + e] = source[source_start[s] + e]
