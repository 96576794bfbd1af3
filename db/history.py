"""Keep what portfolios were worth at the end of each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg


@dataclass(frozen=True, slots=True)
class DailyValuation:
    """Hold a portfolio's close of a day in base currency; see the comments on table `daily_valuations`."""

    portfolio_id: UUID
    date: date
    total_equity: Decimal
    net_flow: Decimal
    day_return: float
    ended_at: datetime | None = None


async def newest_close(connection: asyncpg.Connection, portfolios: Sequence[UUID], before: date) -> date | None:
    """Return the newest date before `before` that is closed of any of the portfolios."""
    found: date | None = await connection.fetchval(
        "select max(d.date) from unnest($1::uuid[]) as p (id) cross join lateral (select date "
        "from daily_valuations where portfolio_id = p.id and date < $2 order by date desc limit 1) d",
        portfolios,
        before,
    )
    return found


async def write_daily_valuations(connection: asyncpg.Connection, rows: Sequence[DailyValuation]) -> None:
    """Write days, one row a portfolio and date; a day that is there is replaced."""
    await connection.execute(
        "insert into daily_valuations (portfolio_id, date, total_equity, net_flow, day_return, ended_at) select * from "
        "unnest($1::uuid[], $2::date[], $3::numeric[], $4::numeric[], $5::double precision[], $6::timestamptz[]) "
        "on conflict (portfolio_id, date) do update set total_equity = excluded.total_equity, "
        "net_flow = excluded.net_flow, day_return = excluded.day_return, ended_at = excluded.ended_at",
        [row.portfolio_id for row in rows],
        [row.date for row in rows],
        [row.total_equity for row in rows],
        [row.net_flow for row in rows],
        [row.day_return for row in rows],
        [row.ended_at for row in rows],
    )


async def daily_valuations(
    connection: asyncpg.Connection, portfolio_ids: Sequence[UUID], since: date = date.min
) -> list[DailyValuation]:
    """Return the days of portfolios from `since`, by portfolio, oldest first; the right is checked before."""
    rows = await connection.fetch(
        "select portfolio_id, date, total_equity, net_flow, day_return, ended_at from daily_valuations "
        "where portfolio_id = any($1::uuid[]) and date >= $2 order by portfolio_id, date",
        list(portfolio_ids),
        since,
    )
    return [DailyValuation(*row.values()) for row in rows]
