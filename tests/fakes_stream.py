"""Run the stream worker on a small bank, feed its topics, and stand in for Redis and Kafka where a test must."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from books import MINOR_UNITS, SPECS, batch_inputs, create_prices, quotes
from fakes import eventually, open_server
from redis import ConnectionError as RedisUnreachable

from alhambra.embedded.valkey import ValkeyServer
from alhambra.ports import free_port
from analytics.revaluation import revalue
from db.ledger import PositionSet, store
from db.live import LiveStore, Totals, TotalsLayout, create_redis
from db.postgres import open_pool
from stream.__main__ import main
from stream.agreement import largest_difference
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    POSITIONS_TOPIC,
    QUOTES_TOPIC,
    DeadLetter,
    PortfolioPositions,
    Position,
    QuoteBatch,
    Valuation,
    decode_dead_letter,
    decode_valuation,
    encode_message,
    encode_quotes,
)
from stream.settings import StreamSettings

PARTITIONS = 4


@dataclass
class SmallBank:
    """A bank in PostgreSQL: the sample instruments at their closes of yesterday, and portfolios as they are added."""

    pool: asyncpg.Pool
    records: dict[str, PortfolioPositions] = field(default_factory=dict)
    client: UUID = field(default_factory=uuid4)

    async def found(self) -> None:
        """Write currencies, instruments, closes and one client."""
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        await self.pool.executemany("insert into currencies values ($1::text, $1::text, $2)", MINOR_UNITS.items())
        for spec in SPECS:
            await self.add_instrument(spec.id, spec.symbol, spec.asset_class, spec.currency, spec.base_currency)
            await self.pool.execute(
                "update instruments set price_factor = $2 where id = $1", spec.id, spec.price_factor
            )
            await self.add_close(spec.id, yesterday, spec.prior_close)
        await self.pool.execute(
            "insert into users (id, email, first_name, last_name) values ($1, 'carol@example.com', 'Carol', 'Test')",
            self.client,
        )

    async def add_instrument(
        self, number: int, symbol: str, asset_class: str, currency: str, base_currency: str | None = None
    ) -> None:
        """Write one instrument."""
        await self.pool.execute(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency) "
            "values ($1, $2, $2, $3, 'Sector', 'US', $4, $5)",
            number,
            symbol,
            asset_class,
            currency,
            base_currency,
        )

    async def add_close(self, number: int, day: date, close: float) -> None:
        """Write one close."""
        await self.pool.execute("insert into daily_prices values ($1, $2, $3)", number, day, close)

    async def add_portfolio(self, base_currency: str = "USD") -> str:
        """Write an account with a portfolio; returns the portfolio's id."""
        account, portfolio = uuid4(), uuid4()
        await self.pool.execute(
            "insert into accounts (id, user_id, account_number, account_type) values ($1, $2, $3, 'advisory')",
            account,
            self.client,
            account.hex[:20],
        )
        await self.pool.execute(
            "insert into portfolios (id, user_id, account_id, iboss_account_id, name, base_currency) "
            "values ($1, $2, $3, $4, 'Growth', $5)",
            portfolio,
            self.client,
            account,
            portfolio.hex,
            base_currency,
        )
        return str(portfolio)

    async def book(
        self, portfolio: str, base: str, version: int, *lines: tuple[int, str], event_ns: int | None = None
    ) -> PortfolioPositions:
        """Write positions (instrument, quantity) to the ledger as ingest does; returns the record."""
        record = positions_now(portfolio, base, version, *lines, event_ns=event_ns)
        at = datetime.fromtimestamp(record.event_ns / 1e9, UTC)
        async with self.pool.acquire() as connection:
            await store(connection, None, [PositionSet(UUID(portfolio), version, at, at, encode_message(record))], [])
        self.records[portfolio] = record
        return record

    async def add_booked(self, base: str, *lines: tuple[int, str]) -> str:
        """Write a portfolio with positions at version 1; returns its id."""
        portfolio = await self.add_portfolio(base)
        await self.book(portfolio, base, 1, *lines)
        return portfolio


def positions_now(
    portfolio: str, base: str, version: int, *lines: tuple[int, str], event_ns: int | None = None
) -> PortfolioPositions:
    """Return positions of now from (instrument, quantity), all of it held since the prior close, at cost 1000."""
    thousand, zero = Decimal(1000), Decimal(0)
    held = tuple(
        Position(number, Decimal(quantity), thousand, thousand, Decimal(quantity), zero) for number, quantity in lines
    )
    now_ns = time.time_ns() if event_ns is None else event_ns
    return PortfolioPositions(portfolio, version, base, held, now_ns, now_ns)


