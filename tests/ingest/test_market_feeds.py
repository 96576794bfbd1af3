"""Several feeds in one market worker, against venues of our own over real sockets."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from aiokafka import TopicPartition
from fakes import eventually
from fakes_markets import BinanceMarket, CoinbaseMarket
from fakes_venues import VenueServer

from db.live import HealthReport, LiveStore, create_redis
from db.postgres import open_pool
from ingest.leadership import Lease
from ingest.market.source import FeedSpec, parse_feeds
from ingest.market.worker import run_market
from stream.kafka import open_consumer
from stream.messages import DEAD_LETTERS_TOPIC, QUOTES_TOPIC, QuoteBatch, decode_dead_letter, decode_quotes

BTC, ETH, EURO = 1, 2, 3


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "test", size=3) as pool:
        async with pool.acquire() as connection:
            await connection.execute(
                "insert into currencies (code, name, minor_units) values ('USD', 'Dollar', 2), ('EUR', 'Euro', 2)"
            )
            await connection.executemany(
                "insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency, "
                "exchange) values ($1, $2, $2, $3, 'none', 'US', 'USD', $4, $5)",
                [
                    (BTC, "BTC/USD", "crypto", None, "24/7"),
                    (ETH, "ETH/USD", "crypto", None, "24/7"),
                    (EURO, "EUR/USD", "fx", "EUR", "24/5"),
                ],
            )
            await connection.execute("insert into daily_prices values (3, current_date - 1, 1.1)")
        yield pool


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(redis_url, "test")
    yield LiveStore(redis)
    await redis.aclose()


class Read(list[QuoteBatch]):
    """Every quote that reached Kafka, as it comes."""

    async def follow(self, servers: str) -> None:
        async with open_consumer(servers, "test") as consumer:
            partitions = [TopicPartition(QUOTES_TOPIC, number) for number in range(4)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            while True:
                batches = await consumer.getmany(timeout_ms=100)
                self += [decode_quotes(record.value) for records in batches.values() for record in records]

    def sources(self, instrument: int) -> set[str]:
        return {batch.source for batch in self if instrument in batch.instrument}

    def newest(self, instrument: int) -> tuple[str, float, float]:
        batch = next((one for one in reversed(self) if instrument in one.instrument), None)
        if batch is None:
            return "", 0.0, 0.0
        row = int((batch.instrument == instrument).nonzero()[0][-1])
        return batch.source, float(batch.bid[row]), float(batch.ask[row])


@asynccontextmanager
async def running(text: str, pool: asyncpg.Pool, live: LiveStore, servers: str) -> AsyncIterator[Read]:
    read = Read()
    feeds: tuple[FeedSpec, ...] = parse_feeds(text)
    tasks = [asyncio.create_task(run_market(feeds, pool, live, servers, Lease("market", 7)))]
    tasks.append(asyncio.create_task(read.follow(servers)))
    try:
        yield read
        assert not any(task.done() for task in tasks), tasks
    finally:
        for task in tasks:
            task.cancel()
        _, slow = await asyncio.wait(tasks, timeout=5)
    assert not slow


async def report(live: LiveStore, source: str, word: str = "", ok: bool = True) -> HealthReport | None:
    found = (await live.health()).get(f"market:{source}")
    return found if found and found.ok is ok and word in found.detail else None


async def test_the_better_venue_counts_the_other_stands_by_takes_over_and_gives_back(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
):
    first = VenueServer(CoinbaseMarket({"BTC-USD": 68_900.0, "ETH-USD": 3_500.0}))
    second = VenueServer(BinanceMarket({"BTCUSDT": 69_000.0, "ETHUSDT": 3_510.0}))
    async with second.open():
        await first.start()
        address = first.ws_url
        feeds = f"coinbase?url={address};binance?url={second.ws_url};simulated:50"
        async with running(feeds, pool, live, kafka_servers) as read:
            await eventually(lambda: report(live, "coinbase", "2 of 2 instruments live"), "coinbase is live")
            await eventually(lambda: report(live, "binance", "0 counted"), "binance stands by")
            assert read.sources(BTC) == {"coinbase"}
            assert all(batch.epoch == 7 for batch in read)
            feed = (await live.feeds())["coinbase"]
            assert (feed.rank, feed.counted, feed.states) == (0, 2, {"LIVE": 2})
            assert {one.venue_symbol for one in feed.instruments} == {"BTC-USD", "ETH-USD"}

            await first.stop()
            await eventually(lambda: read.newest(BTC)[0] == "binance", "binance takes over")
            gone = await eventually(lambda: report(live, "coinbase", "0 of 2", ok=False), "coinbase is said to be gone")
            assert "trying again" in gone.detail or "refused" in gone.detail
            assert read.sources(EURO) == {"simulated"}
            assert "simulated" not in read.sources(BTC)

            first.port = int(address.rpartition(":")[2])
            await first.start()
            await eventually(lambda: read.newest(BTC)[0] == "coinbase", "coinbase takes back", 60)
            await first.stop()


async def test_a_symbol_that_the_bank_adds_is_quoted_without_a_restart(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingest.market.worker.REFRESH_EVERY_S", 0.2)
    server = VenueServer(CoinbaseMarket({"BTC-USD": 68_900.0, "SOL-USD": 150.0}))
    async with server.open(), running(f"coinbase?url={server.ws_url}", pool, live, kafka_servers) as read:
        await eventually(lambda: read.newest(BTC)[1] > 0, "bitcoin is quoted")
        await pool.execute(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency, exchange) "
            "values (9, 'SOL/USD', 'Solana', 'crypto', 'none', 'US', 'USD', '24/7')"
        )
        await eventually(lambda: read.newest(9)[1] > 0, "the new one is quoted")
        await pool.execute("insert into instrument_symbols values ('coinbase', 'SOL-USD', 9, 'EUR', null)")
        await eventually(lambda: refused(live, "SOL-USD"), "another currency is refused")


async def refused(live: LiveStore, symbol: str) -> bool:
    feed = (await live.feeds()).get("coinbase")
    return feed is not None and "EUR" in feed.refused.get(symbol, "")


async def test_a_feed_that_cannot_be_made_is_said_and_the_others_go_on(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
):
    async with running("alpaca;simulated:50", pool, live, kafka_servers) as read:
        said = await eventually(lambda: report(live, "alpaca", "ALPACA_KEY_ID", ok=False), "the missing key is said")
        assert "environment" in said.detail
        await eventually(lambda: read.newest(EURO)[1] > 0, "the others go on")


SESSION = """wss://venue <-> 1700000000.0
1700000000.1: {"type":"snapshot","product_id":"BTC-USD","bids":[["100.0","1"]],"asks":[["101.0","1"]]}
what is this
1700000000.2: {"type":"l2update","product_id":"BTC-USD","changes":[["buy","100.5","2"]],"time":"2023-11-14T22:13:20.2Z"}
1700000000.3: {"type":
1700000000.9: {"type":"snapshot","product_id":"BTC-USD","bids":[["100.0","1"]],"asks":[["102.0","1"]]}
"""


async def test_a_recorded_session_is_replayed_as_the_venue_would_have_told_it(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str, tmp_path: Path
):
    file = tmp_path / "session.txt.gz"
    file.write_bytes(gzip.compress(SESSION.encode()))
    async with running(f"recorded:{file}?venue=coinbase&speed=4", pool, live, kafka_servers) as read:
        ended = await eventually(lambda: report(live, "recorded", "has ended"), "the replay ends")
        assert ended.detail == "the replay has ended: 3 quotes, 2 refused"
        await eventually(lambda: read.newest(BTC) == ("recorded", 100.0, 102.0), "the last book is there")
        letters = await dead_letters(kafka_servers, 2)
    assert letters == {"unreadable_line", "unreadable"}


async def dead_letters(servers: str, enough: int) -> set[str]:
    found: set[str] = set()
    partitions = [TopicPartition(DEAD_LETTERS_TOPIC, number) for number in range(4)]
    async with open_consumer(servers, "test-letters") as consumer, asyncio.timeout(10):
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        while len(found) < enough:
            batches = await consumer.getmany(timeout_ms=200)
            found |= {decode_dead_letter(one.value).reason for records in batches.values() for one in records}
    return found


async def test_a_session_that_is_not_there_is_said(pool: asyncpg.Pool, live: LiveStore, kafka_servers: str):
    async with running("recorded:/nowhere.txt?venue=coinbase", pool, live, kafka_servers):
        await eventually(lambda: report(live, "recorded", "cannot be read", ok=False), "the file is said to be missing")
