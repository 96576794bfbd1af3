"""Learn of splits while a worker runs, as soon as they are announced, so that each is known before it takes effect."""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from db.postgres import DATABASE_AWAY, acquire
from stream.consumer import StateLost
from stream.metrics import OUTAGES
from stream.processor import Processor
from stream.restore import load_splits
from stream.tenure import wanted

log = structlog.get_logger()

EVERY_S = 2.0


class SplitWatch:
    """Read the splits that are known and hand them to one worker's processor."""

    def __init__(self, pool: asyncpg.Pool, processor: Processor, every_s: float = EVERY_S) -> None:
        self._pool = pool
        self._processor = processor
        self._every_s = every_s

    async def run(self) -> None:
        """Look for ever; without PostgreSQL those known go on to count."""
        while wanted():
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except DATABASE_AWAY as error:
                OUTAGES.labels("postgres").inc()
                log.warning("PostgreSQL does not say which splits are announced", error=repr(error))

    async def look(self) -> None:
        """Take what is known now; raises `StateLost` where a split was learned of too late to be applied alone."""
        async with acquire(self._pool) as connection:
            splits = await load_splits(connection)
        news = len(splits) - len(self._processor.prices.splits)
        if not self._processor.learn_splits(splits):
            raise StateLost("a split has come, or changed, after it took effect")
        if news:
            log.info("splits are known", splits=len(splits), news=news)
