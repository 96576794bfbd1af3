"""Read the curve of a portfolio's day from a few pages: hours that are over are packed, a row a portfolio and hour.

Minutes are written in order of time, so that a write touches new pages only; one portfolio's day then lies in as many
pages as it has minutes. Packed hours are copies in the other order. What is not packed is read from the minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

from db.minutes import HOUR_LOCK

HOUR = timedelta(hours=1)
SLICES = 16  # an hour of 100,000 portfolios is six million minutes: each statement takes a part of the portfolios
_PACK = """
insert into hour_valuations (portfolio_id, hour, base_currency, minutes, total_equity, day_pnl)
select portfolio_id, $1, max(base_currency), array_agg(at), array_agg(total_equity), array_agg(day_pnl)
  from (select portfolio_id, base_currency, extract(minute from minute)::smallint as at, total_equity, day_pnl
          from minute_valuations
         where minute >= $1 and minute < $1 + interval '1 hour' and portfolio_id between $2 and $3
         order by portfolio_id, minute) ordered
 group by portfolio_id
on conflict (portfolio_id, hour) do update set base_currency = excluded.base_currency, minutes = excluded.minutes,
    total_equity = excluded.total_equity, day_pnl = excluded.day_pnl
"""
_CURVE = """
select minute, total_equity, day_pnl, c.minor_units from (
    select minute, total_equity, day_pnl, base_currency from minute_valuations
     where portfolio_id = $1 and minute >= $2 and minute < $3 and minute = any(array(
           select h + m * interval '1 minute' from open_hours($2, $3) h, generate_series(0, 59) m))
     union all
    select v.hour + u.minute * interval '1 minute', u.total_equity, u.day_pnl, v.base_currency
      from hour_valuations v join packed_hours using (hour),
           unnest(v.minutes, v.total_equity, v.day_pnl) u (minute, total_equity, day_pnl)
     where v.portfolio_id = $1 and v.hour > $2::timestamptz - interval '1 hour' and v.hour < $3
       and v.hour + u.minute * interval '1 minute' >= $2 and v.hour + u.minute * interval '1 minute' < $3
) points
  join currencies c on c.code = base_currency order by minute
"""
# Of a portfolio the newest minute of hours not packed, or of a packed one: never a search through all minutes.
_LAST = """
with open as (
    select array(select h + m * interval '1 minute' from open_hours($1, $2) h, generate_series(0, 59) m) as minutes
)
select p.id, last.minute, (last.total_equity / 10::numeric ^ c.minor_units)::numeric(24, 4)
  from open cross join unnest($3::uuid[]) as p (id)
 cross join lateral (
    (select minute, total_equity, base_currency from minute_valuations
      where portfolio_id = p.id and minute >= $1 and minute < $2 and minute = any(open.minutes)
      order by minute desc limit 1)
    union all
    (select v.hour + u.minute * interval '1 minute', u.total_equity, v.base_currency
       from hour_valuations v join packed_hours using (hour), unnest(v.minutes, v.total_equity) u (minute, total_equity)
      where v.portfolio_id = p.id and v.hour > $1::timestamptz - interval '1 hour' and v.hour < $2
        and v.hour + u.minute * interval '1 minute' >= $1 and v.hour + u.minute * interval '1 minute' < $2
      order by v.hour desc, u.minute desc limit 1)
    order by minute desc limit 1) last
  join currencies c on c.code = last.base_currency
"""


@dataclass(frozen=True, slots=True)
class MinutePoint:
    """Hold a point of a day's curve: the minute it is the end of, and amounts in base currency."""

    minute: datetime
    total_equity: Decimal
    day_pnl: Decimal


@dataclass(frozen=True, slots=True)
class ClosingEquity:
    """Hold a portfolio's equity at the end of its last minute of a day, in base currency."""

    portfolio_id: UUID
    minute: datetime
    total_equity: Decimal


async def minute_points(
    connection: asyncpg.Connection, portfolio_id: UUID, since: datetime, until: datetime
) -> list[MinutePoint]:
    """Return a portfolio's minutes from `since` up to `until`, oldest first; the viewer's right is checked before."""
    rows = await connection.fetch(_CURVE, portfolio_id, since, until)
    return [
        MinutePoint(minute, Decimal(equity).scaleb(-digits), Decimal(day_pnl).scaleb(-digits))
        for minute, equity, day_pnl, digits in rows
    ]


async def last_points(
    connection: asyncpg.Connection, portfolios: Sequence[UUID], since: datetime, until: datetime
) -> list[ClosingEquity]:
    """Return the last minute from `since` up to `until` of each of the portfolios that has one."""
    rows = await connection.fetch(_LAST, since, until, portfolios)
    return [ClosingEquity(*row.values()) for row in rows]


async def pack_hours(connection: asyncpg.Connection, before: datetime) -> list[datetime]:
    """Pack each hour that ended by `before`, a week back at most; return the hours packed.

    An hour that another worker packs, or writes into, is left for the next time.
    """
    rows = await connection.fetch("select open_hours($1::timestamptz - interval '7 days', $1)", before)
    packed = []
    for hour in sorted(row[0] for row in rows if row[0] + HOUR <= before):
        async with connection.transaction():
            if not await connection.fetchval(f"select pg_try_advisory_xact_lock{HOUR_LOCK}", hour):
                continue
            await connection.execute("select ensure_minute_partition(($1::timestamptz at time zone 'UTC')::date)", hour)
            for first, last in portfolio_slices(SLICES):
                await connection.execute(_PACK, hour, first, last)
            await connection.execute("insert into packed_hours (hour) values ($1) on conflict do nothing", hour)
        packed.append(hour)
    return packed


def portfolio_slices(count: int) -> list[tuple[UUID, UUID]]:
    """Cut the range of all portfolio ids into equal parts: (first, last) of each, both included."""
    step = (1 << 128) // count
    return [(UUID(int=part * step), UUID(int=(part + 1) * step - 1)) for part in range(count)]
