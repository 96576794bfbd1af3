import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from fakes import eventually
from fakes_market import HeldProducer

from ingest.market.publisher import MAX_DEAD_LETTERS, PublishLimits, QuotePublisher
from stream.kafka import open_consumer, open_producer
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    QUOTES_TOPIC,
    DeadLetter,
    QuoteBatch,
    decode_dead_letter,
    decode_quotes,
)

LETTER = DeadLetter("recorded:x.csv", 0, 3, "crossed", "3 rows", b"[]", 1, 3)


def batch_of(size: int, start: int = 0, instruments: int = 10) -> QuoteBatch:
    number = np.arange(start, start + size)
    price = number + 1.0
    instrument = (number % instruments).astype(np.uint32)
    return QuoteBatch("test", 1, instrument, price, price + 1, price, price, number.astype(np.int64))


@asynccontextmanager
async def delivering(publisher: QuotePublisher, producer: HeldProducer) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(publisher.deliver(producer))  # type: ignore[arg-type]
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def sent(producer: HeldProducer) -> list[QuoteBatch]:
    return [decode_quotes(record) for topic, record, _ in producer.records if topic == QUOTES_TOPIC]


async def test_small_batches_are_gathered_into_one_record_a_partition():
    publisher, producer = QuotePublisher(PublishLimits(linger_s=0.05)), HeldProducer()
    async with delivering(publisher, producer):
        for number in range(20):
            await publisher.publish(batch_of(5, number * 5))
        await eventually(lambda: sum(map(len, sent(producer))) == 100, "all quotes are sent")
    assert [partition for _, _, partition in producer.records] == [0, 1, 2, 3]
    assert all((quotes.instrument % 4 == partition).all() for partition, quotes in enumerate(sent(producer)))


async def test_while_kafka_is_slow_memory_is_bounded_and_the_newest_quotes_arrive():
    limits = PublishLimits(pending_ticks=1_000, in_flight_bytes=10_000, wait_s=0.05)
    publisher, producer = QuotePublisher(limits), HeldProducer()
    producer.held = True
    async with delivering(publisher, producer):
        for number in range(500):
            await publisher.publish(batch_of(100, number * 100))
            assert publisher.pending_ticks < 1_000
        assert publisher.conflating
        assert publisher.in_flight_bytes < 10_000 + 100_000
        producer.held = False
        producer.release()
        await asyncio.wait_for(publisher.flush(), 5)
    newest = {
        int(i): float(p) for quotes in sent(producer) for i, p in zip(quotes.instrument, quotes.last, strict=True)
    }
    assert newest == {number % 10: number + 1.0 for number in range(49_990, 50_000)}
    assert not publisher.conflating


async def test_a_short_pause_of_kafka_costs_no_quote():
    limits = PublishLimits(pending_ticks=1_000, in_flight_bytes=1, wait_s=30.0)
    publisher, producer = QuotePublisher(limits), HeldProducer()
    producer.held = True
    async with delivering(publisher, producer):
        publishing = asyncio.create_task(publish_all(publisher))
        await eventually(lambda: publisher.pending_ticks >= 1_000, "the source waits")
        producer.held = False
        producer.release()
        await asyncio.wait_for(publishing, 5)
        await asyncio.wait_for(publisher.flush(), 5)
    assert sum(map(len, sent(producer))) == 5_000


async def publish_all(publisher: QuotePublisher) -> None:
    for number in range(50):
        await publisher.publish(batch_of(100, number * 100))


async def test_a_lost_record_ends_the_delivery_and_the_next_one_goes_on():
    publisher, first, second = QuotePublisher(), HeldProducer(), HeldProducer()
    first.held = True
    async with delivering(publisher, first) as task:
        await publisher.publish(batch_of(10))
        await eventually(lambda: first.waiting, "quotes are in flight")
        first.release(KafkaTimeoutError())
        with pytest.raises(KafkaTimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 5)
    await publisher.publish(batch_of(10, 100))
    async with delivering(publisher, second):
        await asyncio.wait_for(publisher.flush(), 5)
    assert sum(map(len, sent(second))) == 10


async def test_dead_letters_are_sent_without_any_quote_and_never_pile_up():
    publisher, producer = QuotePublisher(), HeldProducer()
    for _ in range(2 * MAX_DEAD_LETTERS):
        await publisher.refuse(LETTER)
    async with delivering(publisher, producer):
        await asyncio.wait_for(publisher.flush(), 5)
    assert [topic for topic, _, _ in producer.records] == [DEAD_LETTERS_TOPIC] * MAX_DEAD_LETTERS


async def test_through_a_broker_every_quote_arrives_in_its_instruments_order(kafka_servers: str):
    publisher = QuotePublisher()
    async with open_producer(kafka_servers, "test") as producer, delivering(publisher, producer):  # type: ignore[arg-type]
        for number in range(100):
            await publisher.publish(batch_of(100, number * 100))
        await publisher.refuse(LETTER)
        await asyncio.wait_for(publisher.flush(), 10)
    quotes = [decode_quotes(value) for value in await read_topic(kafka_servers, QUOTES_TOPIC)]
    assert sum(map(len, quotes)) == 10_000
    for instrument in range(10):
        events = np.concatenate([batch.event_ns[batch.instrument == instrument] for batch in quotes])
        assert (np.diff(events) > 0).all()
    assert [decode_dead_letter(value) for value in await read_topic(kafka_servers, DEAD_LETTERS_TOPIC)] == [LETTER]


async def read_topic(servers: str, topic: str) -> list[bytes]:
    async with open_consumer(servers, "test") as consumer:
        partitions = [TopicPartition(topic, number) for number in range(4)]  # as the embedded broker makes them
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            batches = await consumer.getmany(timeout_ms=500)
            found += [record.value for records in batches.values() for record in records]
        return found
