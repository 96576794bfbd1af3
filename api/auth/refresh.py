"""Rotate refresh tokens: each is used once, then replaced; using one again ends its whole family.

One kindness: a retry within thirty seconds, as after a lost answer, gets the same successor while that one is
unused. The successor is stored sealed with a key derived from the token it replaces, so that the table alone
gives nobody a token.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.auth.sessions import hash_token

RETRY_WINDOW = timedelta(seconds=30)
_NONCE_BYTES = 12

_BEGIN = "insert into refresh_tokens (family_id, user_id, token_hash, expires_at) values ($1, $2, $3, now() + $4)"
# One statement, so that of two requests with the same token exactly one rotates it.
_ROTATE = """
with used as (
    update refresh_tokens set replaced_at = now(), successor_id = $2, successor_sealed = $4
     where token_hash = $1 and replaced_at is null and revoked_at is null and expires_at > now()
       and exists (select from users u where u.id = user_id and u.status = 'active')
    returning family_id, user_id),
born as (
    insert into refresh_tokens (id, family_id, user_id, token_hash, expires_at)
    select $2, family_id, user_id, $3, now() + $5 from used)
select family_id, user_id from used
"""
_REPLACED = """
select t.family_id, t.user_id, t.successor_sealed,
       t.revoked_at is null and t.replaced_at > now() - $2::interval
           and s.replaced_at is null and s.revoked_at is null and s.expires_at > now()
           and u.status = 'active' as retried,
       t.replaced_at is not null as replaced
  from refresh_tokens t join users u on u.id = t.user_id left join refresh_tokens s on s.id = t.successor_id
 where t.token_hash = $1
"""
_REVOKE = "update refresh_tokens set revoked_at = now() where family_id = $1 and revoked_at is null"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Hold what a refresh brought: the token that is valid now, of which family and whose."""

    token: str
    family_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class Reuse:
    """Say that a token was used again, so that its family has been ended."""

    family_id: UUID
    user_id: UUID


async def begin_family(connection: asyncpg.Connection, user_id: UUID, lifetime: timedelta) -> Rotation:
    """Begin a family with its first token, as a sign-in does."""
    rotation = Rotation(secrets.token_urlsafe(32), uuid4(), user_id)
    await connection.execute(_BEGIN, rotation.family_id, user_id, hash_token(rotation.token), lifetime)
    return rotation


async def rotate(connection: asyncpg.Connection, token: str, lifetime: timedelta) -> Rotation | Reuse | None:
    """Replace a token. Returns None where it is unknown, expired or revoked, or its user is not active."""
    successor = secrets.token_urlsafe(32)
    row = await connection.fetchrow(
        _ROTATE, hash_token(token), uuid4(), hash_token(successor), seal(token, successor), lifetime
    )
    if row is not None:
        return Rotation(successor, *row.values())
    return await _used_before(connection, token)


async def revoke_family(connection: asyncpg.Connection, token: str) -> UUID | None:
    """End the family of a token and return whose it was, or None where the token is unknown."""
    row = await connection.fetchrow(
        "select family_id, user_id from refresh_tokens where token_hash = $1", hash_token(token)
    )
    if row is None:
        return None
    await connection.execute(_REVOKE, row[0])
    user_id: UUID = row[1]
    return user_id


async def _used_before(connection: asyncpg.Connection, token: str) -> Rotation | Reuse | None:
    row = await connection.fetchrow(_REPLACED, hash_token(token), RETRY_WINDOW)
    if row is None:
        return None
    if row["retried"]:
        return Rotation(unseal(token, row["successor_sealed"]), row["family_id"], row["user_id"])
    if not row["replaced"]:
        return None
    await connection.execute(_REVOKE, row["family_id"])
    return Reuse(row["family_id"], row["user_id"])


def seal(token: str, successor: str) -> bytes:
    """Encrypt the successor so that only who holds the token can read it."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(_key(token)).encrypt(nonce, successor.encode(), None)


def unseal(token: str, sealed: bytes) -> str:
    """Decrypt what `seal` made; raises `cryptography.exceptions.InvalidTag` for any other token."""
    return AESGCM(_key(token)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()


def _key(token: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"alhambra refresh successor").derive(token.encode())
