"""Sessions follow the exchanges' calendars, but for what operations has entered by hand; zones are real ones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from analytics.sessions import Session
from db.instruments import instruments, prior_closes, record_closes
from db.sessions import exchanges, replace_sessions, sessions, time_zones

THURSDAY, FRIDAY = date(2026, 11, 26), date(2026, 11, 27)


def session(day: date, closes: int = 21, exchange: str = "XNYS") -> Session:
    return Session(
        exchange,
        day,
        datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC),
        datetime(day.year, day.month, day.day, closes, tzinfo=UTC),
    )


async def replace(connection: asyncpg.Connection, *found: Session) -> None:
    await replace_sessions(connection, found, ["XNYS"], THURSDAY, FRIDAY)


async def test_sessions_come_back_as_they_were_written(connection: asyncpg.Connection) -> None:
    both = [session(THURSDAY), session(FRIDAY, 18)]
    await replace(connection, *both)
    await replace(connection, *both)
    assert await sessions(connection, THURSDAY) == both
    assert await sessions(connection, FRIDAY) == both[1:]


async def test_a_session_that_the_calendar_drops_or_moves_is_dropped_or_moved(connection: asyncpg.Connection) -> None:
    other = session(THURSDAY, exchange="XTSE")
    await replace(connection, session(THURSDAY), session(FRIDAY))
    await replace_sessions(connection, [other], ["XTSE"], THURSDAY, FRIDAY)
    await replace(connection, session(FRIDAY, 18))
    assert await sessions(connection, THURSDAY) == [session(FRIDAY, 18), other]


async def test_what_operations_enters_stays(connection: asyncpg.Connection) -> None:
    """An unscheduled closing on one day, an early close on the other."""
    await connection.execute(
        "insert into market_sessions values ('XNYS', $1, null, null, 'operations'), ('XNYS', $2, $3, $4, 'operations')",
        THURSDAY,
        FRIDAY,
        session(FRIDAY).opens_at,
        session(FRIDAY, 16).closes_at,
    )
    await replace(connection, session(THURSDAY), session(FRIDAY))
    assert await sessions(connection, THURSDAY) == [session(FRIDAY, 16)]
    await replace(connection)
    assert await sessions(connection, THURSDAY) == [session(FRIDAY, 16)]


async def test_exchanges_are_those_of_instruments(bank) -> None:
    assert await exchanges(bank.connection) == []
    await bank.connection.execute("update instruments set exchange = 'XNAS' where id = 1")
    assert await exchanges(bank.connection) == ["XNAS"]
    assert [one.exchange for one in await instruments(bank.connection)] == ["XNAS", None]


async def test_a_portfolio_has_a_time_zone_that_everybody_knows(bank) -> None:
    assert await time_zones(bank.connection) == ["UTC"]
    await bank.connection.execute("update portfolios set time_zone = 'Asia/Dubai'")
    assert await time_zones(bank.connection) == ["Asia/Dubai"]


@pytest.mark.parametrize("zone", ["Asia/Dubay", "EST", "FOO+3", "Mars/Olympus+3", "", "asia/dubai"])
async def test_a_time_zone_nobody_knows_is_refused(bank, zone: str) -> None:
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.InvalidParameterValueError)):
        await bank.connection.execute("update portfolios set time_zone = $1", zone)


async def test_the_prior_close_is_looked_up_by_exchange(bank) -> None:
    await bank.connection.execute("update instruments set exchange = 'XNYS' where id = 1")
    for day in (THURSDAY, FRIDAY):
        await record_closes(bank.connection, day, {1: float(day.day), 2: 1.0})
    after = FRIDAY + timedelta(days=1)
    assert await prior_closes(bank.connection, after) == {1: (27.0, FRIDAY), 2: (1.0, FRIDAY)}
    assert await prior_closes(bank.connection, after, {"XNYS": FRIDAY, "XTSE": THURSDAY}) == {
        1: (26.0, THURSDAY),
        2: (1.0, FRIDAY),
    }


async def test_a_close_becomes_final_with_the_next_of_its_own_instrument(bank) -> None:
    """Sydney's Tuesday has begun while New York's Monday may still be corrected."""
    await record_closes(bank.connection, THURSDAY, {1: 26.0, 2: 1.0})
    await record_closes(bank.connection, FRIDAY, {2: 1.0})
    await record_closes(bank.connection, THURSDAY, {1: 26.5, 2: 9.0})
    assert await prior_closes(bank.connection, FRIDAY) == {1: (26.5, THURSDAY), 2: (1.0, THURSDAY)}
