"""A worker so slow that Kafka has dropped what it was to read next: it goes on by itself, and is right again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from fakes import eventually
from fakes_kafka import PARTITIONS, ApacheKafka, Crew
from fakes_load import Load, under_load

from stream.messages import POSITIONS_TOPIC, QUOTES_TOPIC

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
WORKER = "stream-1"
RIGHT_WITHIN_S = 30.0


@contextmanager
def asleep(crew: Crew) -> Iterator[None]:
    """Hold the worker, for less than its session: nobody else takes its partitions."""
    crew.signal(WORKER, signal.SIGSTOP)
    try:
        yield
    finally:
        crew.signal(WORKER, signal.SIGCONT)


async def forget_quickly(servers: str, topic: str) -> None:
    """Have the cluster keep half a second of a topic, and nothing for its key."""
    brief = {"cleanup.policy": "delete", "retention.ms": "500", "segment.ms": "500"}
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=brief)])
    finally:
        await admin.close()


async def miss(crew: Crew, topic: str) -> None:
    """Let the worker sleep until the cluster has dropped records that it was to read next."""
    consumer = AIOKafkaConsumer(bootstrap_servers=crew.stage.servers)
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    try:
        with asleep(crew):
            read = await consumer.end_offsets(partitions)
            await forget_quickly(crew.stage.servers, topic)

            async def are_gone() -> bool:
                beginnings = await consumer.beginning_offsets(partitions)
                return any(beginnings[one] > read[one] > 0 for one in partitions)

            await eventually(are_gone, "retention has passed the worker", 6.0)
    finally:
        await consumer.stop()


async def right_again(crew: Crew, load: Load) -> None:
    begun = time.monotonic()
    async with load.paused():
        await eventually(crew.all_right, "live equals batch", RIGHT_WITHIN_S)
    assert time.monotonic() - begun < RIGHT_WITHIN_S


@pytest.fixture
def quick_to_forget(own_kafka: ApacheKafka | None) -> None:
    if own_kafka is None:
        pytest.skip("the Kafka that is given may look at its retention once in five minutes")


@pytest.mark.usefixtures("quick_to_forget")
async def test_quotes_that_retention_took_are_made_up_for_by_newer_ones(crew: Crew) -> None:
    await crew.gather(WORKER)
    before = await crew.epochs()
    async with under_load(crew.stage) as load:
        await miss(crew, QUOTES_TOPIC)
        await right_again(crew, load)
    assert await crew.counted(WORKER, "alhambra_stream_out_of_range_total") > 0
    assert await crew.epochs() == before  # it lost nothing that PostgreSQL alone holds


@pytest.mark.usefixtures("quick_to_forget")
async def test_positions_that_retention_took_are_restored_from_postgresql(crew: Crew) -> None:
    await crew.gather(WORKER)
    before = await crew.epochs()
    async with under_load(crew.stage) as load:
        await miss(crew, POSITIONS_TOPIC)
        await eventually(lambda: crew.all_taken_since(before), "it has begun anew from PostgreSQL", RIGHT_WITHIN_S)
        await right_again(crew, load)
    assert await crew.counted(WORKER, "alhambra_stream_out_of_range_total") > 0
