"""Publish what the ledger holds and Kafka has not acknowledged, then mark it: the rows are the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from prometheus_client import Counter

from db.ledger import (
    LedgerBooking,
    mark_bookings_published,
    mark_positions_published,
    unpublished_bookings,
    unpublished_positions,
)
from db.postgres import acquire
from ingest.iboss.records import Refused
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    POSITIONS_TOPIC,
    TRANSACTIONS_TOPIC,
    Booking,
    DeadLetter,
    encode_message,
)

ROWS_A_ROUND = 500
KAFKA_TIMEOUT_S = 8.0  # below the statement time-out, since the rows stay locked meanwhile
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PUBLISHED = Counter("iboss_published_total", "Records of IBOSS that Kafka acknowledged.", ["topic"])
REFUSED = Counter("iboss_refused_total", "Parts of IBOSS's answers that became dead letters.", ["reason"])


class Outbox:
    """Publish rows in batches; a crash between Kafka's acknowledgement and the mark publishes them again.

    Readers drop what they have: positions by version, bookings by (source, reference, version). Raises
    `aiokafka.errors.KafkaError` when Kafka does not acknowledge in time; the rows then wait.
    """

    def __init__(self, pool: asyncpg.Pool, producer: AIOKafkaProducer) -> None:
        self._pool = pool
        self._producer = producer

    async def publish(self) -> int:
        """Publish all that waits and return how many records that was."""
        published = 0
        while True:
            sent = await self._publish_positions() + await self._publish_bookings()
            published += sent
            if sent == 0:
                return published

    async def refuse(self, refused: Iterable[Refused], received_ns: int) -> None:
        """Send dead letters and wait until Kafka has them, so that the cursor may pass over them."""
        letters = [_dead_letter(one, received_ns) for one in refused]
        await self._send(DEAD_LETTERS_TOPIC, [(letter.topic.encode(), encode_message(letter)) for letter in letters])
        for letter in letters:
            REFUSED.labels(letter.reason).inc()

    async def _publish_positions(self) -> int:
        async with acquire(self._pool) as connection, connection.transaction():
            rows = await unpublished_positions(connection, ROWS_A_ROUND)
            if rows:
                await self._send(POSITIONS_TOPIC, [(str(row.portfolio_id).encode(), row.record) for row in rows])
                await mark_positions_published(connection, [(row.portfolio_id, row.version) for row in rows])
        return len(rows)

    async def _publish_bookings(self) -> int:
        async with acquire(self._pool) as connection, connection.transaction():
            rows = await unpublished_bookings(connection, ROWS_A_ROUND)
            if rows:
                await self._send(
                    TRANSACTIONS_TOPIC, [(str(row.portfolio_id).encode(), booking_record(row)) for row in rows]
                )
                await mark_bookings_published(connection, [row.id for row in rows if row.id is not None])
        return len(rows)

    async def _send(self, topic: str, records: list[tuple[bytes, bytes]]) -> None:
        try:
            async with asyncio.timeout(KAFKA_TIMEOUT_S):
                sent = [await self._producer.send(topic, value, key=key) for key, value in records]
                await asyncio.gather(*sent)
        except TimeoutError as error:
            raise KafkaTimeoutError(f"Kafka did not acknowledge within {KAFKA_TIMEOUT_S:.0f} s") from error
        PUBLISHED.labels(topic).inc(len(records))


def nanoseconds(moment: datetime) -> int:
    """Return a timezone-aware moment in nanoseconds since the epoch, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def moment_of(elapsed_ns: int) -> datetime:
    """Return nanoseconds since the epoch as a moment in UTC, to the microsecond that PostgreSQL keeps."""
    return EPOCH + timedelta(microseconds=elapsed_ns // 1000)


def booking_record(row: LedgerBooking) -> bytes:
    """Encode a row of the ledger as the record of its topic."""
    return encode_message(
        Booking(
            source=row.source,
            reference=row.reference,
            version=row.version,
            portfolio=str(row.portfolio_id),
            type=row.type,
            amount=row.amount,
            currency=row.currency,
            event_ns=nanoseconds(row.processed_at),
            received_ns=nanoseconds(row.received_at),
            instrument=row.instrument_id,
            quantity=row.quantity,
            price=row.price,
            description=row.description,
            rate_to_base=row.rate_to_base,
        )
    )


def _dead_letter(refused: Refused, received_ns: int) -> DeadLetter:
    """Name the operation as the topic, since the answer's XML never stood in a topic of ours."""
    topic = f"iboss:{refused.operation}"
    return DeadLetter(topic, 0, -1, refused.reason, refused.detail, refused.payload, received_ns)
