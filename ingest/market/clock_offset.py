"""Estimate how far a venue's clock is from ours. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median

SECOND_NS = 1_000_000_000
WINDOW_S = 30
ENOUGH_S = 3  # so many seconds must agree before a venue's clock is believed to be ahead


class ClockOffset:
    """Estimate received minus event time, less half a round trip: positive where the venue's records come late.

    Of each second the smallest difference is kept, because delays only add to it, and of the newest thirty the median,
    so that one stray time moves nothing. A negative estimate says that the venue's clock is ahead of ours: by
    `ahead_ns`, which is 0 where that is not known.
    """

    def __init__(self) -> None:
        self._minima: deque[int] = deque(maxlen=WINDOW_S)
        self._second = -1
        self._lowest = 0
        self._half_round_trip_ns = 0
        self.ahead_ns = 0

    def observe(self, event_ns: int, received_ns: int) -> None:
        """Take one pair of times."""
        difference = received_ns - event_ns
        second = received_ns // SECOND_NS
        if second != self._second:
            if self._second >= 0:
                self._minima.append(self._lowest)
                self.ahead_ns = max(0, -(self.offset_ns or 0))
            self._second, self._lowest = second, difference
        elif difference < self._lowest:
            self._lowest = difference

    def travelled(self, round_trip_s: float) -> None:
        """Say how long the last ping took to come back."""
        self._half_round_trip_ns = round(round_trip_s * SECOND_NS / 2)

    @property
    def offset_ns(self) -> int | None:
        """Return the estimate, None before anything was observed for long enough."""
        if len(self._minima) < ENOUGH_S:
            return None
        return round(median(self._minima)) - self._half_round_trip_ns
