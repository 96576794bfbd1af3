"""Ask PostgreSQL who may follow what: on subscribe, and again for everybody every two seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from api.auth.identity import Identity
from api.auth.sessions import live_sessions
from api.live.client_stream import Member
from api.live.floor import FloorPortfolio
from api.live.protocol import StreamName

# For each kind one query: a row of (key, title) for each (viewer, stream) that is allowed. `w` are the wishes.
_WISHES = "with w as (select * from unnest($1::uuid[], $2::text[], $3::text[]) as w (user_id, role, key)) "
_ALLOWED = {
    "portfolio": """
select w.user_id, w.role, w.key, p.name
  from w join portfolios p on p.id = w.key::uuid
 where exists (select from visible_portfolios(w.user_id, w.role) v where v.portfolio_id = p.id)
""",
    "client": """
select w.user_id, w.role, w.key, c.first_name || ' ' || c.last_name
  from w join users v on v.id = w.user_id and v.role = w.role and v.status = 'active'
  join users c on c.id = w.key::uuid and c.role = 'client'
 where w.role in ('compliance', 'admin') or (w.role = 'client' and c.id = w.user_id)
    or (w.role = 'advisor' and exists (select from advisor_clients a where a.advisor_id = v.id and a.client_id = c.id))
""",
    "floor": """
select w.user_id, w.role, w.key, ''
  from w join users v on v.id = w.user_id and v.role = w.role and v.status = 'active'
  join users a on a.id = w.key::uuid and a.role = 'advisor'
 where w.role in ('compliance', 'admin') or (w.role = 'advisor' and a.id = w.user_id)
""",
    "quote": """
select w.user_id, w.role, w.key, i.name
  from w join users v on v.id = w.user_id and v.role = w.role and v.status = 'active'
  join instruments i on i.symbol = w.key
""",
    "alerts": """
select w.user_id, w.role, w.key, ''
  from w join users v on v.id = w.user_id and v.role = w.role and v.status = 'active'
""",
}
_BOOKS = """
select c.advisor_id, p.id, p.name, u.first_name || ' ' || u.last_name, p.base_currency, m.minor_units
  from advisor_clients c
  join users u on u.id = c.client_id
  join portfolios p on p.user_id = c.client_id
  join currencies m on m.code = p.base_currency
 where c.advisor_id = any($1::uuid[])
 order by c.advisor_id, u.last_name, u.first_name, p.created_at, p.name, p.id
"""
_MEMBERS = """
select user_id, id, name, base_currency from portfolios where user_id = any($1::uuid[]) order by created_at, name, id
"""

_ACTIVE = "select id, role from users where id = any($1::uuid[]) and status = 'active'"

Wish = tuple[Identity, StreamName]


@dataclass(frozen=True, slots=True)
class Granted:
    """Hold the wishes that are allowed, and the titles of their streams: names of portfolios, clients, instruments."""

    wishes: frozenset[Wish]
    titles: dict[StreamName, str]


async def still_good(connection: asyncpg.Connection, identities: Iterable[Identity]) -> frozenset[Identity]:
    """Return whose session is alive, with the user active and of the same role as when it was opened; guests are."""
    everybody = set(identities)
    asked = {identity for identity in everybody if identity.role != "guest"}
    alive = await live_sessions(connection, {identity.session for identity in asked})
    rows = await connection.fetch(_ACTIVE, [identity.user_id for identity in asked])
    active = {(user_id, role) for user_id, role in rows}
    good = {one for one in asked if one.session in alive and (one.user_id, one.role) in active}
    return frozenset(good | (everybody - asked))


async def grant(connection: asyncpg.Connection, wishes: Iterable[Wish]) -> Granted:
    """Return which of the wishes are allowed now, of identities that are still good."""
    titles: dict[StreamName, str] = {}
    granted: set[Wish] = set()
    by_kind: dict[str, list[Wish]] = defaultdict(list)
    for wish in wishes:
        by_kind[wish[1].kind].append(wish)
    for kind, wanted in by_kind.items():
        allowed = await _allowed(connection, kind, wanted)
        granted |= {wish for wish in wanted if _key(wish) in allowed}
        titles |= {name: allowed[_key((who, name))] for who, name in wanted if _key((who, name)) in allowed}
    return Granted(frozenset(granted), titles)


async def books(connection: asyncpg.Connection, advisors: Sequence[UUID]) -> dict[UUID, list[FloorPortfolio]]:
    """Return the portfolios of each advisor's book, in order of client; for callers that have checked the right."""
    found: dict[UUID, list[FloorPortfolio]] = {advisor: [] for advisor in advisors}
    for advisor, portfolio_id, name, client, currency, digits in await connection.fetch(_BOOKS, list(advisors)):
        found[advisor].append(FloorPortfolio(str(portfolio_id), name, client, currency, digits))
    return found


async def members(connection: asyncpg.Connection, clients: Sequence[UUID]) -> dict[UUID, tuple[Member, ...]]:
    """Return the portfolios of each client, the oldest first; for callers that have checked the right."""
    found: dict[UUID, list[Member]] = {client: [] for client in clients}
    for client, portfolio_id, name, currency in await connection.fetch(_MEMBERS, list(clients)):
        found[client].append(Member(str(portfolio_id), name, currency))
    return {client: tuple(portfolios) for client, portfolios in found.items()}


async def _allowed(connection: asyncpg.Connection, kind: str, wishes: list[Wish]) -> dict[tuple[UUID, str, str], str]:
    """Return the titles of what is allowed, by (user, role, key)."""
    if kind == "demo":
        return {_key(wish): "Demonstration" for wish in wishes}
    users, roles, keys = zip(*{_key(wish) for wish in wishes}, strict=True)
    rows = await connection.fetch(_WISHES + _ALLOWED[kind], users, roles, keys)
    return {(user, role, key): title for user, role, key, title in rows}


def _key(wish: Wish) -> tuple[UUID, str, str]:
    identity, stream = wish
    return identity.user_id, identity.role, stream.key
