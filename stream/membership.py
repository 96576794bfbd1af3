"""Know which partitions of the positions are ours, and stop before they are somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition

log = structlog.get_logger()

STOP_WITHIN_S = 10.0


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Follow the group's assignment of partitions, and stop what is served when it changes."""

    def __init__(self) -> None:
        self._assigned: tuple[TopicPartition, ...] = ()
        self._settled = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Stop what is being served; the group waits for it."""
        self._settled.clear()
        if self._serving is not None and not self._serving.done():
            log.info("partitions revoked; stopping", partitions=sorted(one.partition for one in revoked))
            self._serving.cancel()
            await asyncio.wait([self._serving], timeout=STOP_WITHIN_S)
            if not self._serving.done():
                log.error("the work did not stop; its epochs will refuse it", task=self._serving.get_name())

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Let the worker begin with what it now has."""
        self._assigned = tuple(sorted(assigned))
        if self._assigned:
            self._settled.set()

    async def assignment(self) -> tuple[TopicPartition, ...]:
        """Return our partitions once the group has settled and given us some."""
        while not self._settled.is_set():  # they may have gone again before we were woken
            await self._settled.wait()
        return self._assigned

    async def serve(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work until it ends or the assignment changes; our own cancellation cancels it too."""
        self._serving = asyncio.create_task(work, name="serve")
        try:
            await asyncio.wait([self._serving])
        except asyncio.CancelledError:
            self._serving.cancel()
            await asyncio.wait([self._serving], timeout=STOP_WITHIN_S)
            raise
        if not self._serving.cancelled():
            self._serving.result()
