"""A worker and the epochs that Redis knows: refused, it stops and is counted; PostgreSQL has the last word."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fakes import eventually
from fakes_stream import Stage, open_stage, open_worker

from db.fence import EPOCHS_KEY
from stream.metrics import FENCED_WRITES

pytestmark = pytest.mark.integration
PARTITIONS = range(4)


@pytest.fixture
async def stage(postgres_url: str, redis_url: str, kafka_servers: str) -> AsyncIterator[Stage]:
    async with open_stage(postgres_url, redis_url, kafka_servers) as lent:
        await lent.bank.add_booked("USD", (1, "5000"), (3, "10"))
        yield lent


def refused() -> float:
    return float(FENCED_WRITES.labels("redis")._value.get())


async def test_epochs_that_another_bank_left_in_redis_do_not_keep_a_worker_from_writing(stage: Stage) -> None:
    await stage.redis.hset(EPOCHS_KEY, mapping=dict.fromkeys(PARTITIONS, 99))
    async with open_worker(stage.settings):
        await eventually(stage.all_right, "everything is valued", 30)
    assert await stage.redis.hgetall(EPOCHS_KEY) == {str(one).encode(): b"1" for one in PARTITIONS}


async def test_a_worker_that_redis_refuses_writes_nothing_more_and_is_counted(stage: Stage) -> None:
    async with open_worker(stage.settings):
        await eventually(stage.all_right, "everything is valued", 30)
        before, counted = await stage.redis.mget(*await stage.redis.keys("valuation:*")), refused()
        await stage.redis.hset(EPOCHS_KEY, mapping=dict.fromkeys(PARTITIONS, 99))
        await stage.feed.quote((3, 175.0))
        await eventually(lambda: refused() > counted, "the write is refused")
        assert await stage.redis.mget(*await stage.redis.keys("valuation:*")) == before
