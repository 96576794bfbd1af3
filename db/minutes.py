"""Write the end of each minute: what every portfolio was worth, and the prices that this was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from db.binary_copy import BIGINT, REAL, UUID_BYTES, CopyLayout, Rows

# One row a portfolio: see the comments on table `minute_valuations`. Amounts are in minor units.
MINUTE_LAYOUT = CopyLayout(
    {
        "minute": BIGINT,
        "portfolio_id": UUID_BYTES,
        "assignment": BIGINT,
        "epoch": BIGINT,
        "seq": BIGINT,
        "version": BIGINT,
        "total_equity": BIGINT,
        "cash": BIGINT,
        "day_pnl": BIGINT,
        "day_pnl_price": BIGINT,
        "unrealised_pnl": BIGINT,
        "stale_share": REAL,
        "base_currency": "S3",
    }
)
_KEY = ("minute", "portfolio_id")
_OTHERS = [name for name in MINUTE_LAYOUT.columns if name not in _KEY]
_STAGE = """
create temporary table if not exists minute_stage (like minute_valuations) on commit drop;
truncate minute_stage
"""
_UPSERT = f"""
insert into minute_valuations as stored select * from minute_stage order by minute, portfolio_id
on conflict (minute, portfolio_id) do update set {", ".join(f"{name} = excluded.{name}" for name in _OTHERS)}
where (excluded.epoch, excluded.seq) >= (stored.epoch, stored.seq)
"""  # noqa: S608 - our own column names
# Taken shared by all who write minutes of an hour, and alone by who packs it: so no minute is left out of a pack.
HOUR_LOCK = "(hashtext('minute_valuations.hour'), (extract(epoch from date_trunc('hour', $1, 'UTC')) / 3600)::integer)"
_TOTALS = """
update portfolios p set total_value = m.total_equity / c.scale, cash_balance = m.cash / c.scale,
       buying_power = greatest(m.cash, 0) / c.scale, day_pl = m.day_pnl / c.scale,
       day_pl_percent = greatest(least(coalesce(
           100.0 * m.day_pnl / nullif(abs(m.total_equity::numeric - m.day_pnl), 0), 0), 999999), -999999),
       last_updated = m.minute
  from minute_valuations m
  join (select code, 10::numeric ^ minor_units as scale from currencies) c on c.code = m.base_currency
 where m.minute = $1 and m.portfolio_id = any($2::uuid[]) and p.id = m.portfolio_id
   and (p.last_updated is null or p.last_updated < m.minute)
"""


@dataclass(frozen=True, slots=True)
class MinutePrices:
    """Hold the prices of a minute in columns of one length and order; see the comments on table `minute_prices`."""

    instruments: Sequence[int]
    prices: Sequence[float]
    price_ns: Sequence[int]
    states: Sequence[int]


@dataclass(frozen=True, slots=True)
class OpeningPrices:
    """Hold the prior closes of a time zone's day, 0 where there is none, and when that day began."""

    time_zone: str
    day_start: datetime
    instruments: Sequence[int]
    closes: Sequence[float]


async def write_minutes(connection: asyncpg.Connection, minute: datetime, rows: Rows) -> None:
    """Write a minute's rows (of `MINUTE_LAYOUT`, at best in order of portfolio), in one transaction.

    Of the same portfolio and minute the higher (epoch, seq) stays, so that writing again changes nothing.
    """
    async with connection.transaction():
        await connection.execute("select ensure_minute_partition(($1::timestamptz at time zone 'UTC')::date)", minute)
        await connection.execute(f"select pg_advisory_xact_lock_shared{HOUR_LOCK}", minute)
        await connection.execute("delete from packed_hours where hour = date_trunc('hour', $1, 'UTC')", minute)
        try:
            async with connection.transaction():
                await MINUTE_LAYOUT.copy(connection, "minute_valuations", rows)
        except asyncpg.UniqueViolationError:  # a worker before us, or we ourselves, have written some of it
            await connection.execute(_STAGE)
            await MINUTE_LAYOUT.copy(connection, "minute_stage", rows)
            await connection.execute(_UPSERT)


async def write_prices(connection: asyncpg.Connection, minute: datetime, assignment: int, prices: MinutePrices) -> None:
    """Write the prices of a minute of one assignment; the partition is there once its valuations are written."""
    await connection.execute(
        "insert into minute_prices values ($1, $2, $3, $4, $5, $6) on conflict (minute, assignment) do update set "
        "instruments = excluded.instruments, prices = excluded.prices, price_ns = excluded.price_ns, "
        "states = excluded.states",
        minute,
        assignment,
        prices.instruments,
        prices.prices,
        prices.price_ns,
        prices.states,
    )


async def write_openings(
    connection: asyncpg.Connection, since: datetime, assignment: int, openings: Sequence[OpeningPrices]
) -> None:
    """Write the prior closes that count from minute `since` on."""
    await connection.executemany(
        "insert into opening_prices values ($1, $2, $3, $4, $5, $6) on conflict (assignment, time_zone, since) do "
        "update set day_start = excluded.day_start, instruments = excluded.instruments, closes = excluded.closes",
        [(assignment, one.time_zone, since, one.day_start, one.instruments, one.closes) for one in openings],
    )


async def update_totals(connection: asyncpg.Connection, minute: datetime, portfolios: Sequence[UUID]) -> None:
    """Make a stored minute the totals in table `portfolios`, of those that do not have newer ones."""
    await connection.execute(_TOTALS, minute, portfolios)
