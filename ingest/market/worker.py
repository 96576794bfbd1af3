"""Run one market feed: from its source to Kafka, with its health, however the systems around it come and go."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from redis import RedisError

from db.live import LiveStore
from db.postgres import DATABASE_AWAY
from ingest.market.errors import MarketError, NothingToQuote
from ingest.market.model import create_model
from ingest.market.publisher import PublishLimits, QuotePublisher
from ingest.market.pump import FeedState, create_refuse, pump_quotes
from ingest.market.recorded import RecordedSource
from ingest.market.sessions import keep_sessions
from ingest.market.simulated import SimulatedSource
from ingest.market.source import FeedSpec, NoFeed, QuoteSource, RecordedFeed, Refuse
from ingest.market.start import MarketStart, load_market, load_prices
from stream.kafka import open_producer

REPORT_EVERY_S = 1.0
RETRY_S = 1.0
SILENT_AFTER_S = 10.0
KAFKA_SILENT_AFTER_S = 5.0
REPLAY_WAIT_S = 60.0  # a replay at full speed can wait for Kafka; a live price is worth little by then

log = structlog.get_logger()


async def run_market(
    feed: FeedSpec, pool: asyncpg.Pool, live: LiveStore, servers: str, name: str = "ingest-market"
) -> None:
    """Feed quotes into Kafka until cancelled, and report health as `market:<source>` each second.

    PostgreSQL, Redis and Kafka may be away, at the start or later: it goes on when they are back. A
    replay that has ended, or a file that cannot be read, is said in the health report.
    """
    state = FeedState(feed.name)
    limits = PublishLimits(wait_s=REPLAY_WAIT_S) if _can_wait(feed) else PublishLimits()
    publisher = QuotePublisher(limits)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_feed(feed, pool, live, publisher, state), name="market feed")
        tasks.create_task(_deliver(publisher, servers, name, state), name="market delivery")
        tasks.create_task(_report(live, publisher, state), name="market health")
        tasks.create_task(keep_sessions(pool), name="market sessions")


def create_source(feed: FeedSpec, start: MarketStart, prices: dict[int, float], refuse: Refuse) -> QuoteSource | None:
    """Make the source that a feed names; None where it names none. `prices` (by id) win over closes."""
    if isinstance(feed, NoFeed):
        return None
    if isinstance(feed, RecordedFeed):
        return RecordedSource(feed, start.ids(), refuse)
    model = create_model(start.closes, start.instruments, prices)
    if not len(model):
        raise NothingToQuote("no instrument has a close to start from")
    return SimulatedSource(feed, model)


def describe_feed(state: FeedState, publisher: QuotePublisher, rate: float, now_ns: int) -> tuple[bool, str]:
    """Return whether a feed is well, and a sentence that says so with its rate and the age of its newest quote."""
    if state.feed_trouble or state.delivery_trouble:
        return False, "; ".join(filter(None, (state.feed_trouble, state.delivery_trouble)))
    if publisher.silent_s > KAFKA_SILENT_AFTER_S:
        return False, f"Kafka has acknowledged nothing for {publisher.silent_s:.0f} s; the newest quotes are kept"
    if state.name == NoFeed().name:
        return True, "no market feed is configured: prices stay at the last close"
    if state.finished:
        return True, f"the replay has ended: {state.ticks:,} quotes, {state.refused:,} refused"
    if not state.newest_ns:
        return False, "no quote yet"
    age = (now_ns - state.newest_ns) / 1e9
    slow = f"; Kafka is slow, {publisher.pending_ticks:,} quotes conflated" if publisher.conflating else ""
    silent_is_fine = state.name == "recorded"  # a recording has its pauses
    return age < SILENT_AFTER_S or silent_is_fine, f"{rate:,.0f} quotes/s, newest {age:.1f} s ago{slow}"


def _can_wait(feed: FeedSpec) -> bool:
    return isinstance(feed, RecordedFeed) and feed.speed == 0


async def _feed(
    feed: FeedSpec, pool: asyncpg.Pool, live: LiveStore, publisher: QuotePublisher, state: FeedState
) -> None:
    """Run the source to its end. What it starts from may come late; a broken recording ends it with the reason."""
    try:
        start = await _load(pool, state)
        source = create_source(feed, start, await _prices(live, start), create_refuse(publisher, state))
        if source is not None:
            log.info("market feed started", source=source.name, instruments=len(start.instruments))
            await pump_quotes(source, publisher, start.known(), state)
            log.info("market feed ended", source=source.name, ticks=state.ticks)
    except MarketError as error:
        state.feed_trouble = str(error)
        log.error("market feed stopped", source=feed.name, reason=str(error))  # noqa: TRY400 - the reason says it all


async def _load(pool: asyncpg.Pool, state: FeedState) -> MarketStart:
    """Load from PostgreSQL, as often as it takes."""
    while True:
        try:
            start = await load_market(pool, datetime.now(UTC).date())
        except (*DATABASE_AWAY, NothingToQuote) as error:
            state.feed_trouble = f"waiting for PostgreSQL: {error or type(error).__name__}"
            log.warning("market feed waits", reason=state.feed_trouble)
        else:
            state.feed_trouble = ""
            return start
        await _pause()


async def _prices(live: LiveStore, start: MarketStart) -> dict[int, float]:
    """Return live prices to go on from; without Redis the closes do."""
    try:
        return await load_prices(live, start.ids())
    except RedisError as error:
        log.warning("starting from closes: Redis does not answer", reason=str(error))
        return {}


async def _deliver(publisher: QuotePublisher, servers: str, name: str, state: FeedState) -> None:
    """Keep a producer open, replacing it after a failure: one that lost a batch can lose its sequence too."""
    while True:
        try:
            async with open_producer(servers, name) as producer:
                state.delivery_trouble = ""
                await publisher.deliver(producer)
        except KafkaError as error:
            state.delivery_trouble = f"Kafka does not take quotes: {error}"
            log.warning("producer replaced", reason=str(error))
        await _pause()


async def _report(live: LiveStore, publisher: QuotePublisher, state: FeedState) -> None:
    before, at = state.ticks, time.monotonic()
    while True:
        await asyncio.sleep(REPORT_EVERY_S)
        now = time.monotonic()
        rate = (state.ticks - before) / (now - at)
        before, at = state.ticks, now
        ok, detail = describe_feed(state, publisher, rate, time.time_ns())
        try:
            await live.report_health(f"market:{state.name}", ok, detail)
        except RedisError as error:
            log.warning("health not reported: Redis does not answer", reason=str(error))


async def _pause() -> None:
    await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
