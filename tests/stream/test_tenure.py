"""A worker notices that it is no longer wanted: others have its partitions, or it was told to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from db.epochs import PartitionsLost, take_epochs
from db.live import LiveStore, create_redis
from db.postgres import open_pool
from stream.messages import POSITIONS_TOPIC
from stream.tenure import Tenure, wanted


async def test_a_task_that_has_swallowed_its_cancellation_is_not_wanted_any_more() -> None:
    begun = asyncio.Event()

    async def swallows() -> bool:
        with suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()
        return wanted()

    task = asyncio.create_task(swallows())
    await begun.wait()
    task.cancel()
    assert await task is False


@pytest.mark.integration
async def test_a_loop_of_commands_to_redis_ends_whenever_it_is_cancelled(redis_url: str) -> None:
    redis = create_redis(redis_url, "tests")
    store = LiveStore(redis)

    async def beats() -> None:
        while wanted():
            await store.beat()

    for steps in range(60):
        task = asyncio.create_task(beats())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done, f"cancelled after {steps} steps of the loop, it went on"
    await redis.aclose()


@pytest.mark.integration
async def test_partitions_that_another_worker_has_taken_are_lost(postgres_url: str) -> None:
    async with open_pool(postgres_url, "tests") as pool:
        tenure = Tenure(pool, await take_epochs(pool, POSITIONS_TOPIC, [0, 1], "one"))
        await tenure.check()
        await take_epochs(pool, POSITIONS_TOPIC, [2], "another")
        await tenure.check()
        await take_epochs(pool, POSITIONS_TOPIC, [1], "another")
        with pytest.raises(PartitionsLost, match=r"\[1\]"):
            await tenure.check()


@pytest.mark.integration
async def test_without_postgresql_nobody_can_have_taken_them(postgres_url: str) -> None:
    async with open_pool(postgres_url, "tests") as pool:
        tenure = Tenure(pool, await take_epochs(pool, POSITIONS_TOPIC, [0], "one"))
    await tenure.check()
