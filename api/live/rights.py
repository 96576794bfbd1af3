"""Ask PostgreSQL who may follow what: on subscribe, and again for everybody every two seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from api.auth.identity import Identity
from api.auth.sessions import live_sessions
from api.live.floor import FloorPortfolio
from api.live.protocol import StreamName

# One row of the answer for each (viewer, stream) that is allowed; a portfolio comes with its name.
_PORTFOLIOS = """
select w.user_id, w.role, p.id, p.name
  from unnest($1::uuid[], $2::text[], $3::uuid[]) as w (user_id, role, portfolio_id)
  join portfolios p on p.id = w.portfolio_id
 where exists (select from visible_portfolios(w.user_id, w.role) v where v.portfolio_id = p.id)
"""
_FLOORS = """
select w.user_id, w.role, a.id
  from unnest($1::uuid[], $2::text[], $3::uuid[]) as w (user_id, role, advisor_id)
  join users u on u.id = w.user_id and u.role = w.role and u.status = 'active'
  join users a on a.id = w.advisor_id and a.role = 'advisor'
 where w.role in ('compliance', 'admin') or (w.role = 'advisor' and a.id = w.user_id)
"""
_BOOKS = """
select c.advisor_id, p.id, p.name, u.first_name || ' ' || u.last_name, p.base_currency, m.minor_units
  from advisor_clients c
  join users u on u.id = c.client_id
  join portfolios p on p.user_id = c.client_id
  join currencies m on m.code = p.base_currency
 where c.advisor_id = any($1::uuid[])
 order by c.advisor_id, u.last_name, u.first_name, p.created_at, p.name, p.id
"""

_ACTIVE = "select id, role from users where id = any($1::uuid[]) and status = 'active'"

Wish = tuple[Identity, StreamName]


@dataclass(frozen=True, slots=True)
class Granted:
    """Hold what is allowed: the wishes granted, and the names of the portfolios among them."""

    wishes: frozenset[Wish]
    portfolio_names: dict[UUID, str]


async def still_good(connection: asyncpg.Connection, identities: Iterable[Identity]) -> frozenset[Identity]:
    """Return whose session is alive, with the user active and of the same role as when it was opened."""
    asked = set(identities)
    alive = await live_sessions(connection, {identity.session for identity in asked})
    rows = await connection.fetch(_ACTIVE, [identity.user_id for identity in asked])
    active = {(user_id, role) for user_id, role in rows}
    return frozenset(one for one in asked if one.session in alive and (one.user_id, one.role) in active)


async def grant(connection: asyncpg.Connection, wishes: Iterable[Wish]) -> Granted:
    """Return which of the wishes are allowed now, of identities that are still good."""
    wanted = list(wishes)
    portfolios = [wish for wish in wanted if wish[1].kind == "portfolio"]
    floors = [wish for wish in wanted if wish[1].kind == "floor"]
    names: dict[UUID, str] = {}
    allowed: set[tuple[UUID, str, UUID]] = set()
    for user_id, role, portfolio_id, name in await _ask(connection, _PORTFOLIOS, portfolios):
        allowed.add((user_id, role, portfolio_id))
        names[portfolio_id] = name
    for user_id, role, advisor_id in await _ask(connection, _FLOORS, floors):
        allowed.add((user_id, role, advisor_id))
    return Granted(frozenset(wish for wish in wanted if _key(wish) in allowed), names)


async def books(connection: asyncpg.Connection, advisors: Sequence[UUID]) -> dict[UUID, list[FloorPortfolio]]:
    """Return the portfolios of each advisor's book, in order of client; for callers that have checked the right."""
    found: dict[UUID, list[FloorPortfolio]] = {advisor: [] for advisor in advisors}
    for advisor, portfolio_id, name, client, currency, digits in await connection.fetch(_BOOKS, list(advisors)):
        found[advisor].append(FloorPortfolio(str(portfolio_id), name, client, currency, digits))
    return found


async def _ask(connection: asyncpg.Connection, query: str, wishes: list[Wish]) -> list[asyncpg.Record]:
    if not wishes:
        return []
    users, roles, targets = zip(*{_key(wish) for wish in wishes}, strict=True)
    found: list[asyncpg.Record] = await connection.fetch(query, users, roles, targets)
    return found


def _key(wish: Wish) -> tuple[UUID, str, UUID]:
    identity, stream = wish
    return identity.user_id, identity.role, stream.id
