"""All portfolios are held against their bookings: breaks are listed, and what is under way is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fakes import eventually
from fakes_iboss import QUICK, open_simulator, portfolio_id, seed_tiny_bank, tiny_bank

from db.breaks import KeptBreak, breaks
from db.leases import Fence, LeaseLost, claim_lease
from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.iboss.client import open_iboss
from ingest.iboss.guard import CallGuard
from ingest.iboss.health import IbossHealth
from ingest.iboss.ledger_store import LedgerStore
from ingest.iboss.outbox import Outbox
from ingest.iboss.progress import Progress
from ingest.iboss.reconciliation import Outcome, Reconciler, reconcile_nightly, seconds_until
from ingest.iboss.worker import IbossWorker
from stream.kafka import open_producer

AT_ONCE = timedelta(0)


@dataclass
class Books:
    """Hold the tiny bank as it was read from the simulator, at rest."""

    pool: asyncpg.Pool
    progress: Progress

    async def reconcile(self, settled: timedelta = AT_ONCE) -> Outcome:
        return await Reconciler(self.pool, settled=settled).reconcile(self.progress)

    async def execute(self, query: str, *arguments: Any) -> None:
        async with self.pool.acquire() as connection:
            await connection.execute(query, *arguments)

    async def change_line(self, account: str, instrument: int, **fields: str) -> None:
        """Change the positions that IBOSS gave of an account."""
        async with self.pool.acquire() as connection:
            where = "where portfolio_id = $1"
            record = await connection.fetchval(f"select record from position_sets {where}", portfolio_id(account))
            for line in record["positions"]:
                if line["instrument"] == instrument:
                    line.update(fields)
            await connection.execute(f"update position_sets set record = $2 {where}", portfolio_id(account), record)

    async def open(self) -> dict[tuple[str, str, str | None], KeptBreak]:
        async with self.pool.acquire() as connection:
            return {(one.account, one.what, one.symbol): one for one in await breaks(connection)}


@pytest.fixture
async def books(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> AsyncIterator[Books]:
    redis = create_redis(redis_url, "tests")
    async with (
        open_pool(postgres_url, "tests") as pool,
        open_producer(kafka_servers, "tests") as producer,
        open_simulator(tmp_path) as simulator,
        open_iboss(simulator.address(), QUICK) as client,
    ):
        async with pool.acquire() as connection:
            await seed_tiny_bank(connection, tiny_bank())
        progress, health = Progress(), IbossHealth(LiveStore(redis), CallGuard())
        store, outbox = LedgerStore(pool), Outbox(pool, producer)
        await IbossWorker(client, store, outbox, health, progress=progress).poll()
        yield Books(pool, progress)
    await redis.aclose()


async def test_a_bank_that_agrees_has_no_breaks_and_says_how_many_it_compared(books: Books) -> None:
    outcome = await books.reconcile()
    assert (outcome.well, outcome.outcomes) == (True, {"compared": 3})
    assert await books.open() == {}
    assert "3 portfolios held against their bookings" in outcome.sentence()


async def test_a_lost_booking_shows_in_shares_and_in_cash_with_what_was_expected(books: Books) -> None:
    await books.execute("delete from transactions where reference_id = 'IB2-4'")
    outcome = await books.reconcile()
    found = await books.open()
    assert found.keys() == {("IB2", "quantity", "IBM"), ("IB2", "cash", "USD")}
    shares, cash = found["IB2", "quantity", "IBM"], found["IB2", "cash", "USD"]
    assert (shares.expected, shares.found, cash.expected, cash.found) == (0, 10, 10_000, 9_000)
    assert shares.portfolio_id == portfolio_id("IB2")
    assert not outcome.well
    assert "1 quantity" in outcome.sentence()


async def test_a_break_that_persists_keeps_its_beginning_and_is_resolved_when_it_is_gone(books: Books) -> None:
    await books.change_line("IB1", 3, quantity="10.000001")
    first = await books.reconcile()
    second = await books.reconcile()
    (kept,) = (await books.open()).values()
    assert (kept.first_seen, kept.last_seen) == (first.at, second.at)
    await books.change_line("IB1", 3, quantity="10")
    assert (await books.reconcile()).well
    assert await books.open() == {}


async def test_costs_are_derived_from_the_bookings_and_a_cent_is_let_pass(books: Books) -> None:
    await books.change_line("IB1", 3, cost_basis="1000.01")
    await books.change_line("IB2", 3, cost_basis="1000.02")
    await books.change_line("IB3", 3, cost_basis_base="900")
    await books.reconcile()
    found = await books.open()
    assert found.keys() == {("IB2", "cost_basis", "IBM"), ("IB3", "cost_basis_base", "IBM")}
    assert found["IB3", "cost_basis_base", "IBM"].expected == 1000


async def test_where_a_rate_is_missing_costs_in_base_currency_are_not_judged(books: Books) -> None:
    await books.execute("update transactions set rate_to_base = null where reference_id = 'IB3-6'")
    await books.change_line("IB3", 3, cost_basis_base="900")
    assert (await books.reconcile()).well


async def test_bookings_that_contradict_each_other_are_a_break_of_their_own(books: Books) -> None:
    await books.execute(
        "insert into transactions (account_id, portfolio_id, type, amount, currency, source, reference_id, "
        "instrument_id, quantity, processed_at) select account_id, portfolio_id, 'split', 0, currency, source, 'S1', "
        "4, 5, processed_at + interval '1 day' from transactions where reference_id = 'IB1-2'"
    )
    await books.reconcile()
    assert {("IB1", "bookings_contradict", None), ("IB1", "quantity", "BOND")} <= (await books.open()).keys()


async def test_what_has_just_come_or_is_not_read_to_its_end_is_no_break(books: Books) -> None:
    await books.execute("delete from transactions where reference_id = 'IB2-4'")
    assert (await books.reconcile(timedelta(minutes=1))).outcomes == {"unsettled": 3}
    await books.execute("update ingest_cursors set caught_up_at = null")
    assert (await books.reconcile()).outcomes == {"unsettled": 3}
    assert await books.open() == {}


async def test_what_is_booked_after_the_positions_were_made_is_no_break(books: Books) -> None:
    later = datetime.now(UTC) + timedelta(seconds=1)
    await books.execute("update transactions set processed_at = $1 where reference_id = 'IB2-4'", later)
    await books.change_line("IB2", 3, quantity="0", cost_basis="0", cost_basis_base="0")
    await books.change_line("IB2", 0, quantity="10000")
    assert (await books.reconcile()).well


async def test_positions_without_bookings_are_counted_and_bookings_without_positions_are_a_break(books: Books) -> None:
    await books.execute("delete from transactions where portfolio_id = $1", portfolio_id("IB1"))
    await books.execute("delete from position_sets where portfolio_id = $1", portfolio_id("IB2"))
    outcome = await books.reconcile()
    assert outcome.outcomes == {"compared": 2, "unexplained": 1}
    assert (await books.open()).keys() == {("IB2", "positions_missing", None)}


async def test_accounts_of_iboss_and_ours_are_held_together_and_imported_ones_are_none_of_its(books: Books) -> None:
    await books.execute("update portfolios set iboss_account_id = 'import:ibkr' where iboss_account_id = 'IB3'")
    books.progress.known = {"IB1": portfolio_id("IB1"), "IB2": portfolio_id("IB2"), "import:ibkr": portfolio_id("IB3")}
    books.progress.listed = frozenset({"IB1", "IB9"})
    await books.reconcile()
    assert (await books.open()).keys() == {("IB2", "account_missing", None), ("IB9", "account_unknown", None)}
    books.progress.listed = frozenset({"IB1", "IB2"})
    assert (await books.reconcile()).well


async def test_who_no_longer_leads_writes_no_breaks(books: Books) -> None:
    async with books.pool.acquire() as connection:
        epoch = await claim_lease(connection, "iboss", "another", 60.0)
    assert epoch is not None
    await books.execute("delete from transactions where reference_id = 'IB2-4'")
    with pytest.raises(LeaseLost):
        await Reconciler(books.pool, Fence("iboss", epoch - 1), AT_ONCE).reconcile()
    assert await books.open() == {}


async def test_it_begins_when_all_was_read_and_says_how_it_ended(books: Books) -> None:
    said: list[tuple[bool, str]] = []
    books.progress.caught_up.clear()
    work = reconcile_nightly(
        Reconciler(books.pool, settled=AT_ONCE), books.progress, lambda *words: said.append(words), 2
    )
    task = asyncio.create_task(work, name="reconciliation under test")
    await asyncio.sleep(0)
    assert not said
    books.progress.caught_up.set()
    await eventually(lambda: said, "it has reconciled")
    assert said[0][0] is True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_the_night_is_an_hour_of_utc_and_the_next_one_when_it_has_begun() -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert seconds_until(14, noon, 0.0) == 2 * 3600
    assert seconds_until(12, noon, 30.0) == 24 * 3600 + 30
    assert seconds_until(2, noon, 0.0) == 14 * 3600
