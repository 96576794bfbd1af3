"""Read portfolios as a viewer may see them: the rights are in the queries, through `visible_portfolios`.

What a viewer may not see and what does not exist look the same: they are not in the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

_SELECT = """
select p.id, p.name, p.base_currency, p.user_id, c.first_name || ' ' || c.last_name,
       p.account_id, p.iboss_account_id, p.time_zone,
       array(select a.advisor_id from advisor_clients a where a.client_id = p.user_id order by a.advisor_id)
  from visible_portfolios($1, $2) v
  join portfolios p on p.id = v.portfolio_id
  join users c on c.id = p.user_id
"""
_ORDER = " order by c.last_name, c.first_name, p.created_at, p.name, p.id"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Say who asks, and in which role; a role that the user no longer has shows nothing."""

    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class PortfolioInfo:
    """Hold what is fixed of a portfolio; `advisor_ids` are the advisors of its client."""

    id: UUID
    name: str
    base_currency: str
    client_id: UUID
    client_name: str
    account_id: UUID
    iboss_account_id: str
    time_zone: str
    advisor_ids: tuple[UUID, ...]


async def visible_portfolios(connection: asyncpg.Connection, viewer: Viewer) -> list[PortfolioInfo]:
    """Return all portfolios that the viewer may see, in order of client, then age."""
    rows = await connection.fetch(_SELECT + _ORDER, viewer.user_id, viewer.role)
    return [_info(row) for row in rows]


async def visible_portfolio(connection: asyncpg.Connection, viewer: Viewer, portfolio_id: UUID) -> PortfolioInfo | None:
    """Return one portfolio, or None where there is none or the viewer may not see it."""
    row = await connection.fetchrow(_SELECT + " where p.id = $3", viewer.user_id, viewer.role, portfolio_id)
    return None if row is None else _info(row)


async def portfolios_by_iboss_account(connection: asyncpg.Connection) -> dict[str, UUID]:
    """Return which portfolio each IBOSS account is; for the workers, which act for no viewer."""
    rows = await connection.fetch("select iboss_account_id, id from portfolios")
    return {row[0]: row[1] for row in rows}


def _info(row: asyncpg.Record) -> PortfolioInfo:
    portfolio, name, currency, client, client_name, account, iboss_account, time_zone, advisors = row.values()
    return PortfolioInfo(
        portfolio, name, currency, client, client_name, account, iboss_account, time_zone, tuple(advisors)
    )
