"""Make the Kafka clients, each with the settings that lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from stream.messages import POSITIONS_TOPIC, TOPICS

FETCH_WAIT_MS = 10  # an empty fetch is answered only after the whole wait: this bounds the latency of a tick
MAX_REQUEST_BYTES = 8 << 20
STOP_TIMEOUT_S = 3.0
METADATA_POLL_S = 0.05


@asynccontextmanager
async def open_producer(servers: str, name: str) -> AsyncIterator[AIOKafkaProducer]:
    """Open an idempotent producer that waits for all replicas; flushed and closed on leaving, within three seconds."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        client_id=name,
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_REQUEST_BYTES,
        linger_ms=0,
    )
    try:
        await producer.start()
        yield producer
    finally:
        await _stop_producer(producer)


async def _stop_producer(producer: AIOKafkaProducer) -> None:
    """Flush and close; an idempotent producer never gives a batch up, so without a broker it must be made to."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
    except TimeoutError:
        await producer._sender.close()
        await producer.client.close()


@asynccontextmanager
async def open_consumer(servers: str, name: str, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer that commits nothing by itself and never skips ahead on its own.

    Without a group the caller assigns partitions; with one, it subscribes.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        client_id=name,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=MAX_REQUEST_BYTES,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def assign_all(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Give a consumer without a group every partition of a topic, waiting until the broker knows them."""
    consumer.subscribe([topic])
    while not consumer.assignment():  # noqa: ASYNC110  # aiokafka has no event for it
        await asyncio.sleep(METADATA_POLL_S)
    return sorted(consumer.assignment())


async def count_partitions(consumer: AIOKafkaConsumer, topic: str) -> int:
    """Return how many partitions a topic has that the consumer is subscribed to."""
    while not (found := consumer.partitions_for_topic(topic)):  # noqa: ASYNC110  # aiokafka has no event for it
        await asyncio.sleep(METADATA_POLL_S)
    return len(found)


async def create_topics(servers: str, partitions: int, replication: int) -> list[str]:
    """Create the topics that are missing and return their names: a step of the deployment, before the workers.

    The embedded broker has no such request; it makes a topic on first use.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, client_id="create-topics")
    await admin.start()
    created = []
    try:
        for topic in TOPICS:
            policy = {"cleanup.policy": "compact"} if topic == POSITIONS_TOPIC else {}
            wanted = NewTopic(topic, num_partitions=partitions, replication_factor=replication, topic_configs=policy)
            with contextlib.suppress(TopicAlreadyExistsError):
                await admin.create_topics([wanted])
                created.append(topic)
    finally:
        await admin.close()
    return created
