"""Know which splits are announced, for feeds that make their prices themselves: real markets know without us."""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from analytics.splits import NO_SPLITS, create_splits
from db.corporate_actions import splits
from db.postgres import DATABASE_AWAY, acquire

EVERY_S = 2.0

log = structlog.get_logger()


class KnownSplits:
    """Hold the splits that are known; `newest` is replaced as they are announced."""

    def __init__(self) -> None:
        self.newest = NO_SPLITS

    async def look(self, pool: asyncpg.Pool) -> None:
        """Read what is known now; raises what `db.postgres.acquire` raises."""
        async with acquire(pool) as connection:
            self.newest = create_splits(await splits(connection))

    async def follow(self, pool: asyncpg.Pool) -> None:
        """Look for ever; without PostgreSQL what is known goes on to count."""
        while True:
            try:
                await self.look(pool)
            except DATABASE_AWAY as error:
                log.warning("PostgreSQL does not say which splits are announced", error=repr(error))
            await asyncio.sleep(EVERY_S)