@asynccontextmanager
async def open_small_bank(url: str) -> AsyncIterator[SmallBank]:
    """Lend a founded bank with a pool of its own."""
    async with open_pool(url, "tests", size=4) as pool:
        bank = SmallBank(pool)
        await bank.found()
        yield bank


def read_valuation(document: bytes) -> Valuation:
    """Decode a valuation and see that its totals are the sums of its rows: whoever reads one here holds it to that."""
    found = decode_valuation(document)
    scale = 10 ** MINOR_UNITS[found.base_currency]
    minor = {name: round(getattr(found, name) * scale) for name in ("total_equity", "cash", "market_value", "day_pnl")}
    assert minor["total_equity"] == sum(round(row.value * scale) for row in found.rows), found
    assert minor["total_equity"] == minor["cash"] + minor["market_value"], found
    assert minor["day_pnl"] == sum(round(row.day_pnl * scale) for row in found.rows), found
    assert minor["day_pnl"] == round(found.day_pnl_price * scale) + round(found.day_pnl_currency * scale), found
    assert round(found.unrealised_pnl * scale) == sum(round(row.unrealised_pnl * scale) for row in found.rows), found
    for parts in found.allocation.values():
        assert minor["total_equity"] == sum(round(amount * scale) for amount in parts.values()), found
    assert abs(sum(row.weight for row in found.rows) - bool(minor["total_equity"])) < 1e-9, found
    assert abs(sum(row.contribution for row in found.rows) - found.day_pnl_pct) < 1e-6, found
    return found


class Feed:
    """Send to the topics, and keep the prices that a right worker must have."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.prices = create_prices()

    async def quote(self, *marks: tuple[int, float]) -> None:
        """Send trades (instrument, price) of now, each batch to a partition by its first instrument."""
        batch = quotes(*marks, event_ns=time.time_ns())
        self.prices.apply(batch, time.time_ns())
        await self.send_batch(batch)

    async def send_batch(self, batch: QuoteBatch) -> Any:
        """Send quotes whatever they are."""
        return await self.send(QUOTES_TOPIC, encode_quotes(batch), partition=int(batch.instrument[0]) % PARTITIONS)

    async def send_positions(self, record: PortfolioPositions) -> Any:
        """Send positions under their key."""
        return await self.send(POSITIONS_TOPIC, encode_message(record), key=record.portfolio.encode())

    async def send(self, topic: str, value: bytes | None, **where: Any) -> Any:
        """Send bytes whatever they are; returns where they stand."""
        return await self._producer.send_and_wait(topic, value, **where)

    def differs(self, valuation: Valuation, record: PortfolioPositions) -> float:
        """Return the largest difference between a valuation and its recomputation from what was sent."""
        self.prices.refresh(time.time_ns())
        terms, rates = batch_inputs(self.prices)
        return largest_difference(
            valuation, revalue(record.base_currency, record.positions, terms, rates), MINOR_UNITS[record.base_currency]
        )


@asynccontextmanager
async def open_feed(servers: str) -> AsyncIterator[Feed]:
    """Lend a producer to the topics."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        yield Feed(producer)
    finally:
        await producer.stop()


class Tail:
    """Everything that stands in a topic, read as it comes."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._values: list[bytes] = []

    async def values(self) -> list[bytes]:
        """Return all values so far."""
        found: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(timeout_ms=20)
        self._values += [record.value for records in found.values() for record in records]
        return self._values

    async def letters(self) -> list[DeadLetter]:
        """Return all dead letters so far."""
        return [decode_dead_letter(value) for value in await self.values()]

    async def valuations(self) -> list[Valuation]:
        """Return all valuations so far."""
        return [read_valuation(value) for value in await self.values()]


@asynccontextmanager
async def open_tail(servers: str, topic: str) -> AsyncIterator[Tail]:
    """Follow a topic from its beginning."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=10)
    await consumer.start()
    try:
        yield Tail(consumer)
    finally:
        await consumer.stop()


@asynccontextmanager
async def open_worker(settings: StreamSettings) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker in this process and end it; its failure is the test's failure."""
    task = asyncio.create_task(main(settings), name="stream worker")
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class OwnValkey:
    """A Valkey of one test's own, which can be ended and begun again, empty, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._server = ValkeyServer(folder, free_port(), "test")
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Return its address."""
        return self._server.url

    async def start(self) -> None:
        """Begin, and wait until it answers."""
        self._server.prepare()
        self._running.enter_context(open_server(self._server.launch(), self._server.folder.with_suffix(".log")))
        await eventually(self._server.answers, "Valkey answers")

    def stop(self) -> None:
        """End it; what it held is gone."""
        self._running.close()


