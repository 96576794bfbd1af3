"""Keep what portfolios were worth: the end of each minute, written by the stream, and of each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

_MINUTE_COLUMNS = (
    "portfolio_id",
    "minute",
    "epoch",
    "seq",
    "base_currency",
    "total_equity",
    "cash",
    "market_value",
    "day_pnl",
    "day_pnl_price",
    "day_pnl_currency",
    "unrealised_pnl",
    "stale_share",
)
_STAGE = """
create temporary table if not exists minute_stage (
    like minute_valuations,
    buying_power numeric(20, 4) not null,
    day_pnl_pct double precision not null
) on commit drop;
truncate minute_stage
"""
# One row a portfolio and minute reaches the upsert, the newest; a replay or a worker that was replaced changes nothing.
_UPSERT = """
insert into minute_valuations as stored (portfolio_id, minute, epoch, seq, base_currency, total_equity, cash,
    market_value, day_pnl, day_pnl_price, day_pnl_currency, unrealised_pnl, stale_share)
select distinct on (portfolio_id, minute) portfolio_id, minute, epoch, seq, base_currency, total_equity, cash,
    market_value, day_pnl, day_pnl_price, day_pnl_currency, unrealised_pnl, stale_share
  from minute_stage order by portfolio_id, minute, epoch desc, seq desc
on conflict (portfolio_id, minute) do update set
    epoch = excluded.epoch, seq = excluded.seq, base_currency = excluded.base_currency,
    total_equity = excluded.total_equity, cash = excluded.cash, market_value = excluded.market_value,
    day_pnl = excluded.day_pnl, day_pnl_price = excluded.day_pnl_price,
    day_pnl_currency = excluded.day_pnl_currency, unrealised_pnl = excluded.unrealised_pnl,
    stale_share = excluded.stale_share
where (excluded.epoch, excluded.seq) >= (stored.epoch, stored.seq)
"""
_TOTALS = """
update portfolios p set total_value = s.total_equity, cash_balance = s.cash, buying_power = s.buying_power,
       day_pl = s.day_pnl, day_pl_percent = s.day_pnl_pct, last_updated = s.minute
  from (select distinct on (portfolio_id) * from minute_stage
         order by portfolio_id, minute desc, epoch desc, seq desc) s
  join minute_valuations m on m.portfolio_id = s.portfolio_id and m.minute = s.minute
 where p.id = s.portfolio_id and m.epoch = s.epoch and m.seq = s.seq
   and (p.last_updated is null or p.last_updated <= s.minute)
"""


@dataclass(frozen=True, slots=True)
class MinuteValuation:
    """Hold a portfolio's state at the end of a minute (timezone-aware, on the minute), amounts in base currency.

    `buying_power` and `day_pnl_pct` (percent) are kept only as the portfolio's newest totals, and are 0 when
    read back.
    """

    portfolio_id: UUID
    minute: datetime
    epoch: int
    seq: int
    base_currency: str
    total_equity: Decimal
    cash: Decimal
    market_value: Decimal
    day_pnl: Decimal
    day_pnl_price: Decimal
    day_pnl_currency: Decimal
    unrealised_pnl: Decimal
    stale_share: float
    buying_power: Decimal = Decimal(0)
    day_pnl_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class DailyValuation:
    """Hold a portfolio's close of a day in base currency; see the comments on table `daily_valuations`."""

    portfolio_id: UUID
    date: date
    total_equity: Decimal
    net_flow: Decimal
    day_return: float


async def write_minute_valuations(connection: asyncpg.Connection, rows: Sequence[MinuteValuation]) -> None:
    """Write minutes by COPY, and the newest of them as the portfolios' totals, in one transaction.

    Of the same portfolio and minute the higher (epoch, seq) stays, so that writing again changes nothing.
    """
    if not rows:
        return
    async with connection.transaction():
        for day in sorted({row.minute.date() for row in rows}):
            await connection.execute("select ensure_minute_partition($1)", day)
        await connection.execute(_STAGE)
        await connection.copy_records_to_table(
            "minute_stage",
            columns=[*_MINUTE_COLUMNS, "buying_power", "day_pnl_pct"],
            records=[_minute_record(row) for row in rows],
        )
        await connection.execute(_UPSERT)
        await connection.execute(_TOTALS)


