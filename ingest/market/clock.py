"""Tell the time and wait, behind a port, so that a test can run an hour of ticks in a moment."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tell two times in nanoseconds: the wall clock for events, the monotonic one for pace."""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero only lets others run."""
        ...


class SystemClock:
    """Tell the time of this machine."""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait; zero only lets others run."""
        await asyncio.sleep(seconds)
