"""Hold positions against bookings: what is held is the sum of what was booked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

_BOOKED = """
with mine as (select * from transactions where portfolio_id = $1 and status = 'booked' and processed_at <= $2)
select instrument_id, sum(quantity) from mine where quantity is not null and instrument_id is not null
 group by instrument_id
 union all
select c.id, sum(m.amount) from mine m join instruments c on c.symbol = m.currency and c.asset_class = 'cash'
 group by c.id
"""


@dataclass(frozen=True, slots=True)
class Booked:
    """Hold the sums of a portfolio's bookings by instrument (cash by its own), and when the last of all was received.

    `received_at` is None where there is no booking.
    """

    quantities: dict[int, Decimal]
    received_at: datetime | None


async def booked_quantities(connection: asyncpg.Connection, portfolio_id: UUID, until: datetime) -> Booked:
    """Return what the bookings processed up to and including `until` add up to; for the workers: it asks no rights."""
    received_at = await connection.fetchval(
        "select max(received_at) from transactions where portfolio_id = $1", portfolio_id
    )
    rows = await connection.fetch(_BOOKED, portfolio_id, until)
    return Booked({row[0]: row[1] for row in rows}, received_at)


async def position_record(
    connection: asyncpg.Connection, portfolio_id: UUID, version: int
) -> tuple[bytes, datetime] | None:
    """Return a portfolio's positions at a version, JSON, and when they were received; None where there are none."""
    row = await connection.fetchrow(
        "select record::text, received_at from position_sets where portfolio_id = $1 and version = $2",
        portfolio_id,
        version,
    )
    return None if row is None else (row[0].encode(), row[1])
