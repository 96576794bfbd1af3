"""Run the market feeds: from their sources to Kafka, with their health, however the systems around them come and go."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from redis import RedisError

from db.live import LiveStore
from db.postgres import DATABASE_AWAY
from ingest.leadership import Lease
from ingest.market.closes import keep_closes
from ingest.market.desk import Desk
from ingest.market.errors import MarketError, NothingToQuote
from ingest.market.feed_run import Described, FeedRun
from ingest.market.publisher import QuotePublisher
from ingest.market.pump import FeedState, pump_quotes
from ingest.market.sessions import keep_sessions
from ingest.market.source import FeedSpec, NoFeed
from ingest.market.start import Listing, MarketStart, load_listing, load_market, load_passed, load_prices
from ingest.market.venue_feed import SessionFeed, VenueFeed, create_tls
from ingest.venues.venue import Keys, PolledVenue, StreamVenue
from stream.kafka import open_producer

REPORT_EVERY_S = 1.0
RETRY_S = 1.0
SILENT_AFTER_S = 10.0
KAFKA_SILENT_AFTER_S = 5.0
LOOK_EVERY_S = 0.25
REFRESH_EVERY_S = 60.0  # so soon is an instrument quoted that the bank has new

log = structlog.get_logger()


async def run_market(
    feeds: Sequence[FeedSpec],
    pool: asyncpg.Pool,
    live: LiveStore,
    servers: str,
    lease: Lease | None = None,
    keys: Keys | None = None,
    name: str = "ingest-market",
) -> None:
    """Feed quotes into Kafka until cancelled, and report each feed's health as `market:<source>` each second.

    PostgreSQL, Redis, Kafka and the venues may be away, at the start or later: it goes on when they are back. A replay
    that has ended, or a feed that cannot be made, is said in the health report, and the others go on.
    """
    publisher = QuotePublisher(lease=lease)
    desk = Desk(feeds, publisher, keys or Keys())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_deliver(publisher, servers, name, desk), name="market delivery")
        tasks.create_task(_report(live, publisher, desk), name="market health")
        tasks.create_task(desk.splits.follow(pool), name="market splits")
        tasks.create_task(keep_sessions(pool), name="market sessions")
        start, listing = await _load(pool, desk)
        desk.begin(start, listing, await _passed(live, start))
        for run in desk.runs:
            tasks.create_task(_feed(run, desk, live, publisher, start), name=f"market feed {run.feed.name}")
            if run.venue is not None and isinstance(run.feed, VenueFeed):
                closes = _closes(run, run.venue, create_tls(run.feed), pool)
                tasks.create_task(closes, name=f"market closes {run.feed.name}")
        tasks.create_task(_look(desk), name="market selection")
        tasks.create_task(_refresh(pool, desk), name="market symbols")


def describe_trouble(state: FeedState, publisher: QuotePublisher) -> str:
    """Return what keeps any feed from being heard, empty where nothing does."""
    if state.feed_trouble or state.delivery_trouble:
        return "; ".join(filter(None, (state.feed_trouble, state.delivery_trouble)))
    if publisher.silent_s > KAFKA_SILENT_AFTER_S:
        return f"Kafka has acknowledged nothing for {publisher.silent_s:.0f} s; the newest quotes are kept"
    return ""


def describe_feed(state: FeedState, publisher: QuotePublisher, rate: float, now_ns: int) -> Described:
    """Return whether a feed that is no venue is well, and a sentence that says so."""
    trouble = describe_trouble(state, publisher)
    if trouble:
        return False, trouble
    if state.name == NoFeed().name:
        return True, "no market feed is configured: prices stay at the last close"
    if state.finished:
        return True, f"the replay has ended: {state.ticks:,} quotes, {state.refused:,} refused"
    if not state.newest_ns:
        return False, "no quote yet"
    age = max(0, now_ns - state.newest_ns) / 1e9
    slow = f"; Kafka is slow, {publisher.pending_ticks:,} quotes conflated" if publisher.conflating else ""
    silent_is_fine = state.name == "recorded"  # a recording has its pauses
    return age < SILENT_AFTER_S or silent_is_fine, f"{rate:,.0f} quotes/s, newest {age:.1f} s ago{slow}"


async def _feed(run: FeedRun, desk: Desk, live: LiveStore, publisher: QuotePublisher, start: MarketStart) -> None:
    """Run a feed to its end. What cannot be made, or a broken recording, ends it with the reason."""
    state = run.intake.state
    try:
        source = desk.open(run, await _prices(live, start))
        if source is not None:
            log.info("market feed started", source=source.name, instruments=len(start.instruments))
            await pump_quotes(source, publisher, run.intake)
            log.info("market feed ended", source=source.name, ticks=state.ticks)
    except MarketError as error:
        state.feed_trouble = str(error)
        log.error("market feed stopped", source=state.name, reason=str(error))  # noqa: TRY400 - the reason says it all


async def _look(desk: Desk) -> None:
    """Choose between the feeds a few times a second: silence calls nobody."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await desk.look()


