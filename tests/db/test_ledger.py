import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from db.ledger import (
    Cursor,
    LedgerBooking,
    PositionSet,
    Stored,
    bookings_since,
    latest_position_sets,
    latest_versions,
    mark_bookings_published,
    mark_positions_published,
    read_cursor,
    store,
    unpublished_bookings,
    unpublished_positions,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def booking(bank, reference: str, minutes: int = 0) -> LedgerBooking:
    at = NOON + timedelta(minutes=minutes)
    return LedgerBooking(
        "iboss",
        reference,
        1,
        bank.portfolios["carol"],
        "buy",
        Decimal("-1900.5000"),
        "USD",
        at,
        at,
        1,
        Decimal("10.000000"),
        Decimal("190.05000000"),
        "Bought",
        Decimal("0.9123456789"),
    )


def position_set(bank, version: int, client: str = "carol") -> PositionSet:
    record = msgspec.json.encode({"version": version, "quantity": "10.50"})
    return PositionSet(bank.portfolios[client], version, NOON, NOON, record)


def cursor(position: str) -> Cursor:
    return Cursor("iboss", "transactions", position)


async def test_what_is_read_and_how_far_is_stored_together(bank) -> None:
    stored = await store(bank.connection, cursor("7"), [position_set(bank, 1)], [booking(bank, "R1")])
    assert stored == Stored(1, 1)
    assert await read_cursor(bank.connection, "iboss", "transactions") == "7"
    assert await read_cursor(bank.connection, "iboss", "other") is None
    assert await latest_versions(bank.connection) == {bank.portfolios["carol"]: 1}


async def test_what_is_stored_already_is_not_stored_again(bank) -> None:
    again = [booking(bank, "R1"), booking(bank, "R2")]
    await store(bank.connection, cursor("1"), [position_set(bank, 1)], again[:1])
    assert await store(bank.connection, cursor("2"), [position_set(bank, 1)], again) == Stored(0, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"portfolio_id": uuid4()}, {"instrument_id": 99}, {"currency": "XXX"}, {"rate_to_base": Decimal(0)}],
)
async def test_one_booking_that_cannot_be_stores_nothing_and_leaves_the_cursor(bank, wrong) -> None:
    await store(bank.connection, cursor("1"), [], [])
    bad = replace(booking(bank, "R2"), **wrong)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await store(bank.connection, cursor("2"), [position_set(bank, 1)], [booking(bank, "R1"), bad])
    assert await read_cursor(bank.connection, "iboss", "transactions") == "1"
    assert await bank.connection.fetchval("select count(*) from transactions") == 0


async def test_unpublished_bookings_come_oldest_first_as_they_were_stored_until_marked(bank) -> None:
    bookings = [booking(bank, "R2", 5), booking(bank, "R1", 1)]
    await store(bank.connection, None, [], bookings)
    found = await unpublished_bookings(bank.connection, 10)
    assert [replace(one, id=None) for one in found] == bookings[::-1]
    await mark_bookings_published(bank.connection, [found[0].id])
    assert [one.reference for one in await unpublished_bookings(bank.connection, 10)] == ["R2"]


async def test_a_booking_whose_rate_nobody_said_has_none(bank) -> None:
    await store(bank.connection, None, [], [replace(booking(bank, "R1"), rate_to_base=None)])
    (found,) = await unpublished_bookings(bank.connection, 1)
    assert found.rate_to_base is None


async def test_unpublished_positions_come_by_version_until_marked(bank) -> None:
    await store(bank.connection, None, [position_set(bank, 2), position_set(bank, 1)], [])
    found = await unpublished_positions(bank.connection, 10)
    assert [one.version for one in found] == [1, 2]
    assert msgspec.json.decode(found[0].record) == {"version": 1, "quantity": "10.50"}
    await mark_positions_published(bank.connection, [(one.portfolio_id, one.version) for one in found[:1]])
    assert [one.version for one in await unpublished_positions(bank.connection, 10)] == [2]


async def test_two_publishers_never_take_the_same_rows(own_bank, postgres_url: str) -> None:
    await store(own_bank.connection, None, [], [booking(own_bank, f"R{number}", number) for number in range(4)])
    other = await asyncpg.connect(postgres_url)
    async with own_bank.connection.transaction(), other.transaction():
        first, second = [await unpublished_bookings(one, 2) for one in (own_bank.connection, other)]
    await other.close()
    assert [one.reference for one in first + second] == ["R0", "R1", "R2", "R3"]


async def test_two_writers_of_the_same_page_store_every_row_once(own_bank, postgres_url: str) -> None:
    other = await asyncpg.connect(postgres_url)
    page = [booking(own_bank, f"R{number}") for number in range(50)]
    both = await asyncio.gather(
        *(store(one, cursor("50"), [position_set(own_bank, 1)], page) for one in (own_bank.connection, other))
    )
    await other.close()
    assert sum(one.bookings for one in both) == 50
    assert sum(one.positions for one in both) == 1


async def test_the_newest_positions_of_every_portfolio_are_streamed(own_bank) -> None:
    await store(
        own_bank.connection,
        None,
        [position_set(own_bank, 1), position_set(own_bank, 3), position_set(own_bank, 2, "dora")],
        [],
    )
    found = {one.portfolio_id: one.version async for one in latest_position_sets(own_bank.connection)}
    assert found == {own_bank.portfolios["carol"]: 3, own_bank.portfolios["dora"]: 2}


async def test_bookings_of_a_span_include_its_start_and_not_its_end(bank) -> None:
    await store(bank.connection, None, [], [booking(bank, f"R{minutes}", minutes) for minutes in range(4)])
    found = await bookings_since(
        bank.connection, bank.portfolios["carol"], NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)
    )
    assert [one.reference for one in found] == ["R1", "R2"]
