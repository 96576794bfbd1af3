"""What IBOSS says reaches the ledger and Kafka, every booking once, whatever fails in between."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from fakes import eventually
from fakes_iboss import (
    INSTRUMENTS,
    QUICK,
    Simulator,
    open_simulator,
    portfolio_id,
    seed_instrument,
    seed_tiny_bank,
    tiny_bank,
    transaction,
    transactions,
)

from db.ledger import read_cursor
from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.iboss.client import open_iboss
from ingest.iboss.envelope import open_envelope
from ingest.iboss.errors import AccessDenied, QuotaExceeded, UnreadableAnswer
from ingest.iboss.guard import CallGuard
from ingest.iboss.health import IbossHealth
from ingest.iboss.ledger_store import LedgerStore
from ingest.iboss.outbox import Outbox
from ingest.iboss.pages import MOST_EMPTY
from ingest.iboss.parsing import parse_transactions
from ingest.iboss.records import (
    AccountPositions,
    AccountsPage,
    AccountVersion,
    PositionLine,
    PositionsPage,
    TransactionsPage,
)
from ingest.iboss.worker import IbossSource, IbossWorker, back_off, run_iboss
from stream.kafka import open_consumer, open_producer
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    POSITIONS_TOPIC,
    TRANSACTIONS_TOPIC,
    decode_booking,
    decode_dead_letter,
    decode_positions,
)


@dataclass
class Bench:
    """Hold what a worker needs beside its source."""

    pool: asyncpg.Pool
    outbox: Outbox
    health: IbossHealth
    live: LiveStore
    servers: str

    def worker(self, source: IbossSource, outbox: Outbox | None = None) -> IbossWorker:
        return IbossWorker(source, LedgerStore(self.pool), outbox or self.outbox, self.health)

    async def value(self, query: str) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetchval(query)

    async def cursor(self) -> str | None:
        async with self.pool.acquire() as connection:
            return await read_cursor(connection, "iboss", "transactions")

    async def records(self, topic: str, count: int) -> list[Any]:
        """Return the records of a topic when there are `count`, and fail when there are more."""
        found: list[Any] = []
        async with open_consumer(self.servers, "tests") as consumer:
            partitions = [TopicPartition(topic, number) for number in range(4)]  # as the embedded broker makes them
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            assert sum(ends.values()) == count
            while len(found) < count:
                batches = await asyncio.wait_for(consumer.getmany(timeout_ms=500), 10)
                found += [record for batch in batches.values() for record in batch]
        return found


@pytest.fixture
async def bench(postgres_url: str, redis_url: str, kafka_servers: str) -> AsyncIterator[Bench]:
    redis = create_redis(redis_url, "tests")
    async with open_pool(postgres_url, "tests") as pool, open_producer(kafka_servers, "tests") as producer:
        async with pool.acquire() as connection:
            await seed_tiny_bank(connection, tiny_bank())
        live = LiveStore(redis)
        yield Bench(pool, Outbox(pool, producer), IbossHealth(live, CallGuard()), live, kafka_servers)
    await redis.aclose()


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with open_simulator(tmp_path) as running:
        yield running


@dataclass
class FakeIboss:
    """Answer what a test puts in."""

    listed: list[AccountVersion] = field(default_factory=list)
    held: dict[str, AccountPositions] = field(default_factory=dict)
    pages: list[TransactionsPage] = field(default_factory=list)
    last_call_s: float = 0.0

    async def accounts(
        self, changed_after: int | None = None, after: str | None = None, limit: int = 1000
    ) -> AccountsPage:
        return AccountsPage(tuple(self.listed), (), None)

    async def positions(self, accounts: Sequence[str]) -> PositionsPage:
        if not set(accounts) <= self.held.keys():
            raise AccessDenied("not yours")
        return PositionsPage(tuple(self.held[one] for one in accounts), ())

    async def transactions(self, cursor: str | None = None, limit: int = 1000) -> TransactionsPage:
        return self.pages.pop(0) if self.pages else TransactionsPage((), (), cursor or "s0", False)

    def hold(
        self, account: str, version: int, *lines: PositionLine, currency: str = "USD", zone: str | None = None
    ) -> None:
        self.listed = [one for one in self.listed if one.account_id != account]
        self.listed.append(AccountVersion(account, "Growth", currency, version))
        self.held[account] = AccountPositions(account, currency, version, 1, lines, b"<Portfolio/>", zone)


class BrokenProducer:
    async def send(self, topic: str, value: bytes, key: bytes) -> None:
        raise KafkaTimeoutError


def line(symbol: str = "IBM", quantity: int = 10) -> PositionLine:
    return PositionLine(symbol, Decimal(quantity), Decimal(1000), Decimal(1000), Decimal(10), Decimal(0))


def page(*lines: str, cursor: str = "s9", more: str = "false") -> TransactionsPage:
    return parse_transactions(open_envelope(transactions(*lines, cursor=cursor, more=more), "GetTransactions"))


async def test_positions_and_bookings_reach_the_ledger_and_kafka(bench: Bench, simulator: Simulator) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        await bench.worker(client).poll()
    positions = [decode_positions(one.value) for one in await bench.records(POSITIONS_TOPIC, 3)]
    bookings = await bench.records(TRANSACTIONS_TOPIC, 6)
    (first,) = [one for one in positions if one.portfolio == str(portfolio_id("IB1"))]
    assert {one.instrument: one.quantity for one in first.positions} == {3: Decimal(10), 0: Decimal(9000)}
    assert {one.key.decode() for one in bookings} == {str(portfolio_id(one)) for one in ("IB1", "IB2", "IB3")}
    bought = next(decode_booking(one.value) for one in bookings if decode_booking(one.value).type == "buy")
    assert (bought.instrument, bought.quantity, bought.price, bought.amount) == (3, 10, 100, -1000)
    assert await bench.cursor() == "s6"


async def test_a_trade_is_noticed_and_nothing_else_is_sent_again(bench: Bench, simulator: Simulator) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        worker = bench.worker(client)
        await worker.poll()
        reference = await simulator.trade("IB2", "IBM", "-4", "130")
        await simulator.control(expire_sessions=True)
        await worker.poll()
        await worker.poll()
    newest = decode_positions((await bench.records(POSITIONS_TOPIC, 4))[-1].value)
    bookings = [decode_booking(one.value) for one in await bench.records(TRANSACTIONS_TOPIC, 7)]
    assert await bench.value("select count(*) from position_sets where published_at is null") == 0
    sold = next(one for one in bookings if one.reference == reference)
    assert (sold.quantity, sold.amount) == (-4, 520)
    assert newest.portfolio == str(portfolio_id("IB2"))
    (held,) = [one for one in newest.positions if one.instrument == 3]
    assert (held.quantity, held.opening_quantity, held.day_traded, held.cost_basis) == (6, 10, -520, 600)
    assert (held.day_traded_base, sold.rate_to_base) == (-520, 1)


async def test_a_restarted_worker_goes_on_where_the_ledger_is(bench: Bench, simulator: Simulator) -> None:
    for _ in range(2):
        async with open_iboss(simulator.address(), QUICK) as client:
            await bench.worker(client).poll()
    await bench.records(POSITIONS_TOPIC, 3)
    await bench.records(TRANSACTIONS_TOPIC, 6)


async def test_after_a_crash_between_commit_and_publish_every_booking_goes_out_once(bench: Bench) -> None:
    source = FakeIboss(pages=[page(transaction("R1"), transaction("R2"))])
    broken = Outbox(bench.pool, BrokenProducer())
    with pytest.raises(KafkaTimeoutError):
        await bench.worker(source, broken).poll()
    assert await bench.value("select count(*) from transactions where published_at is null") == 2
    await bench.worker(source).poll()
    await bench.worker(source).poll()
    assert {decode_booking(one.value).reference for one in await bench.records(TRANSACTIONS_TOPIC, 2)} == {"R1", "R2"}


async def test_a_page_that_is_read_twice_is_booked_once(bench: Bench) -> None:
    source = FakeIboss(pages=[page(transaction("R1")), page(transaction("R1"), transaction("R2"), cursor="s10")])
    worker = bench.worker(source)
    await worker.poll()
    await worker.poll()
    await bench.records(TRANSACTIONS_TOPIC, 2)


async def test_the_cursor_moves_only_with_what_was_read(bench: Bench) -> None:
    worker = bench.worker(FakeIboss(pages=[page(cursor="s99")]))
    await worker.poll()
    assert await bench.cursor() is None


async def test_a_failed_transaction_moves_nothing(bench: Bench) -> None:
    source = FakeIboss(pages=[page(transaction("R1"))])
    async with bench.pool.acquire() as connection:
        await connection.execute("alter table transactions rename to away")
    worker = bench.worker(source)
    with pytest.raises(asyncpg.UndefinedTableError):
        await worker.poll()
    assert await bench.cursor() is None


async def test_a_cursor_that_does_not_advance_is_an_error_and_not_a_loop(bench: Bench) -> None:
    stuck = page(transaction("R1"), more="true")
    worker = bench.worker(FakeIboss(pages=[stuck, stuck]))
    with pytest.raises(UnreadableAnswer, match="advance"):
        await worker.poll()


async def test_an_empty_page_that_announces_more_is_passed_over(bench: Bench) -> None:
    pages = [page(cursor="s5", more="true"), page(transaction("R1"), cursor="s9")]
    await bench.worker(FakeIboss(pages=pages)).poll()
    await bench.records(TRANSACTIONS_TOPIC, 1)
    assert await bench.cursor() == "s9"


@dataclass
class Endless(FakeIboss):
    """Announce more for ever: in a circle, without any booking, or with a new booking on every page."""

    cursors: Iterator[str] = field(default_factory=lambda: map(str, itertools.count()))
    full: bool = False
    asked: int = 0

    async def transactions(self, cursor: str | None = None, limit: int = 1000) -> TransactionsPage:
        self.asked += 1
        lines = [transaction(f"R{self.asked}")] if self.full else []
        return page(*lines, cursor=f"s{next(self.cursors)}", more="true")


@pytest.mark.parametrize(
    ("cursors", "full"),
    [(itertools.cycle("ab"), True), (map(str, itertools.count()), False)],
    ids=["in a circle", "with nothing on them"],
)
async def test_pages_that_lead_nowhere_are_an_error_and_not_a_loop(
    bench: Bench, cursors: Iterator[str], full: bool
) -> None:
    source = Endless(cursors=cursors, full=full)
    with pytest.raises(UnreadableAnswer, match="more bookings are announced"):
        await bench.worker(source).poll()
    assert source.asked <= MOST_EMPTY


async def test_a_history_without_end_lets_positions_have_their_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.iboss.pages.MOST_PAGES", 5)
    source = Endless(full=True)
    worker = bench.worker(source)
    await worker.poll()
    assert source.asked == 5
    source.hold("IB1", 1, line())
    await worker.poll()
    assert source.asked == 10
    await bench.records(POSITIONS_TOPIC, 1)
    await bench.records(TRANSACTIONS_TOPIC, 10)
    assert await bench.value("select caught_up_at from ingest_cursors where stream = 'transactions'") is None


async def test_where_bookings_were_read_to_their_end_it_is_written_down(bench: Bench) -> None:
    await bench.worker(FakeIboss(pages=[page(transaction("R1"))])).poll()
    seen = "select caught_up_at >= max(t.received_at) from ingest_cursors, transactions t group by caught_up_at"
    assert await bench.value(seen) is True


async def test_pages_of_accounts_that_repeat_one_count_it_once_and_those_in_a_circle_are_refused(bench: Bench) -> None:
    source = FakeIboss()
    source.hold("IB1", 1, line())
    places = iter(["a", "b", None])

    async def accounts(changed_after: int | None = None, after: str | None = None, limit: int = 1000) -> AccountsPage:
        return AccountsPage(tuple(source.listed), (), next(places))

    source.accounts = accounts  # type: ignore[method-assign]
    await bench.worker(source).poll()
    await bench.records(POSITIONS_TOPIC, 1)
    places = itertools.cycle("ab")
    with pytest.raises(UnreadableAnswer, match="repeat"):
        await bench.worker(source).poll()


class Crash(Exception):
    """Stand for the end of the process."""


@dataclass
class CrashingStore(LedgerStore):
    """Die before the transaction of a page, or after its commit."""

    pool: asyncpg.Pool
    before: bool

    def __post_init__(self) -> None:
        super().__init__(self.pool)

    async def keep(self, positions: Sequence[Any], bookings: Sequence[Any], cursor: str | None) -> None:
        if self.before:
            raise Crash
        await super().keep(positions, bookings, cursor)
        raise Crash


class CrashingPool:
    """Lend connections on which the mark that follows Kafka's acknowledgement is never made."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def acquire(self, **options: float) -> AsyncIterator[Any]:
        async with self._pool.acquire(**options) as connection:
            yield DyingConnection(connection)


