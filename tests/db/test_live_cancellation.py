"""A cancelled command never hands its reply to the next caller: that would show one client another's portfolio."""

import asyncio
import random

import pytest
from fakes import eventually

from db.live import LiveStore, create_redis, valuation_key


@pytest.mark.integration
async def test_a_cancelled_read_leaves_no_reply_for_the_next(redis_url: str) -> None:
    redis = create_redis(redis_url, "test")
    try:
        for number in range(50):
            await redis.set(valuation_key(str(number)), str(number) * 2000)
        store, chance = LiveStore(redis), random.Random(7)

        async def read(number: int) -> None:
            assert await store.valuation(str(number)) == (str(number) * 2000).encode()

        for _ in range(40):
            reading = [asyncio.create_task(read(chance.randrange(50))) for _ in range(10)]
            await asyncio.sleep(chance.random() / 1000)
            for task in chance.sample(reading, 5):
                task.cancel()
            for ended in await asyncio.gather(*reading, return_exceptions=True):
                assert ended is None or isinstance(ended, asyncio.CancelledError)
    finally:
        await redis.aclose()


@pytest.mark.integration
async def test_a_loop_over_redis_ends_when_it_is_cancelled(redis_url: str) -> None:
    """Whenever the cancellation comes, also as a command is being sent."""
    redis = create_redis(redis_url, "test")

    async def loop() -> None:
        while True:
            await redis.publish("channel", "beat")

    try:
        for step in range(200):
            task = asyncio.create_task(loop())
            await asyncio.sleep(step / 100_000)
            task.cancel()

            async def is_done(task: asyncio.Task[None] = task) -> bool:
                return task.done()

            await eventually(is_done, "the loop has ended", 2)
    finally:
        await redis.aclose()
