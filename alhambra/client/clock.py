"""Estimate how far the server's clock is from ours, as NTP does: by the answers that took the shortest."""

from __future__ import annotations

import time
from collections import deque

SAMPLES = 16


class Clock:
    """Hold the newest round trips. An answer stamped S that took D arrived at S + D / 2, give or take D / 2.

    So the offset is taken from the shortest of the last 16 round trips, and is wrong by half of it at most.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)

    def add(self, sent_ns: int, received_ns: int, server_ns: int) -> None:
        """Take a round trip: our clock when the request went and when the answer came, the server's between."""
        round_trip = received_ns - sent_ns
        if round_trip >= 0:  # our clock was not set back meanwhile
            self._samples.append((round_trip, server_ns - (sent_ns + received_ns) // 2))

    def forget(self) -> None:
        """Begin anew: another server, another clock."""
        self._samples.clear()

    @property
    def offset_ns(self) -> int | None:
        """Return the server's clock minus ours, None before the first answer."""
        return min(self._samples)[1] if self._samples else None

    @property
    def round_trip_ns(self) -> int | None:
        """Return the shortest of the newest round trips, None before the first answer."""
        return min(self._samples)[0] if self._samples else None

    def server_now_ns(self) -> int:
        """Return what the server's clock shows now; ours before the first answer."""
        return time.time_ns() + (self.offset_ns or 0)
