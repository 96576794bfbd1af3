"""Read what stands behind a valuation, as a viewer may see it: positions of a version, bookings, dates of closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import asyncpg

from db.portfolios import Viewer

_RECORDS = """
select s.portfolio_id, s.record::text
  from visible_portfolios($1, $2) v
  join unnest($3::uuid[], $4::bigint[]) k (id, version) on k.id = v.portfolio_id
  join position_sets s on s.portfolio_id = k.id and s.version = k.version
"""
_BOOKINGS = """
select t.reference_id, t.type, t.processed_at, i.symbol, t.quantity, t.price, t.amount, t.currency, t.rate_to_base
  from visible_portfolios($1, $2) v
  join transactions t on t.portfolio_id = v.portfolio_id
  left join instruments i on i.id = t.instrument_id
 where v.portfolio_id = $3 and t.status = 'booked' and t.processed_at <= $4
 order by t.processed_at, t.source, t.reference_id, t.version
"""
# A close that was split since is found by what it is now, but for the last digits of the division.
_CLOSE_DATES = """
select k.id, d.date
  from unnest($1::integer[], $2::double precision[]) k (id, close)
 cross join lateral (select date from daily_prices p
                      where instrument_id = k.id and date <= $3 and k.close > 0 and abs(p.close / k.close / (
                            select coalesce(exp(sum(ln(s.ratio))), 1)
                              from unnest($4::integer[], $5::date[], $6::double precision[]) s (id, ex_date, ratio)
                             where s.id = k.id and s.ex_date > p.date) - 1) < 1e-12
                      order by date desc limit 1) d
"""


@dataclass(frozen=True, slots=True)
class BookedEntry:
    """Hold a booking as it explains a position; `rate_to_base` is None where the source did not say."""

    reference: str
    type: str
    booked_at: datetime
    symbol: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal
    currency: str
    rate_to_base: Decimal | None


class Dividing(Protocol):
    """Describe what is read of a split; `db.corporate_actions.KnownSplit` is one."""

    @property
    def instrument(self) -> int:
        """Return the instrument's number."""

    @property
    def ex_date(self) -> date:
        """Return the first date whose close is in new shares."""

    @property
    def ratio(self) -> Decimal:
        """Return new shares for one old."""


async def visible_records(
    connection: asyncpg.Connection, viewer: Viewer, versions: Mapping[UUID, int]
) -> dict[UUID, bytes]:
    """Return the positions of each portfolio at its version, JSON; what the viewer may not see is absent."""
    rows = await connection.fetch(_RECORDS, viewer.user_id, viewer.role, list(versions), list(versions.values()))
    return {row[0]: row[1].encode() for row in rows}


async def visible_bookings(
    connection: asyncpg.Connection, viewer: Viewer, portfolio_id: UUID, until: datetime
) -> list[BookedEntry]:
    """Return a portfolio's bookings up to and including `until`, oldest first; none where it is not the viewer's."""
    rows = await connection.fetch(_BOOKINGS, viewer.user_id, viewer.role, portfolio_id, until)
    return [BookedEntry(*row.values()) for row in rows]


async def close_dates(
    connection: asyncpg.Connection, closes: Mapping[int, float], until: date, splits: Sequence[Dividing] = ()
) -> dict[int, date]:
    """Return of each instrument the newest date up to `until` whose close is this one; absent where none is.

    The closes are in the shares of after `splits`, those of the table in the shares of their dates.
    """
    rows = await connection.fetch(
        _CLOSE_DATES,
        list(closes),
        list(closes.values()),
        until,
        [one.instrument for one in splits],
        [one.ex_date for one in splits],
        [float(one.ratio) for one in splits],
    )
    return {row[0]: row[1] for row in rows}
