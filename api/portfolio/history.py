"""Read what performance needs of the past from PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
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
select currency, sum(amount) from transactions
 where portfolio_id = any($1::uuid[]) and type in ('deposit', 'withdrawal') and status = 'booked'
   and processed_at >= $2::date + 1
 group by currency
"""


@dataclass(frozen=True, slots=True)
class Past:
    """Hold the days of portfolios, the rates of those days, and the flows since the newest one by currency."""

    days: list[DailyValuation]
    rates: list[RateClose]
    flows: dict[str, Decimal]


async def read_past(connection: asyncpg.Connection, portfolios: Sequence[UUID], with_rates: bool, today: date) -> Past:
    """Read the last five years and a bit; for callers that have checked the viewer's right."""
    days = await daily_valuations(connection, portfolios, since=date(today.year - 6, 1, 1))
    before = [day.date for day in days if day.date < today]
    if not before:
        return Past(days, [], {})
    rates = await connection.fetch(_RATES, min(before)) if with_rates else []
    flows = await connection.fetch(_FLOWS, list(portfolios), max(before))
    return Past(days, [RateClose(*row.values()) for row in rates], {row[0]: row[1] for row in flows})
