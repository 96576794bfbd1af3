"""Put dead letters back on the topics they came from, each once, when what was wrong has been mended.

A group of its own remembers what was put back: in each partition of the letters everything before its committed
offset and, in the metadata of that offset, which of the later ones. So a letter that is left, because it has
another reason or cannot be put back, holds up none behind it and is found again the next time.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from rich.console import Console
from rich.table import Table

from alhambra.errors import CannotStart
from stream.kafka import open_consumer, open_producer
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    POSITIONS_TOPIC,
    QUOTES_TOPIC,
    TRANSACTIONS_TOPIC,
    DeadLetter,
    UnreadableMessage,
    decode_booking,
    decode_dead_letter,
    decode_positions,
    decode_quotes,
    encode_quotes,
    partition_quotes,
)

GROUP = "alhambra-dead-letters"
PUT_BACK, WOULD_PUT_BACK = "put back", "would be put back"
AT_ONCE = 200  # put back, then committed: so many come twice when we end in between, and readers drop those
POLL_MS = 200
METADATA_LIMIT = 4096  # a broker's default for what may stand beside an offset
PORTFOLIO_OF = {
    POSITIONS_TOPIC: lambda payload: decode_positions(payload).portfolio,
    TRANSACTIONS_TOPIC: lambda payload: decode_booking(payload).portfolio,
}


class CannotPutBack(ValueError):
    """Say why a letter is left where it is; the message is what the table shows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say which letters are to be put back: those with `reason` (None: all), at most `limit` of them."""

    reason: str | None = None
    limit: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """Hold what is sent to put a letter back: under a key, or to a partition."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """Name the letters that the table counts together."""

    topic: str
    reason: str
    outcome: str


def address(letter: DeadLetter, partitions: Mapping[str, int]) -> list[Record]:
    """Return the records that put a letter back, given how many partitions each topic has.

    Quotes go to the partitions of their instruments, positions and bookings under their portfolio. Raises
    `CannotPutBack` where the topic is none of ours or the payload is not a record of it.
    """
    if letter.topic not in (QUOTES_TOPIC, *PORTFOLIO_OF):
        raise CannotPutBack("left: not our topic")
    if letter.topic not in partitions:
        raise CannotPutBack("left: no such topic")
    try:
        if letter.topic == QUOTES_TOPIC:
            quotes = replace(decode_quotes(letter.payload), epoch=0)  # whoever leads now, these are wanted
            parts = partition_quotes(quotes, partitions[QUOTES_TOPIC])
            return [Record(QUOTES_TOPIC, encode_quotes(part), partition=number) for number, part in parts]
        key = PORTFOLIO_OF[letter.topic](letter.payload).encode()
    except UnreadableMessage as error:
        raise CannotPutBack("left: unreadable") from error
    return [Record(letter.topic, letter.payload, key=key)]


@dataclass(slots=True)
class Progress:
    """Know of one partition which letters were put back, which was left first, and which comes next."""

    next: int
    put_back: set[int] = field(default_factory=set)
    first_left: int | None = None

    def leave(self, offset: int) -> None:
        """Note a letter that stays; the committed offset must not pass it."""
        if self.first_left is None:
            self.first_left = offset

    def committed(self) -> OffsetAndMetadata:
        """Return what is to be committed; raises `CannotStart` when it is more than a broker keeps."""
        first = self.next if self.first_left is None else self.first_left
        metadata = encode_offsets({offset - first for offset in self.put_back if offset > first})
        if len(metadata) > METADATA_LIMIT:
            raise CannotStart(
                "Too many dead letters were put back out of order to remember each: begin with the oldest reason."
            )
        return OffsetAndMetadata(first, metadata)


def restore_progress(committed: OffsetAndMetadata | None, beginning: int) -> Progress:
    """Return the progress that was committed, or that of a partition of which nothing was put back yet."""
    if committed is None or committed.offset < 0:
        return Progress(beginning)
    put_back = {committed.offset + distance for distance in decode_offsets(committed.metadata)}
    return Progress(max(committed.offset, beginning), put_back)


def encode_offsets(distances: Collection[int]) -> str:
    """Pack whole numbers into text: a bitmap, compressed."""
    if not distances:
        return ""
    bits = bytearray(max(distances) // 8 + 1)
    for distance in distances:
        bits[distance // 8] |= 1 << distance % 8
    return base64.b85encode(zlib.compress(bytes(bits), 9)).decode()


def decode_offsets(text: str) -> set[int]:
    """Unpack what `encode_offsets` packed."""
    bits = zlib.decompress(base64.b85decode(text)) if text else b""
    return {8 * place + bit for place, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1}


class Replay:
    """Put letters back, partition after partition, and count them by kind."""

    def __init__(
        self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, partitions: Mapping[str, int], wanted: Wanted
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._partitions = partitions
        self._wanted = wanted
        self._taken = 0
        self.letters: Counter[Kind] = Counter()
        self.records: Counter[Kind] = Counter()

    @property
    def done(self) -> bool:
        """Say whether as many were put back as are wanted."""
        return self._wanted.limit is not None and self._taken >= self._wanted.limit

    async def run(self, partition: TopicPartition, progress: Progress, end: int) -> None:
        """Go through the letters of a partition up to `end`; what comes later is none of ours."""
        self._consumer.seek(partition, progress.next)
        while progress.next < end and not self.done:
            found = await self._consumer.getmany(partition, timeout_ms=POLL_MS, max_records=AT_ONCE)
            records = [record for record in found.get(partition, ()) if record.offset < end]
            await self._send(self._take(records, progress))
            if records and not self._wanted.dry_run:
                await self._consumer.commit({partition: progress.committed()})

    def _take(self, records: Sequence[ConsumerRecord], progress: Progress) -> list[Record]:
        """Return what puts these letters back, noting each; ends early at the limit."""
        taken: list[Record] = []
        for record in records:
            if self.done:
                break
            if record.offset not in progress.put_back:
                taken += self._judge(record, progress)
            progress.next = record.offset + 1
        return taken

    def _judge(self, record: ConsumerRecord, progress: Progress) -> list[Record]:
        """Return what puts one letter back; nothing where it stays."""
        try:
            letter = decode_dead_letter(record.value or b"")
        except UnreadableMessage:
            letter = DeadLetter(DEAD_LETTERS_TOPIC, record.partition, record.offset, "", "", b"", 0)
        if self._wanted.reason in (None, letter.reason):
            try:
                found = address(letter, self._partitions)
            except CannotPutBack as why:
                self._count(Kind(letter.topic, letter.reason, str(why)), letter.count)
            else:
                self._count(Kind(letter.topic, letter.reason, self._outcome), letter.count)
                self._taken += 1
                progress.put_back.add(record.offset)
                return found
        progress.leave(record.offset)
        return []

    @property
    def _outcome(self) -> str:
        return WOULD_PUT_BACK if self._wanted.dry_run else PUT_BACK

    def _count(self, kind: Kind, records: int) -> None:
        self.letters[kind] += 1
        self.records[kind] += records

    async def _send(self, records: Sequence[Record]) -> None:
        if self._wanted.dry_run:
            return
        acknowledged = [
            await self._producer.send(one.topic, one.value, key=one.key, partition=one.partition) for one in records
        ]
        await asyncio.gather(*acknowledged)


async def replay_dead_letters(servers: str, wanted: Wanted, console: Console) -> None:
    """Put the letters back that stand in the topic now, and print what was done; raises `CannotStart`."""
    try:
        replay = await _replay(servers, wanted)
    except KafkaConnectionError as error:
        raise CannotStart(f"Kafka does not answer at {servers}.") from error
    except KafkaError as error:
        raise CannotStart(
            f"Kafka refused while dead letters were put back: {error}. Call this again: none is put back twice."
        ) from error
    show(replay, console)


async def _replay(servers: str, wanted: Wanted) -> Replay:
    topics, progress = await _find_progress(servers)
    async with open_consumer(servers, GROUP, GROUP) as consumer, open_producer(servers, GROUP) as producer:
        replay = Replay(consumer, producer, topics, wanted)
        if not progress:
            return replay
        consumer.assign(list(progress))  # no member of the group, which the embedded broker could not have two of
        beginnings, ends = await consumer.beginning_offsets(list(progress)), await consumer.end_offsets(list(progress))
        for partition, committed in progress.items():
            await replay.run(partition, restore_progress(committed, beginnings[partition]), ends[partition])
    return replay


async def _find_progress(servers: str) -> tuple[dict[str, int], dict[TopicPartition, OffsetAndMetadata]]:
    """Return how many partitions each topic has, and what is committed of each partition of the letters."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, client_id=GROUP)
    try:
        await admin.start()
        topics = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}
        letters = [TopicPartition(DEAD_LETTERS_TOPIC, number) for number in range(topics.get(DEAD_LETTERS_TOPIC, 0))]
        return topics, await admin.list_consumer_group_offsets(GROUP, partitions=letters) if letters else {}
    finally:
        await admin.close()


def show(replay: Replay, console: Console) -> None:
    """Print what was done, letters of a kind in one line."""
    if not replay.letters:
        console.print("There are no dead letters to put back.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("topic", "reason", "what was done"):
        table.add_column(heading)
    for heading in ("letters", "records"):
        table.add_column(heading, justify="right")
    for kind in sorted(replay.letters, key=lambda one: (one.topic, one.reason, one.outcome)):
        counts = (str(replay.letters[kind]), str(replay.records[kind]))
        table.add_row(kind.topic, kind.reason, kind.outcome, *counts)
    console.print(table)
    if replay.done:
        console.print("As many as were asked for; there may be more.")
