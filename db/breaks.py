"""Keep the breaks of reconciliation: what was found, since when, and when it was gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from db.portfolios import Viewer

# What is found by holding a portfolio's positions against its bookings, and by holding lists of accounts together.
PORTFOLIO_BREAKS = ("quantity", "cash", "cost_basis", "cost_basis_base", "bookings_contradict", "positions_missing")
ACCOUNT_BREAKS = ("account_missing", "account_unknown")
PAGE = 1000

_RECORD = """
insert into reconciliation_breaks as b
       (iboss_account_id, portfolio_id, instrument_id, what, expected, found, version, first_seen, last_seen)
select *, $8::timestamptz, $8::timestamptz
  from unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::numeric[], $6::numeric[], $7::bigint[])
    on conflict (iboss_account_id, what, coalesce(instrument_id, -1)) where resolved_at is null
    do update set expected = excluded.expected, found = excluded.found, version = excluded.version,
                  portfolio_id = excluded.portfolio_id, last_seen = greatest(b.last_seen, excluded.last_seen)
"""
_READ = """
select b.id, b.iboss_account_id, b.portfolio_id, p.name, b.instrument_id, i.symbol, b.what, b.expected, b.found,
       b.version, b.first_seen, b.last_seen, b.resolved_at
  from reconciliation_breaks b
  left join portfolios p on p.id = b.portfolio_id
  left join instruments i on i.id = b.instrument_id
"""
_ORDER = " order by b.resolved_at desc nulls first, b.first_seen desc, b.id desc limit $1"
# Breaks show every client's holdings and accounts that are nobody's: for those who see all portfolios, and only them.
_FOR_VIEWER = """
 where exists (select from users u where u.id = $2 and u.role = $3 and u.status = 'active'
                  and u.role in ('compliance', 'admin'))
"""


@dataclass(frozen=True, slots=True)
class Break:
    """Hold one thing that does not agree; `what` is one of the words above, amounts are None where it is no amount.

    `expected` is what the bookings add up to, `found` what the positions in `version` say.
    """

    account: str
    what: str
    portfolio_id: UUID | None = None
    instrument_id: int | None = None
    expected: Decimal | None = None
    found: Decimal | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class KeptBreak:
    """Hold a break as it is kept; `resolved_at` is None while it persists."""

    id: int
    account: str
    portfolio_id: UUID | None
    portfolio_name: str | None
    instrument_id: int | None
    symbol: str | None
    what: str
    expected: Decimal | None
    found: Decimal | None
    version: int | None
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None


async def record_breaks(connection: asyncpg.Connection, found: Sequence[Break], at: datetime) -> None:
    """Keep what was found at a moment: a break that is known persists, another begins."""
    await connection.execute(
        _RECORD,
        [one.account for one in found],
        [one.portfolio_id for one in found],
        [one.instrument_id for one in found],
        [one.what for one in found],
        [one.expected for one in found],
        [one.found for one in found],
        [one.version for one in found],
        at,
    )


async def resolve_portfolio_breaks(connection: asyncpg.Connection, checked: Sequence[UUID], at: datetime) -> None:
    """Resolve the breaks of portfolios that were checked at a moment and in which it was not found again."""
    await connection.execute(
        "update reconciliation_breaks set resolved_at = $2 "
        "where resolved_at is null and portfolio_id = any($1) and what = any($3) and last_seen < $2",
        list(checked),
        at,
        list(PORTFOLIO_BREAKS),
    )


async def resolve_account_breaks(connection: asyncpg.Connection, at: datetime) -> None:
    """Resolve the breaks of accounts that were not found again when the lists were held together at a moment."""
    await connection.execute(
        "update reconciliation_breaks set resolved_at = $1 "
        "where resolved_at is null and what = any($2) and last_seen < $1",
        at,
        list(ACCOUNT_BREAKS),
    )


async def count_open_breaks(connection: asyncpg.Connection) -> dict[str, int]:
    """Return how many breaks persist, by what they are."""
    rows = await connection.fetch(
        "select what, count(*) from reconciliation_breaks where resolved_at is null group by 1"
    )
    return dict.fromkeys((*PORTFOLIO_BREAKS, *ACCOUNT_BREAKS), 0) | {row[0]: row[1] for row in rows}


async def breaks(connection: asyncpg.Connection, *, resolved: bool = False, limit: int = PAGE) -> list[KeptBreak]:
    """Return the breaks that persist, newest first, then with `resolved` those that are gone; it asks no rights."""
    only = "" if resolved else " where b.resolved_at is null"
    return [KeptBreak(*row.values()) for row in await connection.fetch(_READ + only + _ORDER, limit)]


async def visible_breaks(
    connection: asyncpg.Connection, viewer: Viewer, *, resolved: bool = False, limit: int = PAGE
) -> list[KeptBreak]:
    """Return the same to compliance and administrators, and nothing to others."""
    only = _FOR_VIEWER + ("" if resolved else " and b.resolved_at is null")
    rows = await connection.fetch(_READ + only + _ORDER, limit, viewer.user_id, viewer.role)
    return [KeptBreak(*row.values()) for row in rows]
