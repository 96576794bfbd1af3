"""Run a stream worker: take partitions, restore, catch up, then compute and write until stopped.

The order on assignment: epochs from PostgreSQL (from here on an older worker is refused), instruments,
closes and positions from PostgreSQL, quotes from the topic up to its end; only then is anything published.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis import RedisError

from db.epochs import PartitionsLost, lost_partitions, take_epochs
from db.live import LiveStore, Progress, Watched
from db.postgres import DATABASE_AWAY, acquire
from stream.alerts import Alerts
from stream.book import PositionsRefused
from stream.checker import Checker
from stream.consumer import PositionReader, QuoteReader, StateLost
from stream.kafka import count_partitions
from stream.lag import export_lag
from stream.messages import POSITIONS_TOPIC, DeadLetter, UnreadableMessage, decode_positions
from stream.metrics import (
    CYCLE_SECONDS,
    DIRTY_SHARE,
    FENCED_WRITES,
    OUTAGES,
    PORTFOLIOS,
    REVALUED,
    TICK_AGE_SECONDS,
)
from stream.outbox import Outbox
from stream.prices import UnknownCurrency
from stream.processor import Processor
from stream.publisher import Publisher
from stream.recall import parse_stored_quotes
from stream.recorder import Recorder, minute_of
from stream.restore import load_positions, portfolio_exists
from stream.roll import Days, restore_days
from stream.split_watch import SplitWatch
from stream.stages import Stage
from stream.tenure import Tenure, wanted

log = structlog.get_logger()
T = TypeVar("T")

TOTALS_TOPIC = "totals"  # no topic of Kafka: the name under which each assignment takes a number for its totals
CYCLES_PER_S = 20
BREATH_S = 0.005  # what a cycle that took too long leaves to the readers: a fetch takes some ten turns of the loop
READ_FIRST_S = 0.2  # a cycle waits so long where many records are unread: to publish old prices helps nobody
IDLE_CYCLE_S = 1.0  # a quiet book is looked at this often: prices grow stale without a tick
WATCH_EVERY_S = 0.25
REPORT_EVERY_S = 1.0
TENURE_EVERY_S = 1.0
STALL_S = 4.0  # no cycle for so long: we slept, and must ask whether we still may write. A session is ten seconds
RETRY_S = 1.0
WRITE_AGAIN_S = 3.0
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
        self,
        name: str,
        connections: Connections,
        processor: Processor,
        epochs: Mapping[int, int],
        epoch: int,
        days: Days,
    ) -> None:
        self._name = name
        self._connections = connections
        self._processor = processor
        self._epochs = epochs
        self._arrived = asyncio.Event()
        self._days = days
        outbox = connections.outbox
        self._quotes = QuoteReader(connections.quotes, processor, outbox, self._arrived)
        self._positions = PositionReader(
            connections.positions, processor, outbox, self._arrived, self._learn, self._exists
        )
        self._written = connections.store.fenced(epochs)
        self._publisher = Publisher(processor, self._written, outbox, name, epoch, speaks_for_all=0 in epochs)
        self._recorder = Recorder(connections.pool, processor, epochs, epoch, days)
        self._alerts = Alerts(connections.pool, connections.store, processor, epochs)
        self._tenure = Tenure(connections.pool, epochs)
        self._splits = SplitWatch(connections.pool, processor)
        self._valued, self._stored = Stage("valued"), Stage("written")
        self._checker = Checker(name, connections.pool, connections.store, processor)

    async def run(self, partitions: tuple[TopicPartition, ...]) -> None:
        """Catch up, then do everything at once until cancelled; raises the first failure of any part."""
        async with aclosing(self._written):
            await self._claim()
            await self._recall()
            await self._positions.start(partitions)
            await self._quotes.catch_up()
            log.info("caught up", portfolios=len(self._processor.book), epochs=dict(self._epochs))
            _settle_memory()
            await self._serve()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quotes.run(), name="quotes")
            tasks.create_task(self._positions.run(self._epochs), name="positions")
            tasks.create_task(self._cycle(), name="cycle")
            tasks.create_task(self._watch(), name="watch")
            tasks.create_task(self._record(), name="record")
            tasks.create_task(self._report(), name="report")
            tasks.create_task(self._guard(), name="guard")
            tasks.create_task(self._checker.run(), name="checker")
            tasks.create_task(self._alerts.run(), name="alerts")
            tasks.create_task(self._splits.run(), name="splits")

    async def _claim(self) -> None:
        """Have Redis refuse our predecessors; where it knows newer epochs, PostgreSQL, which gives them, decides."""
        try:
            await self._written.claim()
        except RedisError as error:
            OUTAGES.labels("redis").inc()
            log.warning("redis does not know yet that we took over; our first write will say it", error=repr(error))
        except PartitionsLost:
            async with acquire(self._connections.pool) as connection:
                if await lost_partitions(connection, POSITIONS_TOPIC, self._epochs):
                    raise
            log.warning("redis knew newer epochs than PostgreSQL gives: those of another bank, or of before a restore")
            await self._connections.store.overrule(self._epochs)

    async def _recall(self) -> None:
        """Begin with the prices that Redis holds; where quotes from the topic are newer, those win."""
        now_ns, specs = time.time_ns(), self._processor.prices.specs
        try:
            stored = await self._connections.store.quotes()
        except RedisError as error:
            OUTAGES.labels("redis").inc()
            log.warning("redis does not say the last prices; some may be at their prior close", error=repr(error))
            return
        batch = parse_stored_quotes(stored.values(), {one.symbol: one.id for one in specs}, now_ns)
        refused = self._processor.apply_quotes(batch, now_ns)
        log.info("prices recalled", quotes=len(batch), refused=sum(len(one.index) for one in refused))

    async def _cycle(self) -> None:
        """Revalue and publish when something has arrived or is not yet written, at most twenty times a second."""
        looked = time.time()  # which goes on while a machine is suspended
        while wanted():
            started = time.monotonic()
            if time.time() - looked > STALL_S:
                await self._tenure.check()
            looked = time.time()
            self._arrived.clear()
            self._revalue()
            await self._publish()
            spent = time.monotonic() - started
            CYCLE_SECONDS.observe(spent)
            if self._processor.prices.newest_ns:
                TICK_AGE_SECONDS.set((time.time_ns() - self._processor.prices.newest_ns) / 1e9)
            await asyncio.sleep(max(1 / CYCLES_PER_S - spent, BREATH_S))
            await self._quotes.near_end(READ_FIRST_S)
            if self._processor.has_pending() and not self._publisher.is_away:
                continue
            try:
                async with asyncio.timeout(IDLE_CYCLE_S):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def _revalue(self) -> None:
        now_ns = time.time_ns()
        changed, size = self._processor.revalue(now_ns), len(self._processor.book)
        self._alerts.judge(now_ns)
        REVALUED.inc(changed)
        if size:
            DIRTY_SHARE.observe(changed / size)
        self._valued.passed(self._processor.prices.newest_ns)

    async def _publish(self) -> None:
        newest_ns = self._processor.prices.newest_ns  # more may be read while Redis is written to
        try:
            await self._publisher.publish(time.time_ns())
        except PartitionsLost:
            FENCED_WRITES.labels("redis").inc()
            raise
        if not self._publisher.is_away:
            self._stored.passed(newest_ns)

    async def _watch(self) -> None:
        """Keep up with what clients look at, and notice when Redis has forgotten what we wrote."""
        store = self._connections.store
        while wanted():
            try:
                self._follow(await store.watched())
                if not await store.has_layout(self._name):
                    self._publisher.invalidate()
                    self._arrived.set()
                await store.beat(persisted=not self._unsaved())
            except RedisError:
                OUTAGES.labels("redis").inc()  # the report says it each second
            await asyncio.sleep(WATCH_EVERY_S)

    def _follow(self, watched: Watched) -> None:
        """Publish at once what is newly watched: what changed since its reader read it was published to nobody."""
        fresh = self._processor.held(watched.portfolios - self._publisher.watched.portfolios)
        self._publisher.watched = watched
        if fresh:
            self._processor.revaluation.pending[fresh] = 1
            self._arrived.set()

    async def _record(self) -> None:
        """Close the days that ended unseen, then record each minute as it ends."""
        current = minute_of(datetime.now(UTC))
        try:
            await self._recorder.close_days(self._days.held)
        except DATABASE_AWAY as error:
            OUTAGES.labels("postgres").inc()
            log.warning("days that ended unseen are closed with the next one", error=repr(error))
        while wanted():
            left = (current + timedelta(minutes=1) - datetime.now(UTC)).total_seconds()
            # what was kept does not wait for the next minute, nor do sessions that ingest is about to write
            if (self._recorder.waiting or self._days.calendar.is_guess) and left > WRITE_AGAIN_S:
                await asyncio.sleep(WRITE_AGAIN_S)
                await self._write(time.time_ns())
                continue
            await asyncio.sleep(left)
            await self.end_minute(current, time.time_ns())
            current = minute_of(datetime.now(UTC))

    async def end_minute(self, minute: datetime, now_ns: int) -> None:
        """Keep the minute that began at `minute`, write what waits, and roll the days that are over."""
        self._days.follow(now_ns)
        self._processor.revalue(now_ns)
        self._recorder.keep(minute)
        await self._write(now_ns)

    async def _write(self, now_ns: int) -> None:
        try:
            await self._recorder.write()
            await self._roll(now_ns)
        except DATABASE_AWAY as error:
            OUTAGES.labels("postgres").inc()
            log.warning("PostgreSQL did not take the minute; it is kept and tried again", error=repr(error))

    async def _roll(self, now_ns: int) -> None:
        """Begin anew the time zones whose day or prior closes have changed; a day that is over is closed before."""
        async with acquire(self._connections.pool) as connection:
            changed = await self._days.look(connection, now_ns)
        if not changed:
            return
        await self._recorder.close_days(changed)
        async with acquire(self._connections.pool) as connection:
            await self._days.begin(connection, changed, now_ns)
        self._arrived.set()

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
        ends: dict[str, Mapping[TopicPartition, int] | None] = {"quotes": None, "positions": None}
        trouble = ""
        try:
            async with asyncio.timeout(2.0):
                ends["quotes"] = await self._connections.quotes.end_offsets(self._quotes.partitions)
                ends["positions"] = await self._connections.positions.end_offsets(self._positions.partitions)
        except (KafkaError, TimeoutError) as error:
            trouble = f"the broker does not answer: {error!r}"
        export_lag("positions", self._positions.reading, ends["positions"])
        return trouble, export_lag("quotes", self._quotes.reading, ends["quotes"])

    async def _say(self, kafka: str, lag: int) -> None:
        store = self._connections.store
        book = self._processor.book
        PORTFOLIOS.set(len(book))
        ticks = self._quotes.ticks
        pending, unsaved = len(self._processor.pending()), self._unsaved()
        offsets = {str(partition): offset for partition, offset in self._quotes.reading.offsets.items()}
        await store.report_progress(self._name, Progress(offsets, pending, len(book), lag, ticks, time.time_ns()))
        await store.report_health("kafka", not kafka, kafka or f"{lag} records behind")
        detail = f"{len(book)} portfolios, {ticks} ticks, {lag} records behind"
        await store.report_health("stream", not unsaved, f"{detail}{unsaved}")

    def _unsaved(self) -> str:
        """Say what PostgreSQL does not have of what is shown, or nothing where it has all."""
        minutes = self._recorder.waiting
        if not minutes and self._tenure.is_heard:
            return ""
        return f"; not persisted, minutes waiting for PostgreSQL: {minutes}"

    async def _guard(self) -> None:
        """Stop everything, by failing, once another worker has taken our partitions over."""
        while wanted():
            await self._tenure.check()
            await asyncio.sleep(TENURE_EVERY_S)

    async def _learn(self) -> None:
        """Learn of instruments that are new in PostgreSQL; with a currency that is new too, all is restored."""

        async def learn(connection: asyncpg.Connection) -> None:
            await self._days.learn(connection, time.time_ns())

        try:
            await self._ask(learn)
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


def _settle_memory() -> None:
    """Have the garbage collector pass over what was restored: a look at all of it would hold a cycle up."""
    gc.unfreeze()  # what an earlier assignment left
    gc.collect()
    gc.freeze()


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
    async with acquire(connections.pool) as connection:
        epochs = await take_epochs(connection, POSITIONS_TOPIC, [one.partition for one in partitions], name)
        epoch = (await take_epochs(connection, TOTALS_TOPIC, [0], name))[0]
        processor, days = await restore_days(connection, time.time_ns())
        async for partition, stored in load_positions(connection, epochs, count):
            try:
                processor.apply_positions(decode_positions(stored.record), partition, epochs[partition])
            except (PositionsRefused, UnreadableMessage) as error:
                reason = error.reason if isinstance(error, PositionsRefused) else "unreadable"
                letter = DeadLetter(POSITIONS_TOPIC, partition, -1, reason, str(error), stored.record, time.time_ns())
                connections.outbox.add_letter(letter)
    processor.book.compact()
    return Worker(name, connections, processor, epochs, epoch, days)
