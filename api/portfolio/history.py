"""Read what performance needs of the past from PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from api.portfolio.performance import RateClose
from db.history import DailyValuation, daily_valuations

_RATES = """
select d.date, i.base_currency, i.currency, d.close
  from instruments i join daily_prices d on d.instrument_id = i.id
 where i.asset_class = 'fx' and d.date >= $1
"""
_FLOWS = """
select currency, sum(amount) from unnest($1::uuid[]) p (id)
  left join lateral (
    select coalesce(ended_at, (date + 1)::timestamp at time zone 'UTC') as ended_at from daily_valuations
     where portfolio_id = p.id and date < $2 order by date desc limit 1) d on true
  join transactions t on t.portfolio_id = p.id
 where type in ('deposit', 'withdrawal') and status = 'booked'
   and processed_at >= coalesce(d.ended_at, '-infinity') and processed_at <= $3
 group by currency
"""


@dataclass(frozen=True, slots=True)
class Past:
    """Hold the days of portfolios, the rates of those days, and the flows since each one's newest by currency."""

    days: list[DailyValuation]
    rates: list[RateClose]
    flows: dict[str, Decimal]


async def read_past(
    connection: asyncpg.Connection, portfolios: Sequence[UUID], with_rates: bool, today: date, until: datetime
) -> Past:
    """Read the last five years and a bit before `today`, flows up to `until`; the viewer's right is checked before.

    `today` is the day that the portfolios are in, which over a weekend is Friday.
    """
    days = await daily_valuations(connection, portfolios, since=date(today.year - 6, 1, 1))
    before = [day.date for day in days if day.date < today]
    if not before:
        return Past(days, [], {})
    rates = await connection.fetch(_RATES, min(before)) if with_rates else []
    flows = await connection.fetch(_FLOWS, list(portfolios), today, until)
    return Past(days, [RateClose(*row.values()) for row in rates], {row[0]: row[1] for row in flows})
