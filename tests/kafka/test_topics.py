"""`alhambra topics create` on Apache Kafka."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from fakes import eventually

from stream.messages import POSITIONS_TOPIC, TOPICS

pytestmark = pytest.mark.kafka


async def create(servers: str, partitions: int, replication: int) -> tuple[int, str, str]:
    """Run the command; returns its exit status, what it printed and what it complained of."""
    names = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KAFKA_BOOTSTRAP_SERVERS": servers}
    options = ("--partitions", str(partitions), "--replication", str(replication))
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alhambra.main", "topics", "create", *options, env=names, stdout=PIPE, stderr=PIPE
    )
    printed, complained = await asyncio.wait_for(command.communicate(), 30)
    return command.returncode or 0, printed.decode(), complained.decode()


async def partitions_and_policy(servers: str) -> dict[str, tuple[int, str]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        described = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics(list(TOPICS))}
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, one) for one in TOPICS])
    finally:
        await admin.close()
    policies = {name: dict(entry[:2] for entry in entries) for *_, name, entries in answer.resources}
    return {topic: (described[topic], policies[topic]["cleanup.policy"]) for topic in TOPICS}


async def test_all_topics_are_made_with_the_partitions_asked_and_a_second_time_none(empty_kafka: str) -> None:
    status, printed, complained = await create(empty_kafka, 6, 1)
    assert (status, complained) == (0, "")
    assert all(topic in printed for topic in TOPICS)
    expected = {topic: (6, "compact" if topic == POSITIONS_TOPIC else "delete") for topic in TOPICS}

    async def are_as_asked() -> bool:
        return await partitions_and_policy(empty_kafka) == expected

    await eventually(are_as_asked, "the brokers have heard of all topics")
    assert await create(empty_kafka, 12, 1) == (0, "all topics are there already\n", "")
    assert await partitions_and_policy(empty_kafka) == expected


async def test_more_replicas_than_brokers_is_refused_and_not_called_done(empty_kafka: str) -> None:
    status, printed, complained = await create(empty_kafka, 1, 32)
    assert (status, printed) == (1, "")
    assert "replication" in complained.lower()
