"""What Kafka refuses is kept: valuations conflated by portfolio, dead letters in order and within their bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from fakes import eventually
from fakes_stream import FakeProducer

from stream import outbox as outbox_module
from stream.messages import DEAD_LETTERS_TOPIC, VALUATIONS_TOPIC, DeadLetter, decode_dead_letter
from stream.outbox import LETTERS, Outbox


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture(autouse=True)
def _quick_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_S", 0.02)


@asynccontextmanager
async def running(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def letter(offset: int) -> DeadLetter:
    return DeadLetter("topic", 0, offset, "unreadable", "", b"", 0)


def offsets(producer: FakeProducer) -> list[int]:
    return [decode_dead_letter(value).offset for topic, _, value in producer.sent if topic == DEAD_LETTERS_TOPIC]


def valuations(producer: FakeProducer) -> list[tuple[bytes | None, bytes]]:
    return [(key, value) for topic, key, value in producer.sent if topic == VALUATIONS_TOPIC]


async def test_of_each_portfolio_the_newest_valuation_is_sent_once_kafka_is_back(producer: FakeProducer) -> None:
    outbox = Outbox(producer)
    producer.refusing = KafkaConnectionError("away")
    outbox.add_valuations({"a": b"1", "b": b"1"})
    async with running(outbox):
        await eventually(lambda: producer.refused >= 4, "it has tried more than once")
        outbox.add_valuations({"a": b"2"})
        producer.refusing = None
        await eventually(lambda: len(producer.sent) == 2, "both have gone out")
    assert sorted(valuations(producer)) == [(b"a", b"2"), (b"b", b"1")]


async def test_letters_are_kept_in_order_until_kafka_takes_them(producer: FakeProducer) -> None:
    outbox = Outbox(producer)
    producer.refusing = KafkaConnectionError("away")
    for offset in range(3):
        outbox.add_letter(letter(offset))
    async with running(outbox):
        await eventually(lambda: producer.refused >= 2, "it has tried more than once")
        producer.refusing = None
        await eventually(lambda: len(producer.sent) == 3, "all have gone out")
    assert offsets(producer) == [0, 1, 2]


async def test_beyond_their_bound_the_oldest_letters_go(producer: FakeProducer) -> None:
    outbox = Outbox(producer)
    for offset in range(LETTERS + 5):
        outbox.add_letter(letter(offset))
    async with running(outbox):
        await eventually(lambda: len(producer.sent) == LETTERS, "all that were kept have gone out")
    assert offsets(producer) == list(range(5, LETTERS + 5))


async def test_a_record_too_large_for_its_topic_does_not_hold_the_others_up(producer: FakeProducer) -> None:
    outbox = Outbox(ChokingProducer(producer))
    outbox.add_letter(DeadLetter("topic", 0, 1, "unreadable", "", b"x" * 1000, 0))
    outbox.add_letter(letter(2))
    outbox.add_valuations({"large": b"x" * 1000, "small": b"1"})
    async with running(outbox):
        await eventually(lambda: len(producer.sent) == 2, "what fits has gone out")
    assert offsets(producer) == [2]
    assert valuations(producer) == [(b"small", b"1")]


class ChokingProducer:
    """A producer that takes no record of 500 bytes or more."""

    def __init__(self, producer: FakeProducer) -> None:
        self._producer = producer

    async def send(self, topic: str, value: bytes, key: bytes | None = None) -> asyncio.Future[None]:
        if len(value) >= 500:
            raise MessageSizeTooLargeError("too large")
        return await self._producer.send(topic, value, key)

    async def send_and_wait(self, topic: str, value: bytes, key: bytes | None = None) -> None:
        await (await self.send(topic, value, key))
