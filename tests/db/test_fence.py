"""What a worker writes to Redis after another has taken its partitions over is refused, whole and whenever it comes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakes import eventually
from redis import ConnectionError as RedisUnreachable
from redis import ResponseError

from db.epochs import PartitionsLost
from db.fence import EPOCHS_KEY, FencedWriter
from db.live import LiveStore, create_redis

pytestmark = pytest.mark.integration


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client = create_redis(redis_url, "tests")
    yield client
    await client.aclose()


@pytest.fixture
async def older(redis: Any) -> AsyncIterator[FencedWriter]:
    """Lend the writer of a worker that took partitions 0 and 1 first, and has written."""
    writer = FencedWriter(redis, {0: 7, 1: 7})
    await writer.write(("SET", "value", "first"))
    yield writer
    await writer.aclose()


@pytest.fixture
async def newer(redis: Any) -> AsyncIterator[FencedWriter]:
    """Lend the writer of a worker that takes partition 1 over."""
    writer = FencedWriter(redis, {1: 8})
    yield writer
    await writer.aclose()


async def test_once_a_partition_is_taken_over_nothing_of_a_batch_is_written(
    redis: Any, older: FencedWriter, newer: FencedWriter
) -> None:
    await newer.write()
    with pytest.raises(PartitionsLost, match=r"\[1\]"):
        await older.write(("SET", "value", "late"), ("SET", "another", "late"))
    assert await redis.mget("value", "another") == [b"first", None]
    with pytest.raises(PartitionsLost):  # nor the second time
        await older.write(("SET", "value", "late"))
    await newer.write(("SET", "value", "second"))
    assert await redis.get("value") == b"second"


async def test_a_batch_that_was_under_way_during_the_takeover_is_refused(
    redis: Any, older: FencedWriter, newer: FencedWriter
) -> None:
    """The bytes left before the takeover and arrive after it: the check is Redis' own, at the moment of writing."""
    connection = older._connection
    send, held = connection.send_packed_command, asyncio.Event()

    async def send_late(*arguments: Any, **options: Any) -> None:
        await held.wait()
        await send(*arguments, **options)

    connection.send_packed_command = send_late
    writing = asyncio.create_task(older.write(("SET", "value", "late")))
    await newer.write(("SET", "value", "second"))
    held.set()
    with pytest.raises(PartitionsLost):
        await writing
    assert await redis.get("value") == b"second"


async def test_a_takeover_of_other_partitions_refuses_nothing(redis: Any, older: FencedWriter) -> None:
    other = FencedWriter(redis, {2: 9})
    await other.write(("SET", "value", "of others"))
    await older.write(("SET", "value", "second"))
    await other.aclose()
    assert await redis.get("value") == b"second"
    assert await redis.hgetall(EPOCHS_KEY) == {b"0": b"7", b"1": b"7", b"2": b"9"}


async def test_after_a_flush_the_owner_makes_its_epochs_known_again(
    redis: Any, older: FencedWriter, newer: FencedWriter
) -> None:
    await newer.write()
    await redis.flushall()
    await newer.write(("SET", "value", "second"))
    with pytest.raises(PartitionsLost):
        await older.write(("SET", "value", "late"))
    assert (await redis.get("value"), await redis.hgetall(EPOCHS_KEY)) == (b"second", {b"1": b"8"})


async def test_a_connection_that_was_closed_takes_its_guard_along_and_the_next_one_has_its_own(
    redis: Any, older: FencedWriter, newer: FencedWriter
) -> None:
    await redis.client_kill_filter(_type="normal", skipme=True)
    await newer.write(("SET", "value", "second"))
    with pytest.raises((PartitionsLost, RedisUnreachable)):
        await older.write(("SET", "value", "late"))
    with pytest.raises(PartitionsLost):
        await older.write(("SET", "value", "late"))
    assert await redis.get("value") == b"second"


async def test_a_batch_that_redis_cannot_read_is_written_not_even_in_part(redis: Any, older: FencedWriter) -> None:
    with pytest.raises(ResponseError):
        await older.write(("SET", "value", "half"), ("MSET", "odd"))
    assert await redis.get("value") == b"first"
    await older.write(("SET", "value", "second"))
    assert await redis.get("value") == b"second"


async def test_a_batch_that_is_cancelled_leaves_no_answer_to_the_next_one(redis: Any, older: FencedWriter) -> None:
    for steps in range(12):
        task = asyncio.create_task(older.write(("SET", "value", "cancelled")))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await older.write(("SET", "value", str(steps)))
        assert await redis.get("value") == str(steps).encode()


async def test_takeovers_without_pause_do_not_keep_a_writer_from_writing(redis: Any, older: FencedWriter) -> None:
    """Forty workers come and go; each takeover of theirs disturbs at most the one exchange that it meets."""
    done = asyncio.Event()

    async def take_over() -> None:
        for epoch in itertools.count(1):
            await redis.hset(EPOCHS_KEY, "2", epoch)
            if done.is_set():
                return
            await asyncio.sleep(0.005)

    task = asyncio.create_task(take_over())
    for number in range(100):
        await older.write(("SET", "value", number))
    done.set()
    await task
    assert await redis.get("value") == b"99"


async def test_what_is_written_under_epochs_reads_as_what_is_written_without(redis: Any) -> None:
    plain = LiveStore(redis)
    fenced = plain.fenced({0: 1})
    async with plain.open_subscription() as channel:
        await channel.subscribe("valuation:one")
        await fenced.write_valuations({"one": b"1", "two": b"2"}, ["one"])
        await fenced.write_quotes({"AAPL": b"{}"})
        heard = await eventually(lambda: channel.get_message(timeout=1), "it is published")
    await fenced.aclose()
    assert heard["data"] == b"1"
    assert await plain.valuations(["one", "two"]) == [b"1", b"2"]
    assert await plain.quotes() == {"AAPL": b"{}"}