async def minute_valuations(connection: asyncpg.Connection, portfolio_id: UUID, day: date) -> list[MinuteValuation]:
    """Return a portfolio's minutes of a UTC day, oldest first; for callers that have checked the viewer's right."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = await connection.fetch(
        "select portfolio_id, minute, epoch, seq, base_currency, total_equity, cash, market_value, day_pnl, "
        "day_pnl_price, day_pnl_currency, unrealised_pnl, stale_share from minute_valuations "
        "where portfolio_id = $1 and minute >= $2 and minute < $3 order by minute",
        portfolio_id,
        midnight,
        midnight + timedelta(days=1),
    )
    return [MinuteValuation(*row.values()) for row in rows]


async def last_minutes(connection: asyncpg.Connection, day: date) -> list[MinuteValuation]:
    """Return the last minute of a UTC day of each portfolio that has one."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = await connection.fetch(
        "select m.portfolio_id, m.minute, m.epoch, m.seq, m.base_currency, m.total_equity, m.cash, m.market_value, "
        "m.day_pnl, m.day_pnl_price, m.day_pnl_currency, m.unrealised_pnl, m.stale_share from portfolios p "
        "cross join lateral (select * from minute_valuations "
        "where portfolio_id = p.id and minute >= $1 and minute < $2 order by minute desc limit 1) m",
        midnight,
        midnight + timedelta(days=1),
    )
    return [MinuteValuation(*row.values()) for row in rows]


async def unclosed_days(connection: asyncpg.Connection, before: date) -> list[date]:
    """Return the UTC days before `before` that have minutes and come after the newest closed one, a month at most."""
    rows = await connection.fetch(
        "with closed as (select max(d.date) as newest from portfolios p cross join lateral (select date "
        "from daily_valuations where portfolio_id = p.id and date < $1 order by date desc limit 1) d) "
        "select day::date from closed, "
        "generate_series(greatest(closed.newest + 1, $1 - 31), $1 - 1, interval '1 day') day "
        "where exists (select from minute_valuations where minute >= day at time zone 'UTC' "
        "and minute < (day + interval '1 day') at time zone 'UTC') order by 1",
        before,
    )
    return [row[0] for row in rows]


async def write_daily_valuations(connection: asyncpg.Connection, rows: Sequence[DailyValuation]) -> None:
    """Write days, one row a portfolio and date; a day that is there is replaced."""
    await connection.executemany(
        "insert into daily_valuations (portfolio_id, date, total_equity, net_flow, day_return) "
        "values ($1, $2, $3, $4, $5) on conflict (portfolio_id, date) do update set "
        "total_equity = excluded.total_equity, net_flow = excluded.net_flow, day_return = excluded.day_return",
        [(row.portfolio_id, row.date, row.total_equity, row.net_flow, row.day_return) for row in rows],
    )


async def daily_valuations(
    connection: asyncpg.Connection, portfolio_ids: Sequence[UUID], since: date = date.min
) -> list[DailyValuation]:
    """Return the days of portfolios from `since`, by portfolio, oldest first; the right is checked before."""
    rows = await connection.fetch(
        "select portfolio_id, date, total_equity, net_flow, day_return from daily_valuations "
        "where portfolio_id = any($1::uuid[]) and date >= $2 order by portfolio_id, date",
        list(portfolio_ids),
        since,
    )
    return [DailyValuation(*row.values()) for row in rows]


def _minute_record(row: MinuteValuation) -> tuple[object, ...]:
    return (*(getattr(row, column) for column in _MINUTE_COLUMNS), row.buying_power, row.day_pnl_pct)
