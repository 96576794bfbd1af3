"""Read quotes and positions from Kafka into the processor. A bad record is set aside and stops nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from stream.book import PositionsRefused
from stream.kafka import assign_all
from stream.lag import Reading
from stream.messages import (
    POSITIONS_TOPIC,
    QUOTES_TOPIC,
    DeadLetter,
    PortfolioPositions,
    UnreadableMessage,
    decode_positions,
    decode_quotes,
    encode_quotes,
    select_quotes,
)
from stream.metrics import FENCED_QUOTES, OUT_OF_RANGE, REFUSED, TICKS
from stream.outbox import Outbox
from stream.processor import Processor
from stream.quote_epochs import QuoteEpochs
from stream.stages import Stage

log = structlog.get_logger()

POLL_MS = 200
RETRY_S = 0.5
# Records of each partition read again at start, for what trades seldom; the embedded broker gives 50 to 250 a second
LOOKBACK = 250
COMMIT_EVERY_S = 5.0
NEAR = 4  # records of a partition: less than a tenth of a second of a busy feed


class StateLost(RuntimeError):
    """Say that a worker lacks what only PostgreSQL holds: it restores from there and starts anew."""


class QuoteReader:
    """Follow every partition of the quotes: each worker keeps all prices (a global table)."""

    def __init__(
        self, consumer: AIOKafkaConsumer, processor: Processor, outbox: Outbox, arrived: asyncio.Event
    ) -> None:
        self._consumer = consumer
        self._processor = processor
        self._outbox = outbox
        self._arrived = arrived
        self.partitions: list[TopicPartition] = []
        self.reading = Reading()
        self.ticks = 0
        self._read = Stage("read")
        self._epochs = QuoteEpochs()
        self._near = asyncio.Event()

    async def near_end(self, seconds: float) -> None:
        """Wait until little is left to read, at most so long: for who works on the same loop, and might outrun us."""
        if not self._near.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._near.wait()

    async def catch_up(self) -> None:
        """Read from a little before the end up to where the end is now."""
        self.partitions = await assign_all(self._consumer, QUOTES_TOPIC)
        ends = await self._near_end(self.partitions)
        while self.reading.behind(ends):
            await self._poll()

    async def run(self) -> None:
        """Follow for ever; where the broker has dropped what was next, go on a little before the end."""
        while True:
            try:
                await self._poll()
            except OffsetOutOfRangeError as error:
                await self._near_end(list(error.args[0]))
                OUT_OF_RANGE.labels(QUOTES_TOPIC).inc()
                log.warning("quotes were dropped before they were read; newer ones take their place", error=repr(error))
            except KafkaError as error:
                log.warning("quotes cannot be read; trying again", error=repr(error))
                await asyncio.sleep(RETRY_S)

    async def _near_end(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Go to a little before the ends of these partitions, and return the ends."""
        beginnings = await self._consumer.beginning_offsets(partitions)
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        for partition in partitions:
            first = max(beginnings[partition], ends[partition] - LOOKBACK)
            self._consumer.seek(partition, first)
            self.reading.begin(partition.partition, first)
        return ends

    async def _poll(self) -> None:
        found: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=POLL_MS)
        now_ns = time.time_ns()
        for records in found.values():
            for record in records:
                self._take(record, now_ns)
            self.reading.take(records[-1])
        self._note_distance(found)
        if found:
            self._arrived.set()
            self._read.passed(self._processor.prices.newest_ns)

    def _note_distance(self, found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Note whether we are near the end of what was read last, as the broker said with it."""
        ends = {partition: self._consumer.highwater(partition) or 0 for partition in found}
        if any(ends[partition] - records[-1].offset > NEAR for partition, records in found.items()):
            self._near.clear()
        else:
            self._near.set()

    def _take(self, record: ConsumerRecord, now_ns: int) -> None:
        try:
            batch = decode_quotes(record.value or b"")
        except UnreadableMessage as error:
            self._outbox.add_letter(dead_letter(record, "unreadable", str(error)))
            return
        if not self._epochs.admits(record.partition, batch.epoch):
            FENCED_QUOTES.inc(len(batch))
            return
        TICKS.inc(len(batch))
        self.ticks += len(batch)
        for refusal in self._processor.apply_quotes(batch, now_ns):
            refused = select_quotes(batch, refusal.index)
            REFUSED.labels(refusal.reason).inc(len(refused))
            detail = f"{len(refused)} of {len(batch)} quotes from {batch.source}"
            self._outbox.add_letter(dead_letter(record, refusal.reason, detail, encode_quotes(refused), len(refused)))


class PositionReader:
    """Follow the positions of the partitions that this worker was assigned."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        processor: Processor,
        outbox: Outbox,
        arrived: asyncio.Event,
        learn: Callable[[], Awaitable[None]],
        exists: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._consumer = consumer
        self._processor = processor
        self._outbox = outbox
        self._arrived = arrived
        self._learn = learn
        self._exists = exists
        self.partitions: list[TopicPartition] = []
        self.reading = Reading()

    async def start(self, partitions: Sequence[TopicPartition]) -> None:
        """Begin where the group left off, else at the beginning: versions make reading twice harmless."""
        self.partitions = list(partitions)
        beginnings = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        for partition in partitions:
            first = await self._consumer.committed(partition)
            if first is None or not beginnings[partition] <= first <= ends[partition]:  # the topic may be another one
                first = beginnings[partition]
            self._consumer.seek(partition, first)
            self.reading.begin(partition.partition, first)

    async def run(self, epochs: Mapping[int, int]) -> None:
        """Follow for ever, committing what is applied; raises `StateLost` when what is next is gone from the topic."""
        next_commit = time.monotonic() + COMMIT_EVERY_S
        while True:
            try:
                await self._poll(epochs)
                if time.monotonic() > next_commit:
                    next_commit = time.monotonic() + COMMIT_EVERY_S
                    await self._consumer.commit()
            except OffsetOutOfRangeError as error:
                OUT_OF_RANGE.labels(POSITIONS_TOPIC).inc()
                raise StateLost("positions were dropped by the broker before they were read") from error
            except KafkaError as error:
                log.warning("positions cannot be read; trying again", error=repr(error))
                await asyncio.sleep(RETRY_S)

    async def _poll(self, epochs: Mapping[int, int]) -> None:
        found: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=POLL_MS)
        for partition, records in found.items():
            for record in records:
                await self._take(record, epochs[partition.partition])
            self.reading.take(records[-1])
        if found:
            self._arrived.set()

    async def _take(self, record: ConsumerRecord, epoch: int) -> None:
        try:
            positions = decode_positions(record.value or b"")  # a compacted topic may hold deletions: none are ours
            await self._apply(positions, record.partition, epoch)
        except UnreadableMessage as error:
            self._outbox.add_letter(dead_letter(record, "unreadable", str(error)))
        except PositionsRefused as error:
            self._outbox.add_letter(dead_letter(record, error.reason, str(error)))

    async def _apply(self, positions: PortfolioPositions, partition: int, epoch: int) -> None:
        """Apply; where an instrument is new to this worker, learn of it first and try once more."""
        if self._processor.portfolio(positions.portfolio) is None and not await self._exists(positions.portfolio):
            raise PositionsRefused("unknown_portfolio", f"no portfolio {positions.portfolio!r}")
        try:
            self._processor.apply_positions(positions, partition, epoch)
        except PositionsRefused:
            await self._learn()
            self._processor.apply_positions(positions, partition, epoch)


def dead_letter(
    record: ConsumerRecord, reason: str, detail: str, payload: bytes | None = None, count: int = 1
) -> DeadLetter:
    """Return the letter for a record that could not be used; `payload` where only a part of it is at fault."""
    return DeadLetter(
        record.topic,
        record.partition,
        record.offset,
        reason,
        detail,
        (record.value or b"") if payload is None else payload,
        time.time_ns(),
        count,
    )
