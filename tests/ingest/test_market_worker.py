import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import TopicPartition
from fakes import eventually
from redis import RedisError

from db.live import HealthReport, LiveStore, create_redis
from db.postgres import open_pool
from ingest.market.publisher import QuotePublisher
from ingest.market.pump import FeedState
from ingest.market.source import FeedSpec, NoFeed, RecordedFeed, SimulatedFeed, parse_feed
from ingest.market.start import load_market, load_prices, parse_price
from ingest.market.worker import describe_feed, run_market
from stream.kafka import open_consumer
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    QUOTES_TOPIC,
    DeadLetter,
    QuoteBatch,
    decode_dead_letter,
    decode_quotes,
)

FAULTS = Path(__file__).parents[1] / "data" / "quotes_with_faults.csv"
RECORDED = f"recorded:{FAULTS}?map=time=time,symbol=symbol,bid=bid,ask=ask,last=last,volume=size&speed=max"
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "test", size=2) as pool:
        yield pool


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(redis_url, "test")
    yield LiveStore(redis)
    await redis.aclose()


async def add_instruments(pool: asyncpg.Pool) -> None:
    """Put two equities and a rate of exchange into the bank, with thirty closes each."""
    async with pool.acquire() as connection:
        await connection.execute(
            "insert into currencies (code, name, minor_units) values ('USD', 'Dollar', 2), ('EUR', 'Euro', 2)"
        )
        await connection.executemany(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency) "
            "values ($1, $2, $2, $3, 'none', 'US', 'USD', $4)",
            [(1, "ALHA", "equity", None), (2, "ALHB", "equity", None), (3, "EUR/USD", "fx", "EUR")],
        )
        await connection.executemany(
            "insert into daily_prices (instrument_id, date, close) values ($1, $2, $3)",
            [
                (number, TODAY - timedelta(days), 50.0 * number + days % 3)
                for number in (1, 2, 3)
                for days in range(1, 31)
            ],
        )


@asynccontextmanager
async def running(feed: FeedSpec, pool: asyncpg.Pool, live: LiveStore, servers: str) -> AsyncIterator[None]:
    task = asyncio.create_task(run_market((feed,), pool, live, servers))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait_for(asyncio.wait([task]), 5)
    assert task.cancelled()


async def healthy(live: LiveStore, component: str) -> HealthReport | None:
    report = (await live.health()).get(component)
    return report if report and report.ok else None


async def read_some(servers: str, topic: str, enough: int) -> list[bytes]:
    partitions = [TopicPartition(topic, number) for number in range(4)]  # as the embedded broker makes them
    async with open_consumer(servers, "test") as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[bytes] = []
        async with asyncio.timeout(10):
            while len(found) < enough:
                batches = await consumer.getmany(timeout_ms=200)
                found += [record.value for records in batches.values() for record in records]
        return found


async def quotes_of(servers: str) -> list[QuoteBatch]:
    return [decode_quotes(record) for record in await read_some(servers, QUOTES_TOPIC, 3)]


async def test_simulated_quotes_of_every_instrument_reach_kafka_and_health_says_so(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
):
    await add_instruments(pool)
    async with running(SimulatedFeed(500, seed=1), pool, live, kafka_servers):
        report = await eventually(lambda: healthy(live, "market:simulated"), "the feed is healthy")
        quotes = await quotes_of(kafka_servers)
    assert "quotes/s, newest 0." in report.detail
    assert {number for batch in quotes for number in batch.instrument.tolist()} == {1, 2, 3}


async def test_the_walk_goes_on_from_the_live_price(pool: asyncpg.Pool, live: LiveStore, kafka_servers: str):
    await add_instruments(pool)
    await live.write_quotes({"ALHA": b'{"symbol":"ALHA","price":777.0}', "GONE": b'{"price":1}', "ALHB": b"garbage"})
    async with running(SimulatedFeed(500, seed=1), pool, live, kafka_servers):
        quotes = await quotes_of(kafka_servers)
    first = next(price for batch in quotes for price in batch.last[batch.instrument == 1].tolist())
    assert first == pytest.approx(777.0, rel=0.01)


