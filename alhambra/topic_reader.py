"""Read a topic as people do: every record as lines of JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from alhambra.errors import CannotStart
from stream.kafka import open_consumer
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    POSITIONS_TOPIC,
    QUOTES_TOPIC,
    TRANSACTIONS_TOPIC,
    QuoteBatch,
    UnreadableMessage,
    decode_booking,
    decode_dead_letter,
    decode_positions,
    decode_quotes,
)

DECODERS = {
    POSITIONS_TOPIC: decode_positions,
    TRANSACTIONS_TOPIC: decode_booking,
    DEAD_LETTERS_TOPIC: decode_dead_letter,
}
POLL_S = 0.2


def readable(topic: str, value: bytes) -> Iterator[dict[str, Any]]:
    """Turn a record into what people read: one mapping, of a quote batch one a quote.

    What cannot be read gives one mapping with `unreadable` and the reason.
    """
    try:
        if topic == QUOTES_TOPIC:
            yield from _quotes(decode_quotes(value))
        elif topic in DECODERS:
            yield _times(msgspec.to_builtins(DECODERS[topic](value), builtin_types=(bytes,)))
        else:
            yield msgspec.json.decode(value, type=dict[str, Any])
    except (UnreadableMessage, msgspec.MsgspecError) as error:
        yield {"unreadable": str(error), "bytes": len(value)}


def _quotes(batch: QuoteBatch) -> Iterator[dict[str, Any]]:
    columns = {name: getattr(batch, name) for name in ("bid", "ask", "last", "volume")}
    for place, instrument in enumerate(batch.instrument.tolist()):
        prices = {name: _number(column[place]) for name, column in columns.items()}
        moments = {"event_ns": int(batch.event_ns[place]), "received_ns": batch.received_ns}
        yield _times({"source": batch.source, "instrument": instrument, **prices, **moments})


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _times(record: dict[str, Any]) -> dict[str, Any]:
    """Write the two clocks so that people can read them."""
    for name in ("event", "received"):
        moment = record.pop(f"{name}_ns", None)
        if moment is not None:
            whole = datetime.fromtimestamp(moment // 10**9, UTC)
            record[name] = f"{whole:%Y-%m-%dT%H:%M:%S}.{moment % 10**9:09d}Z"
    if isinstance(payload := record.get("payload"), bytes):
        record["payload"] = payload.decode(errors="backslashreplace")
    return record


async def print_topic(servers: str, topic: str, from_beginning: bool, limit: int | None) -> None:
    """Print a topic's records to standard output until cancelled, or until `limit` lines."""
    printed = 0
    try:
        async with open_consumer(servers, "alhambra-tail") as consumer:
            async for record in _records(consumer, servers, topic, from_beginning):
                for line in readable(topic, record.value):
                    place = {"partition": record.partition, "offset": record.offset}
                    sys.stdout.write(msgspec.json.encode({**place, **line}).decode() + "\n")
                    printed += 1
                    if printed == limit:
                        return
                sys.stdout.flush()
    except KafkaConnectionError as error:
        raise CannotStart(f"Kafka does not answer at {servers}.") from error


async def _records(
    consumer: AIOKafkaConsumer, servers: str, topic: str, from_beginning: bool
) -> AsyncIterator[ConsumerRecord]:
    partitions = await _partitions(servers, topic)
    consumer.assign(partitions)
    ends = await (consumer.beginning_offsets if from_beginning else consumer.end_offsets)(partitions)
    for partition, offset in ends.items():
        consumer.seek(partition, offset)
    async for record in consumer:
        yield record


async def _partitions(servers: str, topic: str) -> list[TopicPartition]:
    """Return a topic's partitions, waiting until somebody has made it."""
    while True:
        found = await asyncio.to_thread(_numbers, servers, topic)
        if found:
            return [TopicPartition(topic, number) for number in found]
        await asyncio.sleep(POLL_S)


def _numbers(servers: str, topic: str) -> list[int]:
    client = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    try:
        topics = client.list_topics(timeout=5).topics
    except KafkaException as error:
        raise CannotStart(f"Kafka does not answer at {servers}.") from error
    return sorted(topics[topic].partitions) if topic in topics else []
