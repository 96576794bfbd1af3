"""Keep how long calls took lately, for a percentile that people can read."""

from __future__ import annotations

from collections import deque
from math import ceil

WINDOW_S = 300.0
TARGET_S = 0.5  # SPEC: a call of IBOSS takes under 500 ms
FEWEST = 20  # one slow call among fewer would be the percentile
MOST = 5000


class Latency:
    """Hold the durations of the last five minutes, at most 5,000; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float]] = deque(maxlen=MOST)

    def add(self, now_s: float, seconds: float) -> None:
        """Note a call that has just ended."""
        self._calls.append((now_s, seconds))

    def p95(self, now_s: float) -> float | None:
        """Return the seconds within which 95 of 100 calls ended, by nearest rank; None for fewer than twenty calls."""
        while self._calls and self._calls[0][0] < now_s - WINDOW_S:
            self._calls.popleft()
        if len(self._calls) < FEWEST:
            return None
        durations = sorted(seconds for _, seconds in self._calls)
        return durations[ceil(0.95 * len(durations)) - 1]
