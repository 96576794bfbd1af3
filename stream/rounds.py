"""Take turns: within a budget, so that whoever has waited longest goes first."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Indices = npt.NDArray[np.int64]


class Round:
    """Give at most `budget` portfolios a turn, each at most once in `every_ns`; one that had its turn goes last."""

    def __init__(self, budget: int, every_ns: int) -> None:
        self._every_ns = every_ns
        self._next = 0
        self._chosen = np.zeros(budget, np.int64)
        self._taken_ns = np.zeros(0, np.int64)
        self._everybody = np.zeros(0, np.int64)

    def first(self, size: int) -> Indices:
        """Return the indices of the first `size` portfolios, without making them anew each time."""
        if size > len(self._everybody):
            self._everybody = np.arange(2 * size)
        return self._everybody[:size]

    def due(self, members: Indices, pending: npt.NDArray[np.uint8], now_ns: int) -> Indices:
        """Return who of `members` (portfolios, ascending) is pending and has its turn now."""
        if len(pending) > len(self._taken_ns):
            more = 2 * len(pending) - len(self._taken_ns)
            self._taken_ns = np.concatenate([self._taken_ns, np.full(more, -(1 << 62))])
        latest_ns = now_ns - self._every_ns
        found, self._next = _choose(members, pending, self._taken_ns, latest_ns, self._next, self._chosen)
        return self._chosen[:found].copy()

    def took(self, members: Indices, now_ns: int) -> None:
        """Note that they have had their turn."""
        self._taken_ns[members] = now_ns

    def forget(self) -> None:
        """Let everybody have a turn again."""
        self._taken_ns[:] = -(1 << 62)


@njit(cache=True)
def _choose(members: Any, pending: Any, taken_ns: Any, latest_ns: int, following: int, chosen: Any) -> tuple[int, int]:
    """Fill `chosen` from the first member not below `following`, once around; return how many, and who follows."""
    size = len(members)
    begin = np.searchsorted(members, following)
    found = 0
    for step in range(size):
        at = begin + step
        one = members[at if at < size else at - size]
        if pending[one] and taken_ns[one] <= latest_ns:
            chosen[found] = one
            found += 1
            if found == len(chosen):
                return found, one + 1
    return found, following
