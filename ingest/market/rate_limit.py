"""Keep within what a venue allows: so many calls in so many seconds."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from datetime import datetime
from email.utils import parsedate_to_datetime


class RateLimit:
    """Allow `calls` in any `per_s` seconds; 0 calls are no bound."""

    def __init__(self, calls: int, per_s: float) -> None:
        self._calls = calls
        self._per_s = per_s
        self._made: deque[float] = deque(maxlen=calls or 1)

    async def turn(self) -> None:
        """Wait until a call is allowed, and count it."""
        wait_s = self.wait_s(time.monotonic())
        while wait_s > 0.0:
            await asyncio.sleep(wait_s)
            wait_s = self.wait_s(time.monotonic())  # others may have had their turn meanwhile
        self.take(time.monotonic())

    def wait_s(self, now_s: float) -> float:
        """Return how long the next call must wait, 0.0 where it need not."""
        if not self._calls or len(self._made) < self._calls:
            return 0.0
        return max(0.0, self._made[0] + self._per_s - now_s)

    def take(self, now_s: float) -> None:
        """Count a call."""
        self._made.append(now_s)


def parse_retry_after(text: str | None, now: datetime, most_s: float = 3600.0) -> float | None:
    """Return the seconds that a header `Retry-After` asks us to wait, at most `most_s`; None where it cannot be read.

    It is a number of seconds or a date (RFC 9110, section 10.2.3).
    """
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), most_s)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return min(max(0.0, (moment - now).total_seconds()), most_s)
