"""Read and write the sessions of exchanges: what the calendars say, and what operations knows better."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

import asyncpg

from analytics.sessions import Session


async def sessions(connection: asyncpg.Connection, since: date) -> list[Session]:
    """Return all sessions of dates from `since` on, by exchange and date; without dates that are closed by hand."""
    rows = await connection.fetch(
        "select exchange, date, opens_at, closes_at from market_sessions "
        "where date >= $1 and opens_at is not null order by exchange, date",
        since,
    )
    return [Session(*row.values()) for row in rows]


async def exchanges(connection: asyncpg.Connection) -> list[str]:
    """Return the exchanges of all instruments, in order."""
    rows = await connection.fetch("select distinct exchange from instruments where exchange is not null order by 1")
    return [row[0] for row in rows]


async def time_zones(connection: asyncpg.Connection) -> list[str]:
    """Return the time zones of all portfolios, in order."""
    rows = await connection.fetch("select distinct time_zone from portfolios order by 1")
    return [row[0] for row in rows]


async def replace_sessions(
    connection: asyncpg.Connection, found: Sequence[Session], covered: Collection[str], first: date, last: date
) -> None:
    """Make `found` the sessions of the exchanges `covered` from `first` to `last`; rows of operations stay."""
    columns = (
        [one.exchange for one in found],
        [one.date for one in found],
        [one.opens_at for one in found],
        [one.closes_at for one in found],
    )
    async with connection.transaction():
        await connection.execute(
            "delete from market_sessions m where exchange = any($1::text[]) and date between $2 and $3 "
            "and source = 'calendar' and not exists (select from unnest($4::text[], $5::date[]) as f (exchange, date) "
            "where f.exchange = m.exchange and f.date = m.date)",
            list(covered),
            first,
            last,
            *columns[:2],
        )
        await connection.execute(
            "insert into market_sessions (exchange, date, opens_at, closes_at) "
            "select * from unnest($1::text[], $2::date[], $3::timestamptz[], $4::timestamptz[]) "
            "on conflict (exchange, date) do update set opens_at = excluded.opens_at, closes_at = excluded.closes_at "
            "where market_sessions.source = 'calendar' and (market_sessions.opens_at, market_sessions.closes_at) "
            "is distinct from (excluded.opens_at, excluded.closes_at)",
            *columns,
        )
