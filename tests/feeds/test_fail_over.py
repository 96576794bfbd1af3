"""The whole market worker between local venues and a broker: which feed counts, what is refused, what is said."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from fakes import eventually
from fakes_documents import QuoteDocuments
from fakes_feeds import quotes_at
from fakes_markets import BinanceMarket, CoinbaseMarket
from fakes_venues import VenueServer

from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.market.source import parse_feeds
from ingest.market.worker import run_market
from ingest.venues.venue import Keys
from stream.kafka import open_consumer
from stream.messages import DEAD_LETTERS_TOPIC, QUOTES_TOPIC, DeadLetter, decode_dead_letter, decode_quotes

TODAY = datetime.now(UTC).date()
BTC, ETH, LSE = 1, 2, 3


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "test", size=2) as pool:
        async with pool.acquire() as connection:
            await connection.execute(
                "insert into currencies (code, name, minor_units) values ('USD', 'Dollar', 2), ('GBP', 'Pound', 2)"
            )
            await connection.executemany(
                "insert into instruments (id, symbol, name, asset_class, sector, country, currency) "
                "values ($1, $2, $2, $3, 'none', 'US', $4)",
                [
                    (BTC, "BTC/USD", "crypto", "USD"),
                    (ETH, "ETH/USD", "crypto", "USD"),
                    (LSE, "ALHL", "equity", "GBP"),
                ],
            )
            closes = ((BTC, 68_900.0), (ETH, 3_500.0), (LSE, 12.0))
            await connection.executemany(
                "insert into daily_prices (instrument_id, date, close) values ($1, $2, $3)",
                [(number, TODAY - timedelta(days), close) for number, close in closes for days in range(1, 5)],
            )
        yield pool


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(redis_url, "test")
    yield LiveStore(redis)
    await redis.aclose()


@dataclass
class Published:
    """All that the worker has published: quotes by instrument as (source, bid, ask, last, event time)."""

    quotes: dict[int, list[tuple[str, float, float, float, int]]] = field(default_factory=lambda: defaultdict(list))
    letters: list[DeadLetter] = field(default_factory=list)

    def sources(self, number: int) -> list[str]:
        """Return whose quotes an instrument had, in their order, each once in a row."""
        found: list[str] = []
        for source, *_ in self.quotes[number]:
            if found[-1:] != [source]:
                found.append(source)
        return found

    def newest(self, number: int) -> tuple[str, float, float]:
        """Return source, bid and ask of the newest quote of an instrument."""
        return self.quotes[number][-1][:3] if self.quotes[number] else ("", 0.0, 0.0)

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        """Take what comes, until cancelled."""
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=50)).items():
                for record in records:
                    if partition.topic == DEAD_LETTERS_TOPIC:
                        self.letters.append(decode_dead_letter(record.value))
                    else:
                        self._take(record.value)

    def _take(self, value: bytes) -> None:
        batch = decode_quotes(value)
        columns = (batch.instrument, batch.bid, batch.ask, batch.last, batch.event_ns)
        for number, bid, ask, last, event_ns in zip(*(column.tolist() for column in columns), strict=True):
            self.quotes[number].append((batch.source, bid, ask, last, event_ns))


@asynccontextmanager
async def publishing(feeds: str, pool: asyncpg.Pool, live: LiveStore, servers: str) -> AsyncIterator[Published]:
    """Run the worker with these feeds."""
    published = Published()
    partitions = [TopicPartition(topic, number) for topic in (QUOTES_TOPIC, DEAD_LETTERS_TOPIC) for number in range(4)]
    async with open_consumer(servers, "test") as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        tasks = [
            asyncio.create_task(run_market(parse_feeds(feeds), pool, live, servers, None, Keys())),
            asyncio.create_task(published.read(consumer)),
        ]
        try:
            yield published
            assert not any(task.done() for task in tasks), "the worker goes on"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)
            assert all(task.done() for task in tasks)


def says(live: LiveStore, component: str, words: str, ok: bool | None = None) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        report = (await live.health()).get(component)
        return report is not None and words in report.detail and ok in (None, report.ok)

    return look


@asynccontextmanager
async def two_coinbases() -> AsyncIterator[tuple[VenueServer, VenueServer, str]]:
    """Run two venues for the same instruments, of which the second asks fifty dollars more."""
    first = CoinbaseMarket({"BTC-USD": 68_900.0, "ETH-USD": 3_500.0}, seed=1)
    second = CoinbaseMarket({"BTC-USD": 68_950.0, "ETH-USD": 3_550.0}, seed=2)
    async with VenueServer(first).open() as one, VenueServer(second).open() as two:
        feeds = (
            f"coinbase?name=first&url={one.ws_url}&silent_after=1;coinbase?name=second&url={two.ws_url}&silent_after=1"
        )
        yield one, two, feeds


async def test_the_second_takes_over_when_the_first_is_silent_and_gives_back_when_it_is_steady(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    async with two_coinbases() as (one, two, feeds), publishing(feeds, pool, live, kafka_servers) as published:
        await eventually(lambda: published.newest(BTC)[0] == published.newest(ETH)[0] == "first", "the first is heard")
        await asyncio.sleep(1.0)
        assert published.sources(BTC) == ["first"], "the second is heard and does not count"

        one.faults.silent = True
        fell = time.monotonic()
        await eventually(
            lambda: published.newest(BTC)[0] == published.newest(ETH)[0] == "second", "the second takes over"
        )
        assert time.monotonic() - fell < 5.0
        await eventually(
            says(live, "market:first", "nothing has come", ok=False), "health says that the first is silent"
        )
        await eventually(says(live, "market:second", "2 of 2 instruments live", ok=True), "health says who speaks")

        one.faults.silent = False
        await eventually(
            lambda: published.newest(BTC)[0] == published.newest(ETH)[0] == "first", "the first is back", 40.0
        )
        reports = await live.feeds()
        assert published.sources(BTC) == published.sources(ETH) == ["first", "second", "first"]
    assert set(reports) == {"first", "second"}
    for number in (BTC, ETH):
        times = [row[4] for row in published.quotes[number]]
        assert times == sorted(times), "who takes the newest by its time takes every quote"
        check_prices(published, number, {"first": one, "second": two})


def check_prices(published: Published, number: int, servers: dict[str, VenueServer]) -> None:
    symbol = {BTC: "BTC-USD", ETH: "ETH-USD"}[number]
    for source, bid, ask, *_ in published.quotes[number]:
        assert (bid, ask) in servers[source].market.true_tops[symbol]  # type: ignore[attr-defined]


async def test_one_instrument_with_a_gap_goes_over_alone(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    async with two_coinbases() as (one, _, feeds), publishing(feeds, pool, live, kafka_servers) as published:
        await eventually(lambda: published.newest(BTC)[0] == published.newest(ETH)[0] == "first", "the first is heard")
        market = one.market
        assert isinstance(market, CoinbaseMarket)
        market.withholds = True  # so that the gap lasts
        for wire in tuple(one.wires):
            crossing = {"changes": [["buy", "90000.00", "1"]], "time": market.now()}
            await wire.frame(json.dumps({"type": "l2update", "product_id": "BTC-USD", **crossing}))
        await eventually(lambda: published.newest(BTC)[0] == "second", "the second takes over what has a gap")
        await asyncio.sleep(1.0)
        assert published.sources(ETH) == ["first"], "what has none stays"
        assert all(bid < 70_000 for _, bid, *_ in published.quotes[BTC]), "the gap is never published"


async def test_one_instrument_that_falls_silent_goes_over_alone(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    async with two_coinbases() as (one, _, feeds), publishing(feeds, pool, live, kafka_servers) as published:
        await eventually(lambda: published.newest(BTC)[0] == published.newest(ETH)[0] == "first", "the first is heard")
        market = one.market
        assert isinstance(market, CoinbaseMarket)
        market.moving = False

        async def only_ether_moves() -> bool:
            await market.move("ETH-USD")
            return published.newest(BTC)[0] == "second"

        await eventually(only_ether_moves, "the second takes over what is silent")
        assert published.sources(ETH) == ["first"], "what is not stays"
        market.moving = True
        await eventually(lambda: published.newest(BTC)[0] == "first", "and gives it back when it speaks again")


async def test_a_feed_that_flickers_is_not_taken_back_before_it_is_steady(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    async with two_coinbases() as (one, _, feeds), publishing(feeds, pool, live, kafka_servers) as published:
        await eventually(lambda: published.newest(BTC)[0] == "first", "the first is heard")
        # it can be back at once, before anybody has looked: so it is held off until somebody has
        await eventually(lambda: one.break_off() or published.newest(BTC)[0] == "second", "the second takes over")
        for count in range(2, 5):
            await eventually(lambda: one.wires, "the first is back")
            await asyncio.sleep(0.2)
            one.break_off()
            handshakes = len(one.handshakes)
            await eventually(lambda h=handshakes: len(one.handshakes) > h, f"loss {count}", 20.0)
        assert published.sources(BTC) == ["first", "second"]


async def test_the_bank_may_rank_feeds_for_an_instrument(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    async with pool.acquire() as connection:
        await connection.execute(
            "insert into instrument_symbols (source, symbol, instrument_id, priority) "
            "values ('second', 'ETH-USD', $1, 1)",
            ETH,
        )
    async with two_coinbases() as (_, two, feeds), publishing(feeds, pool, live, kafka_servers) as published:
        await eventually(lambda: published.newest(BTC)[0] == "first", "the first in order")
        await eventually(lambda: published.newest(ETH)[0] == "second", "but for what the bank says")
        two.faults.silent = True
        await eventually(lambda: published.newest(ETH)[0] == "first", "which falls back to the others")


async def tell(server: VenueServer, stream: str, **data: object) -> None:
    for wire in tuple(server.wires):
        await wire.frame(json.dumps({"stream": stream, "data": data}))


async def test_ticks_that_cannot_be_are_put_away_with_a_reason_and_never_published(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    market = BinanceMarket({"BTCUSDT": 68_900.0, "ETHUSDT": 3_500.0}, moving=False)
    async with VenueServer(market).open() as server:
        feed = f"binance?url={server.ws_url}&silent_after=60"
        async with publishing(feed, pool, live, kafka_servers) as published:
            await eventually(lambda: published.newest(BTC)[1] and published.newest(ETH)[1], "quotes come")
            number, ms = 10**9, time.time_ns() // 10**6

            async def book(bid: str, ask: str) -> None:
                nonlocal number
                number += 1
                await tell(server, "btcusdt@bookTicker", u=number, s="BTCUSDT", b=bid, B="1", a=ask, A="1")
                await asyncio.sleep(0.1)

            async def deal(price: str, at: int) -> None:
                nonlocal number
                number += 1
                common = {"e": "aggTrade", "E": at, "s": "ETHUSDT", "a": number, "f": number, "l": number, "T": at}
                await tell(server, "ethusdt@aggTrade", **common, p=price, q="1", m=True, M=True)
                await asyncio.sleep(0.1)

            await book("68905.00", "68904.00")  # crossed
            await book("137800.00", "137801.00")  # a slip: twice the price
            await book("6890.00", "6890.10")  # another: a digit is missing
            await book("68900.00", "not a price")
            await book("-1.00", "68900.00")
            await deal("3500.00", ms + 3_600_000)  # in an hour
            await deal("0.00", ms)
            await deal("1e400", ms)
            await book("68901.00", "68901.10")
            await eventually(lambda: published.newest(BTC)[1:] == (68_901.0, 68_901.1), "what is right goes on")
            wanted = {"crossed", "far_from_last", "future", "unreadable"}
            await eventually(lambda: {letter.reason for letter in published.letters} >= wanted, "all are put away")
            assert all(68_890 < bid < ask < 68_910 for _, bid, ask, *_ in published.quotes[BTC])
            assert all(3_490 < bid < ask < 3_510 for _, bid, ask, *_ in published.quotes[ETH])
            assert all(last != last or last == 3_500.0 for *_, last, _ in published.quotes[ETH])


async def test_a_price_that_has_really_moved_far_is_believed_within_seconds(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    market = CoinbaseMarket({"BTC-USD": 68_900.0, "ETH-USD": 3_500.0})
    async with (
        VenueServer(market).open() as server,
        publishing(f"coinbase?url={server.ws_url}", pool, live, kafka_servers) as published,
    ):
        await eventually(lambda: published.newest(BTC)[1], "quotes come")
        fell = time.monotonic()
        await market.jump("BTC-USD", 40_000.0)
        await eventually(lambda: 39_000 < published.newest(BTC)[1] < 41_000, "the fall is believed")
        assert 1.5 < time.monotonic() - fell < 8.0
        await eventually(lambda: any(one.reason == "far_from_last" for one in published.letters), "and was doubted")


async def test_pence_become_pounds_and_dollars_do_not(pool: asyncpg.Pool, live: LiveStore, kafka_servers: str) -> None:
    async with pool.acquire() as connection:
        await connection.executemany(
            "insert into instrument_symbols (source, symbol, instrument_id, quoted_in) values ($1, $2, $3, $4)",
            [("prices", "ALHL.L", LSE, "GBX"), ("prices", "ALHL.US", LSE, "USD")],
        )
    market = QuoteDocuments({"ALHL.L": (1_210.0, 1_212.0), "ALHL.US": (15.0, 15.1)})
    async with VenueServer(market).open() as server:
        options = "&".join(f"{name}={value}" for name, value in quotes_at(server, name="prices").items())
        async with publishing(f"http?{options}", pool, live, kafka_servers) as published:
            await eventually(lambda: published.newest(LSE)[1], "quotes come")
            assert [row[1:3] for row in published.quotes[LSE]] == [(pytest.approx(12.10), pytest.approx(12.12))]
            reports = await eventually(live.feeds, "the feed reports")
            assert "USD" in reports["prices"].refused["ALHL.US"]


async def test_a_venue_that_is_not_there_is_said_and_the_others_go_on(
    pool: asyncpg.Pool, live: LiveStore, kafka_servers: str
) -> None:
    async with VenueServer(CoinbaseMarket({"BTC-USD": 68_900.0, "ETH-USD": 3_500.0})).open() as server:
        feeds = f"binance?url=ws://127.0.0.1:1;coinbase?url={server.ws_url};simulated:50"
        async with publishing(feeds, pool, live, kafka_servers) as published:
            await eventually(lambda: published.newest(BTC)[0] == "coinbase", "the next best is heard")
            await eventually(lambda: published.newest(LSE)[0] == "simulated", "and the last for the rest")
            await eventually(says(live, "market:binance", "nothing listens there", ok=False), "health says why")
            await eventually(says(live, "market:coinbase", "2 of 2 instruments live", ok=True), "health says who")
            await asyncio.sleep(1.0)
            assert "simulated" not in published.sources(BTC)[1:]
