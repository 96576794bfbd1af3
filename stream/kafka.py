"""Make the Kafka clients, each with the settings that lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from stream.messages import POSITIONS_TOPIC, TOPICS

FETCH_WAIT_MS = 10  # an empty fetch is answered only after the whole wait: this bounds the latency of a tick
GROUP_FETCH_WAIT_MS = 200  # positions come seldom and need not hurry: fewer empty fetches
MAX_REQUEST_BYTES = 8 << 20
STOP_TIMEOUT_S = 3.0
METADATA_POLL_S = 0.05
# Of a member of a group. One that dies is missed after a session, the others hear of it with a heartbeat and then
# wait for each other at most a rebalance: a takeover takes some 15 s. A worker stops within 10 s (see `Membership`).
SESSION_MS = 10_000
HEARTBEAT_MS = 2_000
REBALANCE_MS = 15_000
# A worker may wait for PostgreSQL longer than any time-out and must not be thrown out for it: it would not come back,
# since aiokafka joins again only while somebody polls. That it lives, its heartbeat says.
MAX_POLL_MS = 7 * 24 * 3_600_000
METADATA_AGE_MS = 5_000  # so soon is a topic noticed that is made, or widened, after the worker has begun


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
        fetch_max_wait_ms=FETCH_WAIT_MS if group is None else GROUP_FETCH_WAIT_MS,
        max_partition_fetch_bytes=MAX_REQUEST_BYTES,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_MS,
        max_poll_interval_ms=MAX_POLL_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
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

    The embedded broker has no such request; it makes a topic on first use. Raises `aiokafka.errors.KafkaError`
    when the cluster refuses, such as more replicas than it has brokers.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, client_id="create-topics")
    try:
        await admin.start()
        return [topic for topic in TOPICS if await _create_topic(admin, topic, partitions, replication)]
    finally:
        await admin.close()


async def _create_topic(admin: AIOKafkaAdminClient, topic: str, partitions: int, replication: int) -> bool:
    """Create one topic; say whether it was missing."""
    policy = {"cleanup.policy": "compact"} if topic == POSITIONS_TOPIC else {}
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=replication, topic_configs=policy)
    answer = await admin.create_topics([wanted])  # which raises nothing of its own
    code, *detail = answer.topic_errors[0][1:]
    if code not in (NoError.errno, TopicAlreadyExistsError.errno):
        raise for_code(code)(f"{topic}: {' '.join(filter(None, detail))}")
    return bool(code == NoError.errno)