async def _refresh(pool: asyncpg.Pool, desk: Desk) -> None:
    """Follow what the bank has new, each minute."""
    while True:
        await asyncio.sleep(REFRESH_EVERY_S)
        try:
            desk.follow(await load_listing(pool, datetime.now(UTC).date()))
        except DATABASE_AWAY as error:
            log.warning("instruments not looked at: PostgreSQL does not answer", reason=repr(error))


async def _closes(run: FeedRun, venue: StreamVenue | PolledVenue, tls: ssl.SSLContext, pool: asyncpg.Pool) -> None:
    """Keep the closes that a venue tells of what it quotes; begin anew when it quotes something else."""

    def tell(trouble: str) -> None:
        run.closes_trouble = trouble

    while True:
        symbols = run.quoted()
        keeping = asyncio.create_task(keep_closes(pool, venue, symbols, tls, tell))
        try:
            while run.quoted() == symbols:
                await asyncio.sleep(REFRESH_EVERY_S)
                if keeping.done():
                    keeping.result()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def _load(pool: asyncpg.Pool, desk: Desk) -> tuple[MarketStart, Listing]:
    """Load from PostgreSQL, as often as it takes."""
    while True:
        try:
            today = datetime.now(UTC).date()
            start, listing = await load_market(pool, today), await load_listing(pool, today)
        except (*DATABASE_AWAY, NothingToQuote) as error:
            trouble = f"waiting for PostgreSQL: {error or type(error).__name__}"
            log.warning("market feeds wait", reason=trouble)
        else:
            trouble = ""
        for run in desk.runs:
            run.intake.state.feed_trouble = trouble
        if not trouble:
            return start, listing
        await _pause()


async def _passed(live: LiveStore, start: MarketStart) -> dict[int, int]:
    """Return how new what was shown before this run is; without Redis, nothing was."""
    try:
        return await load_passed(live, start.ids())
    except RedisError as error:
        log.warning("not known what was quoted before: Redis does not answer", reason=str(error))
        return {}


async def _prices(live: LiveStore, start: MarketStart) -> dict[int, float]:
    """Return live prices to go on from; without Redis the closes do."""
    try:
        return await load_prices(live, start.ids())
    except RedisError as error:
        log.warning("starting from closes: Redis does not answer", reason=str(error))
        return {}


async def _deliver(publisher: QuotePublisher, servers: str, name: str, desk: Desk) -> None:
    """Keep a producer open, replacing it after a failure: one that lost a batch can lose its sequence too."""
    while True:
        try:
            async with open_producer(servers, name) as producer:
                _trouble(desk, "")
                await publisher.deliver(producer)
        except KafkaError as error:
            _trouble(desk, f"Kafka does not take quotes: {error}")
            log.warning("producer replaced", reason=str(error))
        await _pause()


def _trouble(desk: Desk, text: str) -> None:
    for run in desk.runs:
        run.intake.state.delivery_trouble = text


async def _report(live: LiveStore, publisher: QuotePublisher, desk: Desk) -> None:
    while True:
        await asyncio.sleep(REPORT_EVERY_S)
        now_ns = time.time_ns()
        for run in desk.runs:
            await run.intake.quarantine.flush()
            described = describe_run(run, publisher, desk, now_ns)
            report = run.report(desk.board, described, now_ns)
            try:
                await live.report_health(f"market:{run.feed.name}", *described)
                await live.report_feed(report)
            except RedisError as error:
                log.warning("health not reported: Redis does not answer", reason=str(error))


def describe_run(run: FeedRun, publisher: QuotePublisher, desk: Desk, now_ns: int) -> Described:
    """Return whether a feed of the desk is well, and a sentence that says so."""
    state = run.intake.state
    trouble = describe_trouble(state, publisher)
    if trouble:
        return False, trouble
    if isinstance(run.feed, VenueFeed | SessionFeed):
        return run.describe(int((desk.board.selection.chosen == run.intake.index).sum()), now_ns)
    return describe_feed(state, publisher, run.rate, now_ns)


async def _pause() -> None:
    await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
