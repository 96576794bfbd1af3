"""The clients on Apache Kafka: what they do when the cluster is not yet as they need it."""

from __future__ import annotations

import asyncio

import pytest
from fakes_kafka import PARTITIONS

from stream.kafka import assign_all, count_partitions, create_topics, open_consumer
from stream.membership import Membership
from stream.messages import POSITIONS_TOPIC, QUOTES_TOPIC

pytestmark = pytest.mark.kafka
NOTICED_WITHIN_S = 20


async def test_a_member_that_comes_before_the_topics_gets_its_partitions_when_they_are_made(empty_kafka: str) -> None:
    async with open_consumer(empty_kafka, "early", "early") as consumer:
        membership = Membership()
        consumer.subscribe([POSITIONS_TOPIC], listener=membership)
        waiting = asyncio.create_task(membership.assignment())
        await asyncio.wait([waiting], timeout=2)  # it joins, and is given nothing
        await create_topics(empty_kafka, PARTITIONS, 1)
        assert len(await asyncio.wait_for(waiting, NOTICED_WITHIN_S)) == PARTITIONS
        assert await count_partitions(consumer, POSITIONS_TOPIC) == PARTITIONS


async def test_a_reader_that_comes_before_the_topics_reads_all_partitions_when_they_are_made(empty_kafka: str) -> None:
    async with open_consumer(empty_kafka, "early") as consumer:
        waiting = asyncio.create_task(assign_all(consumer, QUOTES_TOPIC))
        await asyncio.wait([waiting], timeout=2)
        await create_topics(empty_kafka, PARTITIONS, 1)
        assert len(await asyncio.wait_for(waiting, NOTICED_WITHIN_S)) == PARTITIONS
