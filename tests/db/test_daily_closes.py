"""A history of closes is of one source: replaced wholly when the source changes, mended day by day after that."""

from __future__ import annotations

from datetime import date, timedelta

import asyncpg
import pytest

from db.daily_closes import write_closes
from db.instruments import record_closes

TODAY = date(2026, 11, 22)
DAY = timedelta(days=1)
OURS, THEIRS = "Coinbase daily closes", "Binance daily closes"


async def stored(connection: asyncpg.Connection) -> dict[date, tuple[float, bool]]:
    rows = await connection.fetch("select date, close, final from daily_prices where instrument_id = 1 order by date")
    return {row[0]: (row[1], row[2]) for row in rows}


async def source(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval("select history_source from instruments where id = 1"))


async def test_another_history_goes_and_todays_newest_price_stays(bank) -> None:
    for ago in (5, 4, 1, 0):
        await record_closes(bank.connection, TODAY - ago * DAY, {1: 10.0 + ago})
    await record_closes(bank.connection, TODAY, {2: 1.0})
    told = {TODAY - 2 * DAY: 98.0, TODAY - DAY: 99.0, TODAY: 100.0}
    assert await write_closes(bank.connection, 1, OURS, told, TODAY) == 2
    assert await stored(bank.connection) == {
        TODAY - 2 * DAY: (98.0, True),
        TODAY - DAY: (99.0, True),
        TODAY: (10.0, False),
    }
    assert await source(bank.connection) == OURS
    assert await bank.connection.fetchval("select count(*) from daily_prices where instrument_id = 2") == 1


async def test_the_same_source_adds_days_and_mends(bank) -> None:
    await write_closes(bank.connection, 1, OURS, {TODAY - 3 * DAY: 1.0, TODAY - 2 * DAY: 2.0}, TODAY - DAY)
    await record_closes(bank.connection, TODAY - DAY, {1: 2.9})
    told = {TODAY - 2 * DAY: 2.5, TODAY - DAY: 3.0}
    assert await write_closes(bank.connection, 1, OURS, told, TODAY) == 2
    assert await write_closes(bank.connection, 1, OURS, told, TODAY) == 0
    assert await stored(bank.connection) == {
        TODAY - 3 * DAY: (1.0, True),
        TODAY - 2 * DAY: (2.5, True),
        TODAY - DAY: (3.0, True),
    }


async def test_what_another_venue_keeps_is_left_alone_until_it_ends(bank) -> None:
    await write_closes(bank.connection, 1, THEIRS, {TODAY - DAY: 7.0}, TODAY)
    others = (OURS, THEIRS)
    assert await write_closes(bank.connection, 1, OURS, {TODAY - DAY: 8.0}, TODAY, others) == 0
    assert await source(bank.connection) == THEIRS
    assert await write_closes(bank.connection, 1, OURS, {TODAY: 9.0}, TODAY + 2 * DAY, others) == 1
    assert await stored(bank.connection) == {TODAY: (9.0, True)}
    assert await source(bank.connection) == OURS


async def test_nothing_told_changes_nothing(bank) -> None:
    await record_closes(bank.connection, TODAY - DAY, {1: 10.0})
    before = await source(bank.connection)
    assert await write_closes(bank.connection, 1, OURS, {TODAY: 5.0}, TODAY) == 0
    assert await source(bank.connection) == before
    assert len(await stored(bank.connection)) == 1


async def test_a_close_that_is_not_positive_changes_nothing(bank) -> None:
    await record_closes(bank.connection, TODAY - DAY, {1: 10.0})
    with pytest.raises(asyncpg.CheckViolationError):
        await write_closes(bank.connection, 1, OURS, {TODAY - DAY: 0.0}, TODAY)
    assert await stored(bank.connection) == {TODAY - DAY: (10.0, False)}
