"""Read the people: who signs in, and who advises whom."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

_COLUMNS = "select id, email, password_hash, first_name, last_name, phone, country, language, status, role from users"


@dataclass(frozen=True, slots=True)
class User:
    """Hold a row of `users`; `password_hash` is Argon2id, None where there is no password to sign in with."""

    id: UUID
    email: str
    password_hash: str | None
    first_name: str
    last_name: str
    phone: str | None
    country: str | None
    language: str
    status: str
    role: str

    def __repr__(self) -> str:
        return f"User(id={self.id}, role={self.role!r}, status={self.status!r})"  # no hash and no name in a log


async def user_by_email(connection: asyncpg.Connection, email: str) -> User | None:
    """Return the user with this address, whatever its case, or None."""
    row = await connection.fetchrow(_COLUMNS + " where email = lower($1)", email)
    return None if row is None else User(*row.values())


async def user_by_id(connection: asyncpg.Connection, user_id: UUID) -> User | None:
    """Return the user, or None."""
    row = await connection.fetchrow(_COLUMNS + " where id = $1", user_id)
    return None if row is None else User(*row.values())


async def write_password_hash(connection: asyncpg.Connection, user_id: UUID, password_hash: str) -> None:
    """Replace a user's password hash, as after a sign-in when the hash has outdated parameters."""
    await connection.execute(
        "update users set password_hash = $2, updated_at = now() where id = $1", user_id, password_hash
    )


async def advisors(connection: asyncpg.Connection) -> list[User]:
    """Return the active advisors in order of name."""
    rows = await connection.fetch(
        _COLUMNS + " where role = 'advisor' and status = 'active' order by last_name, first_name"
    )
    return [User(*row.values()) for row in rows]