class DyingConnection:
    """Die with the statement that marks bookings as published."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, query: str, *arguments: Any) -> Any:
        if "update transactions set published_at" in query:
            raise Crash
        return await self._connection.execute(query, *arguments)


@pytest.mark.parametrize("step", ["before the commit", "after the commit", "before the mark"])
async def test_a_crash_at_any_step_neither_loses_nor_doubles_a_booking(bench: Bench, step: str) -> None:
    def pages() -> list[TransactionsPage]:
        return [page(transaction("R1"), transaction("R2"), cursor="s2", more="true"), page(transaction("R3"))]

    first = FakeIboss(pages=pages())
    first.hold("IB1", 1, line())
    outbox = bench.outbox
    if step == "before the mark":
        async with open_producer(bench.servers, "tests") as producer:
            outbox = Outbox(CrashingPool(bench.pool), producer)
            with pytest.raises(Crash):
                await bench.worker(first, outbox).poll()
    else:
        store = CrashingStore(bench.pool, step == "before the commit")
        with pytest.raises(Crash):
            await IbossWorker(first, store, outbox, bench.health).poll()
    read = await bench.cursor()
    second = FakeIboss(pages=pages() if read is None else pages()[1:])  # IBOSS answers what follows the cursor
    second.listed, second.held = first.listed, first.held
    await bench.worker(second).poll()
    assert await bench.value("select count(*) from transactions") == 3
    assert await bench.value("select count(*) from transactions where published_at is null") == 0
    published = {"before the mark": 5}.get(step, 3)  # readers drop what they have, by source, reference and version
    bookings = [decode_booking(one.value) for one in await bench.records(TRANSACTIONS_TOPIC, published)]
    assert sorted({one.reference for one in bookings}) == ["R1", "R2", "R3"]
    assert await bench.cursor() == "s9"


async def test_bookings_that_cannot_be_used_become_dead_letters_and_the_page_goes_on(bench: Bench) -> None:
    bad = [
        transaction("B1", amount="lots"),
        transaction("B2", AccountId="IB404"),
        transaction("B3", Symbol="NOPE"),
        transaction("B4", Currency="XXX"),
    ]
    worker = bench.worker(FakeIboss(pages=[page(transaction("R1"), *bad, transaction("R2"))]))
    await worker.poll()
    letters = [decode_dead_letter(one.value) for one in await bench.records(DEAD_LETTERS_TOPIC, 4)]
    reasons = {"unreadable", "unknown_account", "unknown_instrument", "unknown_currency"}
    assert {one.reason for one in letters} == reasons
    assert {one.topic for one in letters} == {"iboss:GetTransactions"}
    assert all(one.payload.startswith(b"<Transaction") for one in letters)
    await bench.records(TRANSACTIONS_TOPIC, 2)
    assert await bench.cursor() == "s9"


async def test_a_booking_that_the_ledger_refuses_costs_only_itself(bench: Bench) -> None:
    source = FakeIboss()
    worker = bench.worker(source)
    await worker.poll()
    async with bench.pool.acquire() as connection:  # the worker still believes that this instrument is there
        await connection.execute("delete from instruments where symbol = 'BOND'")
    source.pages = [page(transaction("R1"), transaction("R2", Symbol="BOND"), transaction("R3"))]
    await worker.poll()
    await bench.records(TRANSACTIONS_TOPIC, 2)
    (letter,) = await bench.records(DEAD_LETTERS_TOPIC, 1)
    assert decode_dead_letter(letter.value).reason == "refused_by_ledger"
    assert await bench.cursor() == "s9"


async def test_unknown_accounts_and_symbols_refuse_a_portfolio_once_and_no_other(bench: Bench) -> None:
    source = FakeIboss()
    source.hold("IB1", 1, line())
    source.hold("IB2", 1, line(), line("NOPE"))
    source.hold("IB3", 1, line(), currency="CHF")
    source.hold("IB404", 1, line())
    worker = bench.worker(source)
    await worker.poll()
    await worker.poll()
    await bench.records(POSITIONS_TOPIC, 1)
    letters = [decode_dead_letter(one.value) for one in await bench.records(DEAD_LETTERS_TOPIC, 3)]
    assert {one.reason for one in letters} == {"unknown_account", "unknown_instrument", "base_currency_differs"}


async def test_positions_carry_the_zone_that_we_have_and_are_refused_where_iboss_has_another(bench: Bench) -> None:
    async with bench.pool.acquire() as connection:
        await connection.execute("update portfolios set time_zone = 'Asia/Dubai'")
    source = FakeIboss()
    source.hold("IB1", 1, line())
    source.hold("IB2", 1, line(), zone="Asia/Dubai")
    source.hold("IB3", 1, line(), zone="Europe/Zurich")
    await bench.worker(source).poll()
    found = [decode_positions(one.value) for one in await bench.records(POSITIONS_TOPIC, 2)]
    assert {one.time_zone for one in found} == {"Asia/Dubai"}
    (letter,) = await bench.records(DEAD_LETTERS_TOPIC, 1)
    assert decode_dead_letter(letter.value).reason == "time_zone_differs"


async def test_a_rate_that_cannot_be_costs_only_its_booking(bench: Bench) -> None:
    lines = [
        transaction("R1", RateToBase="0.8125"),
        transaction("R2", RateToBase="-1"),
        transaction("R3", RateToBase=""),
    ]
    await bench.worker(FakeIboss(pages=[page(*lines)])).poll()
    found = [decode_booking(one.value) for one in await bench.records(TRANSACTIONS_TOPIC, 2)]
    assert {(one.reference, one.rate_to_base) for one in found} == {("R1", Decimal("0.8125")), ("R3", None)}
    await bench.records(DEAD_LETTERS_TOPIC, 1)


async def test_a_refused_portfolio_is_taken_when_its_instrument_becomes_known(bench: Bench) -> None:
    source = FakeIboss()
    source.hold("IB1", 1, line("NEW"))
    await bench.worker(source).poll()
    async with bench.pool.acquire() as connection:
        await seed_instrument(connection, replace(INSTRUMENTS[3], id=9, symbol="NEW"))
    await bench.worker(source).poll()
    (record,) = await bench.records(POSITIONS_TOPIC, 1)
    assert decode_positions(record.value).positions[0].instrument == 9


async def test_a_new_version_with_the_same_content_is_not_published(bench: Bench) -> None:
    source = FakeIboss()
    worker = bench.worker(source)
    for version in (1, 2):
        source.hold("IB1", version, line())
        await worker.poll()
    source.hold("IB1", 3, line(quantity=11))
    await worker.poll()
    records = await bench.records(POSITIONS_TOPIC, 2)
    assert [decode_positions(one.value).version for one in records] == [1, 3]


async def test_an_account_that_we_may_not_see_does_not_hide_the_others(bench: Bench) -> None:
    source = FakeIboss()
    for account in ("IB1", "IB2", "IB3"):
        source.hold(account, 1, line())
    del source.held["IB2"]
    await bench.worker(source).poll()
    await bench.records(POSITIONS_TOPIC, 2)
    (letter,) = await bench.records(DEAD_LETTERS_TOPIC, 1)
    assert decode_dead_letter(letter.value).reason == "access_denied"


async def test_health_says_that_iboss_is_away_and_that_it_is_back(bench: Bench, simulator: Simulator) -> None:
    async def health(ok: bool) -> bool:
        report = (await bench.live.health()).get("iboss")
        return report is not None and report.ok is ok and report.detail != "starting"

    await simulator.control(fail_next=1_000_000, failure="http")
    async with _running(run_iboss(simulator.address(), bench.pool, bench.live, bench.servers, 0.05)):
        await eventually(lambda: health(False), "IBOSS is said to be away")
        await simulator.control(fail_next=0)
        await eventually(lambda: health(True), "IBOSS is said to be back")
    await bench.records(POSITIONS_TOPIC, 3)


async def test_the_worker_goes_on_by_itself_after_postgresql_was_away(
    bench: Bench, simulator: Simulator, postgres_url: str
) -> None:
    base, _, name = postgres_url.rpartition("/")
    admin = await asyncpg.connect(f"{base}/postgres")
    async with open_iboss(simulator.address(), QUICK) as client, _running(bench.worker(client).run(0.05)):
        await eventually(lambda: bench.health.state()[0], "the first poll is done")
        await admin.execute(f"alter database {name} allow_connections false")
        await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        await eventually(lambda: not bench.health.state()[0], "the poll fails")
        reference = await simulator.trade("IB1", "IBM", "1", "100")
        await admin.execute(f"alter database {name} allow_connections true")
        await eventually(lambda: bench.health.state()[0], "polls succeed again")
        booked = f"select count(*) from transactions where reference_id = '{reference}'"  # a reference of ours
        await eventually(lambda: bench.value(booked), "the trade is booked")
    await admin.close()


def test_the_wait_grows_with_failures_and_honours_what_iboss_asks_for() -> None:
    assert back_off(1, OSError()) <= 1.0
    assert 5.0 <= back_off(50, OSError()) <= 10.0
    assert back_off(1, QuotaExceeded("full", 40.0)) == 40.0


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name="worker under test")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
