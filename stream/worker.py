"""Run a stream worker: take partitions, restore, catch up, then compute and write until stopped.

The order on assignment: epochs from PostgreSQL (from here on an older worker is refused), instruments,
closes and positions from PostgreSQL, quotes from the topic up to its end; only then is anything published.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis import RedisError

from db.epochs import take_epochs
from db.live import LiveStore, Progress
from db.postgres import DATABASE_AWAY, acquire
from stream.book import PositionsRefused
from stream.consumer import PositionReader, QuoteReader, StateLost
from stream.kafka import count_partitions
from stream.messages import POSITIONS_TOPIC, DeadLetter, UnreadableMessage, decode_positions
from stream.metrics import (
    CYCLE_SECONDS,
    LAG,
    OUTAGES,
    PORTFOLIOS,
    REVALUED,
    TICK_AGE_SECONDS,
)
from stream.outbox import Outbox
from stream.prices import InstrumentSpec, UnknownCurrency
from stream.processor import Processor
from stream.publisher import Publisher
from stream.recorder import Recorder, minute_of
from stream.restore import load_closes, load_positions, load_prices, load_specs, portfolio_exists
from stream.tenure import PartitionsLost, Tenure, wanted

log = structlog.get_logger()
T = TypeVar("T")

TOTALS_TOPIC = "totals"  # no topic of Kafka: the name under which each assignment takes a number for its totals
CYCLES_PER_S = 20
IDLE_CYCLE_S = 1.0  # a quiet book is looked at this often: prices grow stale without a tick
WATCH_EVERY_S = 0.25
REPORT_EVERY_S = 1.0
TENURE_EVERY_S = 1.0
STALL_S = 4.0  # no cycle for so long: we slept, and must ask whether we still may write. A session is ten seconds
RETRY_S = 1.0
PATIENCE_S = 20.0  # so long the group may take to say that partitions are no longer ours; after it they are


@dataclass(frozen=True, slots=True)
class Connections:
    """Hold what a worker speaks to; opened and closed by the composition root."""

    pool: asyncpg.Pool
    store: LiveStore
    quotes: AIOKafkaConsumer
    positions: AIOKafkaConsumer
    outbox: Outbox


class Worker:
    """Compute and write for one assignment of partitions."""

    def __init__(
        self, name: str, connections: Connections, processor: Processor, epochs: Mapping[int, int], epoch: int
    ) -> None:
        self._name = name
        self._connections = connections
        self._processor = processor
        self._epochs = epochs
        self._arrived = asyncio.Event()
        self._day = datetime.fromtimestamp(processor.book.day_start_ns / 1e9, UTC).date()
        outbox = connections.outbox
        self._quotes = QuoteReader(connections.quotes, processor, outbox, self._arrived)
        self._positions = PositionReader(
            connections.positions, processor, outbox, self._arrived, self._learn, self._exists
        )
        self._publisher = Publisher(processor, connections.store, outbox, name, epoch)
        self._recorder = Recorder(connections.pool, processor, epochs)
        self._tenure = Tenure(connections.pool, epochs)

    async def run(self, partitions: tuple[TopicPartition, ...]) -> None:
        """Catch up, then do everything at once until cancelled; raises the first failure of any part."""
        await self._positions.start(partitions)
        await self._quotes.catch_up()
        log.info("caught up", portfolios=len(self._processor.book), epochs=dict(self._epochs))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quotes.run(), name="quotes")
            tasks.create_task(self._positions.run(self._epochs), name="positions")
            tasks.create_task(self._cycle(), name="cycle")
            tasks.create_task(self._watch(), name="watch")
            tasks.create_task(self._record(), name="record")
            tasks.create_task(self._report(), name="report")
            tasks.create_task(self._guard(), name="guard")

    async def _cycle(self) -> None:
        """Revalue and publish when something has arrived or is not yet written, at most twenty times a second."""
        looked = time.time()  # which goes on while a machine is suspended
        while wanted():
            started = time.monotonic()
            if time.time() - looked > STALL_S:
                await self._tenure.check()
            looked = time.time()
            self._arrived.clear()
            REVALUED.inc(self._processor.revalue(time.time_ns()))
            await self._publisher.publish(time.time_ns())
            spent = time.monotonic() - started
            CYCLE_SECONDS.observe(spent)
            if self._processor.prices.newest_ns:
                TICK_AGE_SECONDS.set((time.time_ns() - self._processor.prices.newest_ns) / 1e9)
            await asyncio.sleep(max(1 / CYCLES_PER_S - spent, 0))
            if len(self._processor.pending()) and not self._publisher.is_away:
                continue
            try:
                async with asyncio.timeout(IDLE_CYCLE_S):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    async def _watch(self) -> None:
        """Keep up with what clients look at, and notice when Redis has forgotten what we wrote."""
        store = self._connections.store
        while wanted():
            try:
                self._publisher.watched = await store.watched()
                if await store.layout(self._name) is None:
                    self._publisher.invalidate()
                    self._arrived.set()
                await store.beat()
            except RedisError:
                OUTAGES.labels("redis").inc()  # the report says it each second
            await asyncio.sleep(WATCH_EVERY_S)

    async def _record(self) -> None:
        """Close the days that ended unseen, then record each minute as it ends."""
        current = minute_of(datetime.now(UTC))
        try:
            await self._recorder.close_days(self._day)
        except DATABASE_AWAY as error:
            OUTAGES.labels("postgres").inc()
            log.warning("days that ended unseen are closed with the next one", error=repr(error))
        while wanted():
            await asyncio.sleep((current + timedelta(minutes=1) - datetime.now(UTC)).total_seconds())
            await self.end_minute(current, datetime.now(UTC).date())
            current = minute_of(datetime.now(UTC))

    async def end_minute(self, minute: datetime, today: date) -> None:
        """Keep the minute that began at `minute`, write what waits, and roll the day when it is over."""
        self._processor.revalue(time.time_ns())
        self._recorder.keep(minute)
        try:
            await self._recorder.write()
            await self._roll(today)
        except DATABASE_AWAY as error:
            OUTAGES.labels("postgres").inc()
            log.warning("PostgreSQL did not take the minute; it is kept and tried again", error=repr(error))

    async def _roll(self, today: date) -> None:
        """Close the day that is over and begin the new one at its closes."""
        if today == self._day:
            return
        await self._recorder.close_days(today)
        async with acquire(self._connections.pool) as connection:
            closes = await load_closes(connection, today)
        self._processor.begin_day(start_of_day_ns(today), closes)
        self._day = today
        self._arrived.set()
        log.info("the day has rolled", day=today.isoformat())

    async def _report(self) -> None:
        """Say each second how far we are, and how Kafka is: from the broker's own end offsets."""
        while wanted():
            kafka, lag = await self._ask_kafka()
            try:
                await self._say(kafka, lag)
            except RedisError as error:
                OUTAGES.labels("redis").inc()
                log.warning("redis did not take the report", error=repr(error))
            await asyncio.sleep(REPORT_EVERY_S)

    async def _ask_kafka(self) -> tuple[str, int]:
        """Return (what is wrong with Kafka, or nothing; records not yet read, -1 where unknown)."""
        try:
            async with asyncio.timeout(2.0):
                ends = await self._connections.quotes.end_offsets(self._quotes.partitions)
        except (KafkaError, TimeoutError) as error:
            return f"the broker does not answer: {error!r}", -1
        lag = self._quotes.lag(ends)
        LAG.labels("quotes").set(lag)
        return "", lag

    async def _say(self, kafka: str, lag: int) -> None:
        store = self._connections.store
        book = self._processor.book
        PORTFOLIOS.set(len(book))
        ticks = self._quotes.ticks
        pending = len(self._processor.pending())
        offsets = {str(partition): offset for partition, offset in self._quotes.offsets.items()}
        await store.report_progress(self._name, Progress(offsets, pending, len(book), lag, ticks, time.time_ns()))
        await store.report_health("kafka", not kafka, kafka or f"{lag} records behind")
        await store.report_health("stream", True, f"{len(book)} portfolios, {ticks} ticks, {lag} records behind")

    async def _guard(self) -> None:
        """Stop everything, by failing, once another worker has taken our partitions over."""
        while wanted():
            await self._tenure.check()
            await asyncio.sleep(TENURE_EVERY_S)

    async def _learn(self) -> None:
        """Learn of instruments that are new in PostgreSQL; with a currency that is new too, all is restored."""

        async def specs(connection: asyncpg.Connection) -> list[InstrumentSpec]:
            return await load_specs(connection, self._day)

        try:
            self._processor.prices.add(await self._ask(specs))
        except UnknownCurrency as error:
            raise StateLost(str(error)) from error

    async def _exists(self, portfolio: str) -> bool:
        async def exists(connection: asyncpg.Connection) -> bool:
            return await portfolio_exists(connection, portfolio)

        return await self._ask(exists)

    async def _ask(self, question: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Ask PostgreSQL until it answers: positions wait for it, prices and what is in the book do not."""
        while True:
            try:
                async with acquire(self._connections.pool) as connection:
                    return await question(connection)
            except DATABASE_AWAY as error:
                OUTAGES.labels("postgres").inc()
                log.warning("PostgreSQL does not answer; new positions wait for it", error=repr(error))
                await asyncio.sleep(RETRY_S)


async def run_assignment(name: str, connections: Connections, partitions: tuple[TopicPartition, ...]) -> None:
    """Take the partitions over, restore and run; starts anew when a topic has lost what is needed."""
    while wanted():
        pause = RETRY_S
        try:
            worker = await restore_worker(name, connections, partitions)
            await worker.run(partitions)
        except* PartitionsLost as group:
            log.warning("stopped; the group will say what is ours now", error=repr(group.exceptions[0]))
            pause = PATIENCE_S
        except* (*DATABASE_AWAY, KafkaError, StateLost) as group:
            log.warning("restoring anew", error=repr(group.exceptions[0]))
        await asyncio.sleep(pause)  # not above: what is raised in an `except*` comes out in a group


async def restore_worker(name: str, connections: Connections, partitions: tuple[TopicPartition, ...]) -> Worker:
    """Return a worker with epochs taken and state restored from PostgreSQL; what cannot be used is set aside."""
    count = await count_partitions(connections.positions, POSITIONS_TOPIC)
    today = datetime.now(UTC).date()
    async with acquire(connections.pool) as connection:
        epochs = await take_epochs(connection, POSITIONS_TOPIC, [one.partition for one in partitions], name)
        epoch = (await take_epochs(connection, TOTALS_TOPIC, [0], name))[0]
        processor = Processor(await load_prices(connection, today), start_of_day_ns(today))
        async for partition, stored in load_positions(connection, epochs, count):
            try:
                processor.apply_positions(decode_positions(stored.record), partition, epochs[partition])
            except (PositionsRefused, UnreadableMessage) as error:
                reason = error.reason if isinstance(error, PositionsRefused) else "unreadable"
                letter = DeadLetter(POSITIONS_TOPIC, partition, -1, reason, str(error), stored.record, time.time_ns())
                connections.outbox.add_letter(letter)
    return Worker(name, connections, processor, epochs, epoch)


def start_of_day_ns(day: date) -> int:
    """Return the nanosecond at which a UTC day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
