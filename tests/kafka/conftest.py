"""Lend Apache Kafka to the tests: the one that is given, else one of our own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from fakes import eventually
from fakes_kafka import PARTITIONS, ApacheKafka, Crew, fetched_kafka
from fakes_stream import open_stage

from stream.kafka import create_topics
from stream.messages import TOPICS


@pytest.fixture(scope="session")
async def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApacheKafka | None]:
    """Run one Apache Kafka for the session, unless one is given."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield None
        return
    kafka = ApacheKafka(tmp_path_factory.mktemp("apache") / "kafka", fetched_kafka())
    try:
        await kafka.start()
        yield kafka
    finally:
        kafka.stop()


@pytest.fixture(scope="session")
async def apache_kafka(own_kafka: ApacheKafka | None) -> str:
    """Lend the bootstrap servers of a cluster that holds none of our topics: tests make and delete them."""
    servers = own_kafka.servers if own_kafka else os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    if found := await topics_of(servers):
        pytest.skip(f"the Kafka given holds {', '.join(sorted(found))}, which tests would delete: give an empty one")
    return servers


@pytest.fixture
async def empty_kafka(apache_kafka: str) -> AsyncIterator[str]:
    """Lend the cluster without any topic of ours, and delete those that one test made."""
    yield apache_kafka
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka)
    await admin.start()
    try:
        await admin.delete_topics(sorted(await topics_of(apache_kafka)))
    finally:
        await admin.close()

    async def are_gone() -> bool:
        return not await topics_of(apache_kafka)

    await eventually(are_gone, "the topics are deleted")


@pytest.fixture
async def kafka_servers(empty_kafka: str) -> str:
    """Lend the cluster with our topics, empty, to one test."""
    await create_topics(empty_kafka, PARTITIONS, 1)
    return empty_kafka


@pytest.fixture
async def crew(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> AsyncIterator[Crew]:
    """Lend a bank of 24 portfolios with a feed, and a group of workers that nobody has joined yet."""
    async with open_stage(postgres_url, redis_url, kafka_servers) as stage:
        stage.settings = stage.settings.model_copy(update={"consumer_group": f"test-{uuid4()}"})
        for number in range(12):
            await stage.bank.add_booked("USD", (1, "5000"), (3, str(10 + number)), (4, "7.5"))
            await stage.bank.add_booked("CHF", (2, "1234.56"), (5, "20000"), (12, str(33 + number)))
        await stage.feed.quote((3, 151.0), (7, 1.12), (9, 0.87), (12, 91.0))
        lent = Crew(stage, tmp_path / "stream.log")
        try:
            yield lent
        finally:
            lent.end()
            if lent.log.exists():
                print(lent.log.read_text())  # shown when the test has failed


async def topics_of(servers: str) -> set[str]:
    """Return those of our topics that the cluster has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        return set(await admin.list_topics()) & set(TOPICS)
    finally:
        await admin.close()
