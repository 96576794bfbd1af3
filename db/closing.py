"""Close a day: what moved in and out of portfolios, and the holdings as SQL readers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg


@dataclass(frozen=True, slots=True)
class Flow:
    """Hold the sum of a portfolio's external flows of a day in one currency; deposits are positive."""

    portfolio_id: UUID
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Holding:
    """Hold one row of `holdings`: amounts in base currency, the price in the instrument's."""

    portfolio_id: UUID
    instrument_id: int
    shares: float
    price: float
    value: float
    day_pl: float
    day_pl_percent: float


async def external_flows(
    connection: asyncpg.Connection, portfolios: Sequence[UUID], since: datetime, until: datetime
) -> list[Flow]:
    """Return deposits and withdrawals booked from `since` to before `until`, summed by portfolio and currency."""
    rows = await connection.fetch(
        "select portfolio_id, currency, sum(amount) from transactions "
        "where type in ('deposit', 'withdrawal') and status = 'booked' and portfolio_id = any($1::uuid[]) "
        "and processed_at >= $2 and processed_at < $3 group by portfolio_id, currency",
        portfolios,
        since,
        until,
    )
    return [Flow(*row.values()) for row in rows]


async def last_equities(
    connection: asyncpg.Connection, portfolios: Sequence[UUID], before: date
) -> dict[UUID, Decimal]:
    """Return the equity of each of the portfolios at its newest close of a day before `before`."""
    rows = await connection.fetch(
        "select p.id, d.total_equity from unnest($1::uuid[]) as p (id) cross join lateral (select total_equity "
        "from daily_valuations where portfolio_id = p.id and date < $2 order by date desc limit 1) d",
        portfolios,
        before,
    )
    return {row[0]: row[1] for row in rows}


async def write_holdings(connection: asyncpg.Connection, portfolios: Sequence[UUID], rows: Sequence[Holding]) -> None:
    """Replace the holdings of `portfolios` by `rows`, in one transaction; names come from the instruments."""
    async with connection.transaction():
        await connection.execute("delete from holdings where portfolio_id = any($1::uuid[])", list(portfolios))
        await connection.execute(
            "insert into holdings (portfolio_id, instrument_id, symbol, name, shares, price, value, day_pl, "
            "day_pl_percent, sector, country) select h.portfolio_id, i.id, i.symbol, i.name, h.shares, h.price, "
            "h.value, h.day_pl, h.day_pl_percent, i.sector, i.country from unnest($1::uuid[], $2::integer[], "
            "$3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[]) "
            "as h (portfolio_id, instrument_id, shares, price, value, day_pl, day_pl_percent) "
            "join instruments i on i.id = h.instrument_id",
            [row.portfolio_id for row in rows],
            [row.instrument_id for row in rows],
            [row.shares for row in rows],
            [row.price for row in rows],
            [row.value for row in rows],
            [row.day_pl for row in rows],
            [row.day_pl_percent for row in rows],
        )
