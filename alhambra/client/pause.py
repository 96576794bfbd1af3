"""Say how long to wait for what: shortest where it is likely to work, and never all clients at the same moment."""

from __future__ import annotations

import random
from dataclasses import dataclass

SHORTEST_S = 0.25
DOUBLINGS = 8  # enough to reach the longest


@dataclass(frozen=True, slots=True)
class Patience:
    """Say how long to wait: between attempts at most, and for a word of the server.

    The server says something each second where anything is followed. After `stale_s` of silence what is held is
    stale, after `lost_s` the connection is given up. One that lived for `good_s` was good: the attempt after it
    begins with the shortest pause.
    """

    longest_pause_s: float = 10.0
    stale_s: float = 3.0
    lost_s: float = 10.0
    good_s: float = 5.0

    def pause_s(self, attempt: int, at_least_s: float = 0.0) -> float:
        """Return how long to wait before attempt 0, 1, 2 …: from half to all of 0.25 s, 0.5 s, 1 s … the longest."""
        longest = min(self.longest_pause_s, SHORTEST_S * 2.0 ** min(attempt, DOUBLINGS))
        return at_least_s + longest * random.uniform(0.5, 1.0)  # noqa: S311  not a secret
