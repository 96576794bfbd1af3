"""The table of sessions is filled beside the feed, of the exchanges that instruments are traded on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest
from fakes import eventually

from db.postgres import open_pool
from db.sessions import sessions
from ingest.market.sessions import AHEAD, BACK, fill_sessions, keep_sessions

pytestmark = pytest.mark.integration
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "test", size=2) as lent:
        await lent.execute("insert into currencies values ('USD', 'Dollar', 2)")
        await lent.execute(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency, exchange) values "
            "(1, 'A', 'A', 'equity', 'x', 'US', 'USD', 'XNYS'), (2, 'USD', 'USD', 'cash', 'x', 'US', 'USD', null)"
        )
        yield lent


async def dates(pool: asyncpg.Pool) -> dict[str, list[date]]:
    async with pool.acquire() as connection:
        found = await sessions(connection, date.min)
    return {name: [one.date for one in found if one.exchange == name] for name in {one.exchange for one in found}}


async def test_a_year_back_and_a_quarter_ahead_are_written_at_the_start(pool: asyncpg.Pool) -> None:
    task = asyncio.create_task(keep_sessions(pool))
    try:
        found = await eventually(lambda: dates(pool), "sessions are there")
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert set(found) == {"XNYS"}
    assert found["XNYS"][0] - (TODAY - BACK) < timedelta(days=5)
    assert (TODAY + AHEAD) - found["XNYS"][-1] < timedelta(days=5)


async def test_an_exchange_without_a_calendar_does_not_keep_the_others_from_theirs(pool: asyncpg.Pool) -> None:
    await fill_sessions(pool, ["XDFM", "XNYS"], TODAY)
    assert set(await dates(pool)) == {"XNYS"}
