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


@asynccontextmanager
async def open_producer(servers: str, name: str) -> AsyncIterator[AIOKafkaProducer]:
    """Open an idempotent producer that waits for all replicas; flushed and closed on leaving."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        client_id=name,
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_REQUEST_BYTES,
        linger_ms=0,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


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
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Return a topic's partitions, waiting until the broker knows them."""
    while True:
        await consumer.topics()  # refreshes the metadata of a topic the consumer has not met
        found = consumer.partitions_for_topic(topic)
        if found:
            return [TopicPartition(topic, number) for number in sorted(found)]
        await asyncio.sleep(0.1)


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
