"""Keep page sessions: the cookie holds a random token, the table only its hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import asyncpg

from api.auth.identity import Identity, Session

COOKIE = "alhambra_session"
PAGE_SESSION_LIFETIME = timedelta(hours=12)

_PAGE = """
select u.id, u.role, u.first_name || ' ' || u.last_name, u.language, s.id
  from page_sessions s join users u on u.id = s.user_id
 where s.token_hash = $1 and s.revoked_at is null and s.expires_at > now() and u.status = 'active'
"""
_FAMILY = """
select u.id, u.role, u.first_name || ' ' || u.last_name, u.language
  from users u
 where u.id = $1 and u.status = 'active'
   and exists (select from refresh_tokens t where t.family_id = $2 and t.user_id = u.id
                  and t.revoked_at is null and t.replaced_at is null and t.expires_at > now())
"""
_LIVE = """
select 'page', s.id from page_sessions s
 where s.id = any($1::uuid[]) and s.revoked_at is null and s.expires_at > now()
union all
select distinct 'token', t.family_id from refresh_tokens t
 where t.family_id = any($2::uuid[]) and t.revoked_at is null and t.replaced_at is null and t.expires_at > now()
"""


def hash_token(token: str) -> bytes:
    """Return what the tables keep of a random token; plain SHA-256, because the token has 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


async def open_page_session(connection: asyncpg.Connection, user_id: UUID) -> str:
    """Begin a page session and return the token for its cookie."""
    token = secrets.token_urlsafe(32)
    await connection.execute(
        "insert into page_sessions (user_id, token_hash, expires_at) values ($1, $2, now() + $3)",
        user_id,
        hash_token(token),
        PAGE_SESSION_LIFETIME,
    )
    return token


async def end_page_session(connection: asyncpg.Connection, token: str) -> UUID | None:
    """End a page session and return whose it was, or None where there was none."""
    ended: UUID | None = await connection.fetchval(
        "update page_sessions set revoked_at = now() where token_hash = $1 and revoked_at is null returning user_id",
        hash_token(token),
    )
    return ended


async def page_identity(connection: asyncpg.Connection, token: str) -> Identity | None:
    """Return who holds this cookie, or None where the session or the user is no longer good."""
    row = await connection.fetchrow(_PAGE, hash_token(token))
    return None if row is None else Identity(row[0], row[1], row[2], row[3], Session("page", row[4]))


async def token_identity(connection: asyncpg.Connection, user_id: UUID, family_id: UUID) -> Identity | None:
    """Return the user of an access token, or None where the user or the family of tokens is no longer good."""
    row = await connection.fetchrow(_FAMILY, user_id, family_id)
    return None if row is None else Identity(row[0], row[1], row[2], row[3], Session("token", family_id))


async def live_sessions(connection: asyncpg.Connection, sessions: Iterable[Session]) -> frozenset[Session]:
    """Return which of these sessions are still good."""
    asked = list(sessions)
    rows = await connection.fetch(
        _LIVE,
        [session.id for session in asked if session.kind == "page"],
        [session.id for session in asked if session.kind == "token"],
    )
    return frozenset(Session(*row.values()) for row in rows)
