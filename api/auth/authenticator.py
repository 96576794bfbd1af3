"""Find out who is asking, from a bearer token or a page's cookie."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

import asyncpg

from api.auth.identity import Identity
from api.auth.sessions import COOKIE, hash_token, page_identity, token_identity
from api.auth.tokens import AccessClaims, AccessTokens
from api.errors import Unauthorised
from db.postgres import acquire

CACHE_S = 2.0  # with the live stream's two seconds this keeps "dead within five seconds of its end"
CACHE_SIZE = 10_000


class Authenticator:
    """Turn credentials into identities; an answer is remembered for at most two seconds."""

    def __init__(self, pool: asyncpg.Pool, tokens: AccessTokens) -> None:
        self._pool = pool
        self._tokens = tokens
        self._known: OrderedDict[bytes | AccessClaims, tuple[float, Identity]] = OrderedDict()

    async def by_token(self, token: str) -> Identity:
        """Return who holds an access token.

        Raises `Forbidden` where the token is none of ours, `Unauthorised` where it has expired, its session has
        ended or its user is not active.
        """
        claims = self._tokens.read(token)
        identity = self._remembered(claims)
        if identity is None:
            async with acquire(self._pool) as connection:
                identity = await token_identity(connection, claims.user_id, claims.family_id)
            self._remember(claims, identity)
        if identity is None:
            raise Unauthorised("The session has ended. Please sign in again.")
        return identity

    async def by_cookie(self, token: str) -> Identity | None:
        """Return who holds a page's cookie, or None where the session or the user is no longer good."""
        key = hash_token(token)
        identity = self._remembered(key)
        if identity is None:
            async with acquire(self._pool) as connection:
                identity = await page_identity(connection, token)
            self._remember(key, identity)
        return identity

    def forget_cookie(self, token: str) -> None:
        """Forget a cookie at once, as when its session is ended here."""
        self._known.pop(hash_token(token), None)

    def _remembered(self, key: bytes | AccessClaims) -> Identity | None:
        found = self._known.get(key)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def _remember(self, key: bytes | AccessClaims, identity: Identity | None) -> None:
        if (
            identity is None
        ):  # only good news is remembered: a refused session costs a query, a guess cannot fill memory
            self._known.pop(key, None)
            return
        self._known[key] = (time.monotonic() + CACHE_S, identity)
        self._known.move_to_end(key)
        while len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """Return the token of an `Authorization: Bearer` header (by its lower-case name), or None."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def cookie_token(header: str) -> str | None:
    """Return the session token in a `Cookie` header, or None."""
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return found.value or None if found is not None else None
