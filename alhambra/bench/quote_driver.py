"""Drive quotes into Redis as a stream worker does: store them, publish those that are followed, and beat."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from db.live import LiveStore, StoredQuote

BEAT_S = 1.0
CLOSE = 100.0
SOURCE = "bench"


class QuoteDriver:
    """Publish a quote of every symbol, `hz` times a second, all with the time at which they are made.

    The grid of ticks does not drift; what cannot be held is missed, not caught up with.
    """

    def __init__(self, store: LiveStore, symbols: Sequence[str], hz: float) -> None:
        self._store = store
        self._prices = dict.fromkeys(symbols, CLOSE)
        self._step = 1.0 / hz
        self._random = random.Random(1)  # noqa: S311  prices, not secrets
        self._stopping = asyncio.Event()
        self.newest_ns = 0

    async def store_first(self) -> None:
        """Store a first quote of each: what clients get as they subscribe."""
        await self._store.write_quotes({one.symbol: msgspec.json.encode(one) for one in self._move()})

    async def run(self) -> None:
        """Publish until stopped."""
        loop = asyncio.get_running_loop()
        due = beat_at = loop.time()
        while not self._stopping.is_set():
            if loop.time() >= beat_at:
                await self._store.beat()
                beat_at = loop.time() + BEAT_S
            await self._store.publish_quotes(self._move())
            due = max(due + self._step, loop.time())
            await asyncio.sleep(due - loop.time())

    def stop(self) -> None:
        """Publish no more, once what is being published is out."""
        self._stopping.set()

    def _move(self) -> list[StoredQuote]:
        self.newest_ns = time.time_ns()
        for symbol, price in self._prices.items():
            self._prices[symbol] = max(1.0, round(price + self._random.uniform(-0.1, 0.1), 2))
        return [StoredQuote(symbol, price, CLOSE, self.newest_ns, SOURCE) for symbol, price in self._prices.items()]


@asynccontextmanager
async def driving(driver: QuoteDriver) -> AsyncIterator[asyncio.Task[None]]:
    """Have the driver run; on leaving it has stopped."""
    running = asyncio.create_task(driver.run(), name="quotes")
    try:
        yield running
    finally:
        driver.stop()
        await running
