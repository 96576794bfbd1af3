"""Choose, for each instrument, the feed whose price counts: the best that is live, and no hopping. Pure.

A feed that is lost, or silent for too long, hands its instruments over to the next best that speaks. It takes them back
when it has been live for two seconds on end. In the first five seconds of a run the better feeds are waited for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEADY_NS = 2_000_000_000
GRACE_NS = 5_000_000_000
NOBODY = -1
ABSENT = np.inf

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Switch:
    """Say that instruments went over from one feed (`NOBODY` at the beginning) to another."""

    instruments: Ints
    old: int
    new: int


class Selection:
    """Hold which feed is chosen for each instrument; rows are feeds, columns instrument ids."""

    def __init__(self, sources: int, began_ns: int) -> None:
        self.chosen = np.full(0, NOBODY, np.int64)
        self._began_ns = began_ns
        self._rank = np.full((sources, 0), ABSENT)
        self._live = np.zeros((sources, 0), bool)
        self._spoke = np.zeros((sources, 0), bool)
        self._since_ns = np.zeros((sources, 0), np.int64)

    def follow(self, size: int) -> None:
        """Make room for ids below `size`."""
        more = size - len(self.chosen)
        if more <= 0:
            return
        sources = len(self._rank)
        self.chosen = np.concatenate([self.chosen, np.full(more, NOBODY, np.int64)])
        self._rank = np.concatenate([self._rank, np.full((sources, more), ABSENT)], axis=1)
        self._live = np.concatenate([self._live, np.zeros((sources, more), bool)], axis=1)
        self._spoke = np.concatenate([self._spoke, np.zeros((sources, more), bool)], axis=1)
        self._since_ns = np.concatenate([self._since_ns, np.zeros((sources, more), np.int64)], axis=1)

    def rank(self, source: int, ranks: Floats) -> None:
        """Say how good a feed is for each instrument, 0 best; `ABSENT` where it does not quote it."""
        self._rank[source] = ranks
        gone = self.chosen == source
        gone &= np.isinf(ranks)
        self.chosen[gone] = NOBODY

    def report(self, source: int, live: Flags, held: Flags, now_ns: int) -> None:
        """Say which instruments of a feed are live, and of which its last quote still holds."""
        self._spoke[source] &= held
        self._since_ns[source][live & ~self._live[source]] = now_ns
        self._live[source] = live

    def take(self, source: int, instruments: npt.NDArray[np.uint32], now_ns: int) -> tuple[Flags, list[Switch]]:
        """Hear quotes of a feed; return which of them count, and what was switched by that."""
        ids = np.unique(instruments).astype(np.int64)
        fresh = ids[~(self._live[source, ids] & self._spoke[source, ids])]
        self._since_ns[source, fresh] = now_ns
        self._live[source, ids] = True
        self._spoke[source, ids] = True
        switches = self._decide(ids, now_ns)
        counted: Flags = self.chosen[instruments] == source
        return counted, switches

    def look(self, now_ns: int) -> list[Switch]:
        """Decide on all instruments; to be called a few times a second, since silence calls nobody."""
        return self._decide(np.arange(len(self.chosen)), now_ns)

    def _decide(self, ids: Ints, now_ns: int) -> list[Switch]:
        rank, since_ns = self._rank[:, ids], self._since_ns[:, ids]
        eligible = self._live[:, ids] & self._spoke[:, ids] & np.isfinite(rank)
        columns, old = np.arange(len(ids)), self.chosen[ids]
        best = np.argmin(np.where(eligible, rank, ABSENT), axis=0)
        best = np.where(eligible[best, columns], best, NOBODY)
        held = (old != NOBODY) & eligible[old, columns]

        steady = eligible & (now_ns - since_ns >= STEADY_NS) & (rank < rank[old, columns])
        better = np.argmin(np.where(steady, rank, ABSENT), axis=0)
        new = np.where(held, np.where(steady[better, columns], better, old), best)
        if now_ns - self._began_ns < GRACE_NS:
            awaited = (rank < rank[best, columns]).any(axis=0)
            new = np.where((old == NOBODY) & awaited, NOBODY, new)
        new = np.where(new == NOBODY, old, new)  # where nobody speaks, the last to speak stays
        self.chosen[ids] = new
        return _switches(ids, old, new)


def _switches(ids: Ints, old: Ints, new: Ints) -> list[Switch]:
    moved = old != new
    if not moved.any():
        return []
    pairs = sorted({(int(a), int(b)) for a, b in zip(old[moved], new[moved], strict=True)})
    return [Switch(ids[moved & (old == before) & (new == after)], before, after) for before, after in pairs]