async def test_a_recording_is_replayed_with_its_faults_as_dead_letters(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
):
    await add_instruments(pool)
    async with running(parse_feed(RECORDED), pool, live, kafka_servers):
        report = await eventually(lambda: healthy(live, "market:recorded"), "the replay has ended")
        records = await read_some(kafka_servers, QUOTES_TOPIC, 2)
        letters = [decode_dead_letter(record) for record in await read_some(kafka_servers, DEAD_LETTERS_TOPIC, 7)]
    assert report.detail == "the replay has ended: 4 quotes, 10 refused"
    assert sum(len(decode_quotes(record)) for record in records) == 4
    assert sum(letter.count for letter in letters) == 10


async def test_what_comes_late_is_waited_for(pool: asyncpg.Pool, live: LiveStore, kafka_servers: str):
    async with running(SimulatedFeed(500), pool, live, kafka_servers):
        waiting = await eventually(lambda: reported(live, "market:simulated", "waiting"), "the feed waits for the bank")
        assert not waiting.ok
        await add_instruments(pool)
        await eventually(lambda: healthy(live, "market:simulated"), "the feed is healthy")


async def test_without_kafka_the_feed_says_so_and_goes_on(pool: asyncpg.Pool, live: LiveStore):
    await add_instruments(pool)
    async with running(SimulatedFeed(500), pool, live, "127.0.0.1:1"):
        report = await eventually(lambda: reported(live, "market:simulated", "Kafka"), "the feed reports Kafka")
    assert not report.ok


async def test_a_missing_recording_is_said_in_the_health_report(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
):
    await add_instruments(pool)
    feed = parse_feed(RECORDED)
    assert isinstance(feed, RecordedFeed)
    async with running(replace(feed, path="/nowhere.csv"), pool, live, kafka_servers):
        report = await eventually(lambda: reported(live, "market:recorded", "no file"), "the feed reports the file")
    assert not report.ok


async def test_no_feed_is_a_feed_too(pool: asyncpg.Pool, live: LiveStore, kafka_servers: str):
    await add_instruments(pool)
    async with running(NoFeed(), pool, live, kafka_servers):
        report = await eventually(lambda: healthy(live, "market:none"), "the absence of a feed is reported")
    assert "no market feed" in report.detail


async def reported(live: LiveStore, component: str, word: str) -> HealthReport | None:
    report = (await live.health()).get(component)
    return report if report and word in report.detail else None


async def test_the_start_has_todays_newest_price_beside_the_closes(pool: asyncpg.Pool, live: LiveStore):
    await add_instruments(pool)
    async with pool.acquire() as connection:
        await connection.execute("insert into daily_prices values (2, $1, 123.0, false)", TODAY)
    start = await load_market(pool, TODAY)
    assert start.ids() == {"ALHA": 1, "ALHB": 2, "EUR/USD": 3}
    assert start.known().tolist() == [False, True, True, True]
    assert start.closes.shape == (31, 3)
    assert start.closes[-1, 1] == 123.0


async def test_live_prices_are_loaded_or_redis_is_named(live: LiveStore):
    await live.write_quotes({"ALHA": b'{"price":2.5}'})
    assert await load_prices(live, {"ALHA": 1}) == {1: 2.5}
    away = create_redis("redis://127.0.0.1:1/0", "test")
    with pytest.raises(RedisError):
        await load_prices(LiveStore(away), {"ALHA": 1})
    await away.aclose()


@pytest.mark.parametrize(
    ("quote", "price"),
    [
        (b'{"price":2.5,"last":3}', 2.5),
        (b'{"last":3}', 3.0),
        (b'{"price":0}', None),
        (b'{"price":-1}', None),
        (b'{"price":"2.5"}', None),
        (b'{"price":null}', None),
        (b"{}", None),
        (b"[1]", None),
        (b"nonsense", None),
    ],
)
def test_a_live_price_is_used_only_where_it_is_one(quote: bytes, price: float | None):
    assert parse_price(quote) == price


async def test_a_feed_that_has_fallen_silent_is_not_well():
    state = FeedState("simulated", ticks=5, newest_ns=10**18)
    publisher = QuotePublisher()
    assert describe_feed(state, publisher, 500.0, 10**18 + 10**9) == (True, "500 quotes/s, newest 1.0 s ago")
    assert describe_feed(state, publisher, 0.0, 10**18 + 60 * 10**9)[0] is False
    assert describe_feed(FeedState("simulated"), publisher, 0.0, 10**18) == (False, "no quote yet")
    letter = DeadLetter("t", 0, 0, "crossed", "", b"", 0)
    await publisher.refuse(letter)
    assert describe_feed(replace(state, finished=True), publisher, 0.0, 10**18)[0] is True
