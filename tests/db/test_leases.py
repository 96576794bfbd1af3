"""A source has one leader at a time, its epoch only grows, and a transaction of an older one writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
from fakes import eventually

from db import leases, postgres
from db.leases import (
    Fence,
    Holder,
    LeaseLost,
    claim_lease,
    lease_holder,
    release_lease,
    renew_lease,
    require_lease,
)
from db.ledger import Cursor, PositionSet, latest_versions, read_cursor, store, unpublished_positions
from db.postgres import open_pool

LONG_S = 600.0
OVER_S = 0.0  # a lease that is over at once: no test waits for time to pass


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "tests", size=12) as lent:
        yield lent


@pytest.fixture
async def one(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    async with pool.acquire() as connection:
        yield connection


@pytest.fixture
async def other(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    async with pool.acquire() as connection:
        yield connection


async def claim(connection: asyncpg.Connection, owner: str = "a", seconds: float = LONG_S, **more: int) -> int:
    epoch = await claim_lease(connection, "market", owner, seconds, **more)
    assert epoch is not None
    return epoch


async def test_one_of_many_who_ask_at_once_gets_the_lease(pool: asyncpg.Pool) -> None:
    async def ask(owner: str) -> int | None:
        async with pool.acquire() as connection:
            return await claim_lease(connection, "market", owner, LONG_S)

    for held in (False, True):  # the first time there is no row yet, then one whose lease is over
        if held:
            await pool.execute("update leases set expires_at = now()")
        epochs = [one for one in await asyncio.gather(*(ask(f"process {n}") for n in range(10))) if one is not None]
        assert len(epochs) == 1


async def test_sources_are_led_apart(one: asyncpg.Connection) -> None:
    assert await lease_holder(one, "market") is None
    epoch = await claim(one)
    assert await claim_lease(one, "iboss", "b", LONG_S) is not None
    assert await lease_holder(one, "market") == Holder("a", epoch)


async def test_a_lease_that_is_over_is_taken_in_a_higher_epoch_and_cannot_be_renewed_by_who_had_it(
    one: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    first = await claim(one, "a", OVER_S)
    second = await claim(other, "b")
    assert second > first
    assert not await renew_lease(one, Fence("market", first), LONG_S)
    await release_lease(one, Fence("market", first))  # changes nothing: it is another's
    assert await claim_lease(one, "market", "a", LONG_S) is None
    assert await renew_lease(other, Fence("market", second), LONG_S)


async def test_a_lease_that_ended_unnoticed_is_renewed_where_nobody_took_it(one: asyncpg.Connection) -> None:
    epoch = await claim(one, "a", OVER_S)
    assert await renew_lease(one, Fence("market", epoch), LONG_S)
    assert await claim_lease(one, "market", "b", LONG_S) is None


async def test_a_lease_that_is_given_up_is_free_at_once(one: asyncpg.Connection, other: asyncpg.Connection) -> None:
    epoch = await claim(one)
    await release_lease(one, Fence("market", epoch))
    assert await claim(other, "b") > epoch


async def test_the_lease_of_a_dead_holder_is_taken_before_it_ends_and_no_other(one: asyncpg.Connection) -> None:
    dead = await claim(one, "dead")
    assert await claim_lease(one, "market", "b", LONG_S, over=dead - 1) is None
    alive = await claim(one, "b", over=dead)
    assert alive > dead
    assert await claim_lease(one, "market", "c", LONG_S, over=dead) is None


async def test_epochs_grow_though_a_backup_was_restored(one: asyncpg.Connection) -> None:
    before = await claim(one)
    await one.execute("delete from leases")  # the backup is older than the first lease
    await asyncio.sleep(0.002)  # a restore takes longer
    assert await claim(one, "b") > before


async def test_a_fenced_transaction_of_an_older_epoch_writes_nothing(own_bank) -> None:
    connection = own_bank.connection
    now = datetime.now(UTC)
    positions = PositionSet(own_bank.portfolios["carol"], 1, now, now, b"{}")
    lost = Fence("iboss", await claim_lease(connection, "iboss", "a", OVER_S) or 0)
    held = Fence("iboss", await claim_lease(connection, "iboss", "b", LONG_S) or 0)
    cursor = Cursor("iboss", "transactions", "7")
    with pytest.raises(LeaseLost, match="iboss"):
        await store(connection, cursor, [positions], [], lost)
    assert await latest_versions(connection) == {}
    assert await read_cursor(connection, "iboss", "transactions") is None
    assert (await store(connection, cursor, [positions], [], held)).positions == 1


async def test_nobody_takes_over_in_the_middle_of_a_fenced_transaction_but_its_leader_may_renew(
    one: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    fence = Fence("market", await claim(one, "a", OVER_S))
    async with one.transaction():
        await require_lease(one, fence)
        assert await claim_lease(other, "market", "b", LONG_S) is None  # it is over, and still not free
        assert await asyncio.wait_for(renew_lease(other, fence, OVER_S), 5)
    assert await claim_lease(other, "market", "b", LONG_S) is not None


async def test_a_leader_stopped_in_the_middle_of_a_transaction_does_not_hold_up_the_next(
    one: asyncpg.Connection, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "IDLE_MS", 100)
    fence = Fence("market", await claim(one, "a", OVER_S))
    transaction = one.transaction()
    await transaction.start()
    await require_lease(one, fence)  # and here it is stopped

    async def taken_over() -> int | None:
        return await claim_lease(other, "market", "b", LONG_S)

    assert await eventually(taken_over, "the server ends the transaction") > fence.epoch
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await one.execute("insert into ingest_cursors (source, stream, cursor) values ('iboss', 'x', '1')")


async def test_rows_of_the_outbox_that_somebody_stopped_holds_are_free_again(
    postgres_url: str, own_bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    await store(own_bank.connection, None, [PositionSet(own_bank.portfolios["carol"], 1, now, now, b"{}")], [])
    monkeypatch.setattr(postgres, "IDLE_IN_TRANSACTION_MS", 100)
    async with open_pool(postgres_url, "tests", size=1) as pool:
        stopped = await pool.acquire()
        await stopped.execute("begin")
        assert len(await unpublished_positions(stopped, 10)) == 1  # and here it is stopped

        async def found() -> bool:
            async with own_bank.connection.transaction():
                return bool(await unpublished_positions(own_bank.connection, 10))

        await eventually(found, "another publishes them")
        await pool.release(stopped)
