"""Do something again and again, through outages of what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from api.errors import UNAVAILABLE

log = structlog.get_logger()


async def periodically(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """Await `act()` every so many seconds, for ever; an outage is logged and the next round tries again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await act()
        except UNAVAILABLE as error:
            log.warning("could not look after the live stream", what=act.__name__, error=repr(error))
