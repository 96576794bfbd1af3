"""Keep the table of market sessions filled: a year back and a quarter ahead, of every exchange that is traded on."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import asyncpg
import structlog

from analytics.sessions import UnknownExchange, find_sessions
from db.postgres import DATABASE_AWAY, acquire
from db.sessions import exchanges, replace_sessions

BACK = timedelta(days=366)
AHEAD = timedelta(days=92)
LOOK_EVERY_S = 600.0  # for exchanges that are new; the rest is written once a day
RETRY_S = 5.0

log = structlog.get_logger()


async def keep_sessions(pool: asyncpg.Pool) -> None:
    """Write sessions at the start, each day, and when an exchange is new; until cancelled."""
    written: tuple[date, list[str]] | None = None
    while True:
        today = datetime.now(UTC).date()
        pause = LOOK_EVERY_S
        try:
            async with acquire(pool) as connection:
                listed = await exchanges(connection)
            if written != (today, listed):
                await fill_sessions(pool, listed, today)
                written = (today, listed)
        except DATABASE_AWAY as error:
            log.warning("sessions wait for PostgreSQL", reason=repr(error))
            pause = RETRY_S
        await asyncio.sleep(pause)


async def fill_sessions(pool: asyncpg.Pool, listed: list[str], today: date) -> None:
    """Write the sessions of these exchanges around `today`; one without a calendar is left out, and logged.

    The calendars are computed in a thread: quotes do not wait for them.
    """
    first, last = today - BACK, today + AHEAD
    for exchange in listed:
        try:
            found = await asyncio.to_thread(find_sessions, [exchange], first, last)
        except UnknownExchange as error:
            log.warning("every weekday is taken for a session", exchange=exchange, reason=str(error))
            continue
        async with acquire(pool) as connection:
            await replace_sessions(connection, found, [exchange], first, last)
    log.info("sessions written", exchanges=len(listed), first=first.isoformat(), last=last.isoformat())