@dataclass
class Stage:
    """All that a test of the whole worker needs: a bank, a feed, Redis, and what was sent out."""

    settings: StreamSettings
    servers: str
    bank: SmallBank
    feed: Feed
    live: LiveStore
    redis: Any
    letters: Tail
    wrong: list[str] = field(default_factory=list)

    async def valuation(self, portfolio: str) -> Valuation | None:
        """Return what Redis holds of a portfolio."""
        document = await self.live.valuation(portfolio)
        return None if document is None else read_valuation(document)

    async def is_right(self, portfolio: str, epoch: int = 0) -> Valuation | None:
        """Return the valuation in Redis where it equals its recomputation and is of `epoch` or a newer one."""
        found = await self.valuation(portfolio)
        if found is None or found.epoch < epoch or not self.bank.records[portfolio].positions:
            return None
        return found if self.feed.differs(found, self.bank.records[portfolio]) == 0.0 else None

    async def all_right(self, epoch: int = 0) -> bool:
        """Say whether every portfolio of the bank is valued rightly in Redis."""
        self.wrong = [one for one in self.bank.records if not await self.is_right(one, epoch)]
        return not self.wrong

    async def letter(self, reason: str) -> DeadLetter | None:
        """Return the newest dead letter with this reason."""
        return next((one for one in reversed(await self.letters.letters()) if one.reason == reason), None)


@asynccontextmanager
async def open_stage(postgres_url: str, redis_url: str, servers: str) -> AsyncIterator[Stage]:
    """Set the stage; the worker is not yet on it."""
    settings = StreamSettings(database_url=postgres_url, redis_url=redis_url, kafka_bootstrap_servers=servers)
    redis = create_redis(redis_url, "tests")
    async with (
        open_small_bank(postgres_url) as bank,
        open_feed(servers) as feed,
        open_tail(servers, DEAD_LETTERS_TOPIC) as letters,
    ):
        try:
            yield Stage(settings, servers, bank, feed, LiveStore(redis), redis, letters)
        finally:
            await redis.aclose()


class FakeStore:
    """Redis as the publisher sees it: rounds of (stored, published), and an outage at will."""

    def __init__(self) -> None:
        self.rounds: list[tuple[set[str], set[str]]] = []
        self.layouts: list[TotalsLayout] = []
        self.totals: list[Totals] = []
        self.quotes: dict[str, bytes] = {}
        self.away = False

    def _answer(self) -> None:
        if self.away:
            raise RedisUnreachable("away")

    async def write_valuations(self, stored: Mapping[str, bytes], published: Iterable[str]) -> None:
        """Take a round."""
        self._answer()
        for document in stored.values():
            read_valuation(document)
        self.rounds.append((set(stored), set(published)))

    async def write_layout(self, _worker: str, layout: TotalsLayout) -> None:
        """Take an order of columns."""
        self._answer()
        self.layouts.append(layout)

    async def write_totals(self, _worker: str, totals: Totals) -> None:
        """Take totals."""
        self._answer()
        self.totals.append(totals)

    async def write_quotes(self, quotes: Mapping[str, bytes]) -> None:
        """Take quotes."""
        self._answer()
        self.quotes.update(quotes)


class FakeProducer:
    """Kafka as the outbox sees it: what was acknowledged, and an outage at will."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes]] = []
        self.refusing: Exception | None = None
        self.refused = 0

    async def send(self, topic: str, value: bytes, key: bytes | None = None) -> asyncio.Future[None]:
        """Take a record; the acknowledgement, or the refusal, is in the future."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.refusing is not None:
            self.refused += 1
            future.set_exception(self.refusing)
        else:
            self.sent.append((topic, key, value))
            future.set_result(None)
        return future

    async def send_and_wait(self, topic: str, value: bytes, key: bytes | None = None) -> None:
        """Take a record and wait."""
        await (await self.send(topic, value, key))


class InterruptedPool:
    """A pool of connections to a PostgreSQL that goes away at will."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.away = False
        self.refused = 0

    def acquire(self, timeout: float) -> Any:
        """Lend a connection."""
        if self.away:
            self.refused += 1
            raise ConnectionRefusedError("away")
        return self._pool.acquire(timeout=timeout)
