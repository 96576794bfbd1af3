"""Sign people in and out: the same steps for tokens and for pages, and a line in the audit for each."""

from __future__ import annotations

import re
from datetime import timedelta

import asyncpg

from api.auth.passwords import PasswordChecker
from api.auth.refresh import Reuse, Rotation, begin_family, revoke_family, rotate
from api.auth.sessions import end_page_session, open_page_session
from api.auth.tokens import AccessClaims, AccessTokens
from api.errors import Unauthorised
from api.rate_limits import RateLimiters
from db.audit import record
from db.people import User, user_by_email, user_by_id
from db.postgres import acquire

LONGEST_NAME = 254
LONGEST_PASSWORD = 1024
REFUSED = "The name or the password is wrong."


class SignIn:
    """Check credentials, open sessions and end them; raises what `api.errors` names."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        passwords: PasswordChecker,
        limiters: RateLimiters,
        tokens: AccessTokens,
        refresh_lifetime: timedelta,
    ) -> None:
        self._pool = pool
        self._passwords = passwords
        self._limiters = limiters
        self._tokens = tokens
        self._refresh_lifetime = refresh_lifetime

    async def by_token(self, name: str, password: str, address: str) -> tuple[str, Rotation, User]:
        """Sign in a program: returns the access token, the refresh token with its family, and the user."""
        user = await self._check(name, password, address)
        async with acquire(self._pool) as connection, connection.transaction():
            rotation = await begin_family(connection, user.id, self._refresh_lifetime)
            await record(connection, user.id, "sign_in", str(user.id), {"by": "token"}, address)
        return self._access(rotation, user), rotation, user

    async def by_page(self, name: str, password: str, address: str) -> str:
        """Sign in a browser: returns the token for its cookie."""
        user = await self._check(name, password, address)
        async with acquire(self._pool) as connection, connection.transaction():
            token = await open_page_session(connection, user.id)
            await record(connection, user.id, "sign_in", str(user.id), {"by": "page"}, address)
        return token

    async def refresh(self, token: str, address: str) -> tuple[str, Rotation]:
        """Replace a refresh token: returns the access token and the refresh token to use from now on."""
        async with acquire(self._pool) as connection, connection.transaction():
            result = await rotate(connection, token, self._refresh_lifetime)
            if isinstance(result, Reuse):
                detail = {"family": str(result.family_id)}
                await record(connection, result.user_id, "refresh_reused", str(result.user_id), detail, address)
            user = await user_by_id(connection, result.user_id) if isinstance(result, Rotation) else None
        if not isinstance(result, Rotation) or user is None:
            raise Unauthorised("The session has ended. Please sign in again.")
        return self._access(result, user), result

    async def end_tokens(self, token: str, address: str) -> None:
        """End the session of a refresh token; an unknown one is not an error, it has ended already."""
        async with acquire(self._pool) as connection, connection.transaction():
            user_id = await revoke_family(connection, token)
            if user_id is not None:
                await record(connection, user_id, "sign_out", str(user_id), {"by": "token"}, address)

    async def end_page(self, token: str, address: str) -> None:
        """End the session of a page's cookie."""
        async with acquire(self._pool) as connection, connection.transaction():
            user_id = await end_page_session(connection, token)
            if user_id is not None:
                await record(connection, user_id, "sign_out", str(user_id), {"by": "page"}, address)

    def _access(self, rotation: Rotation, user: User) -> str:
        return self._tokens.issue(AccessClaims(user.id, user.role, rotation.family_id))

    async def _check(self, name: str, password: str, address: str) -> User:
        """Return the active user with these credentials; raises `Unauthorised` or `TooManyRequests`."""
        name = normal_name(name)
        await self._limiters.begin_sign_in(address, name)
        async with acquire(self._pool) as connection:
            user = await user_by_email(connection, name)
        fits = len(password) <= LONGEST_PASSWORD
        good = await self._passwords.matches(user.password_hash if user and fits else None, password[:LONGEST_PASSWORD])
        if user is None or not good or user.status != "active":
            await self._refuse(user, name, address)
            raise Unauthorised(REFUSED)
        await self._limiters.sign_in_succeeded(address, name)
        return user

    async def _refuse(self, user: User | None, name: str, address: str) -> None:
        await self._limiters.sign_in_failed(address)
        who, subject = (user.id, str(user.id)) if user else (None, "")
        async with acquire(self._pool) as connection, connection.transaction():
            await record(connection, who, "sign_in_refused", subject, {"name": name}, address)


def normal_name(name: str) -> str:
    """Return the form in which a user name is counted and looked up; control characters do not belong in one."""
    return re.sub(r"[\x00-\x1f\x7f]", "", name).strip().lower()[:LONGEST_NAME]
