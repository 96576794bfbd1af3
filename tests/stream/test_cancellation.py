"""A worker ends when it is cancelled, also where a library has swallowed the cancellation."""

from __future__ import annotations

import asyncio

import pytest
from books import create_prices
from fakes_stream import FakeProducer, FakeStore

from db.live import Watched
from stream.outbox import Outbox
from stream.processor import Processor
from stream.roll import Days
from stream.worker import Connections, Worker


class SwallowingStore(FakeStore):
    """Redis as redis-py is before Python 3.12: a cancelled command may answer as if nothing had been."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()

    def fenced(self, _epochs: object) -> SwallowingStore:
        return self

    async def _swallow(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def watched(self) -> Watched:
        await self._swallow()
        return Watched()

    async def layout(self, _worker: str) -> None:
        return None

    async def beat(self) -> None:
        return None

    async def write_quotes(self, quotes: object) -> None:
        await self._swallow()


@pytest.mark.parametrize("loop", ["_watch", "_cycle"])
async def test_a_loop_ends_although_its_cancellation_was_swallowed(loop: str) -> None:
    store = SwallowingStore()
    connections = Connections(None, store, None, None, Outbox(FakeProducer()))
    processor = Processor(create_prices())
    worker = Worker("test", connections, processor, {0: 1}, 1, Days(processor))
    task = asyncio.create_task(getattr(worker, loop)())
    await store.entered.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5.0)
    assert task.done()
