"""Know whether a worker may go on: its partitions are still its own, and nobody has asked it to stop.

A worker that slept, or that Kafka alone does not reach, hears late that others have its partitions. Whoever takes
them over says so in PostgreSQL first, by a new epoch; so that is where to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg
import structlog

from db.epochs import PartitionsLost, lost_partitions
from db.postgres import DATABASE_AWAY, acquire
from stream.messages import POSITIONS_TOPIC
from stream.metrics import OUTAGES

log = structlog.get_logger()

ANSWER_WITHIN_S = 3.0


class Tenure:
    """Hold the epochs (partition → epoch) under which a worker writes."""

    def __init__(self, pool: asyncpg.Pool, epochs: Mapping[int, int]) -> None:
        self._pool = pool
        self._epochs = epochs
        self.is_heard = True  # whether PostgreSQL answered the last time

    async def check(self) -> None:
        """Raise `PartitionsLost` when an epoch is over; without PostgreSQL there is none that could have begun.

        Takes some seconds at most: a server that is frozen must not hold up the cycle that asks.
        """
        try:
            async with acquire(self._pool, ANSWER_WITHIN_S) as connection:
                lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
        except DATABASE_AWAY as error:
            OUTAGES.labels("postgres").inc()
            if self.is_heard:  # once an outage: it is asked each second
                log.warning("PostgreSQL does not say whether the partitions are still ours", error=repr(error))
            self.is_heard = False
            return
        self.is_heard = True
        if lost:
            raise PartitionsLost(f"another worker has taken partitions {sorted(lost)}")


def wanted() -> bool:
    """Say whether the task that asks is to go on; a loop asks, since not every library passes a cancellation through.

    redis-py sends under `asyncio.wait_for`, which on Python 3.11 forgets a cancellation that comes as the sending
    ends; and a failure that meets a cancellation takes its place. A loop that goes on then holds up its group.
    """
    task = asyncio.current_task()
    return task is None or not task.cancelling()
