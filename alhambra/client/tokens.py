"""Say who we are: sign in, and keep a valid access token."""

from __future__ import annotations

import base64
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec

from alhambra.client.errors import (
    BAD_REQUEST,
    FORBIDDEN,
    SERVER_ERROR,
    TEMPORARILY_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNAUTHORISED,
    ConnectionLost,
    Refused,
)

RENEWED_AT = 0.75  # of a token's life, give or take a twentieth so that many clients do not come at once
SOONEST_S = 0.5


class Tokens:
    """Hold the access token and renew it; this one is of a guest, who has none."""

    def __init__(self) -> None:
        self.token: str | None = None
        self._renew_at: float | None = None

    @property
    def user_id(self) -> str | None:
        """Return whose token it is."""
        return None if self.token is None else _claims(self.token).get("sub")

    def auth(self) -> dict[str, Any]:
        """Return what the `auth` message says."""
        return {"guest": True} if self.token is None else {"token": self.token}

    def renew_in_s(self) -> float | None:
        """Return in how many seconds the token is to be renewed, None for never."""
        return None if self._renew_at is None else max(SOONEST_S, self._renew_at - time.monotonic())

    async def obtain(self, web: httpx.AsyncClient, url: str) -> None:
        """See to it that there is a token that is good for a while. Raises `Refused`, `ConnectionLost`."""

    async def renew(self, web: httpx.AsyncClient, url: str) -> None:
        """Replace the token. Raises `Refused`, `ConnectionLost`."""

    def forget(self) -> bool:
        """Forget a token that was refused; returns whether another one can be had."""
        return False

    async def end(self, web: httpx.AsyncClient, url: str) -> None:
        """End the session where it was begun here."""

    def _keep(self, token: str) -> None:
        """Keep a token; its life is measured by our own clock, from now, because clocks differ."""
        claims = _claims(token)
        self.token, self._renew_at = token, None
        if "exp" in claims and "iat" in claims:
            share = RENEWED_AT + random.uniform(-0.05, 0.05)  # noqa: S311  not a secret
            self._renew_at = time.monotonic() + share * (claims["exp"] - claims["iat"])


class ProvidedTokens(Tokens):
    """Use tokens that the program provides: a text, or a function that is called whenever one is needed."""

    def __init__(self, provider: str | Callable[[], Awaitable[str]]) -> None:
        super().__init__()
        self._provider = provider

    async def obtain(self, web: httpx.AsyncClient, url: str) -> None:
        """Ask the provider, unless the token at hand is young enough."""
        if self.token is None or (self._renew_at is not None and time.monotonic() > self._renew_at):
            await self.renew(web, url)

    async def renew(self, web: httpx.AsyncClient, url: str) -> None:  # noqa: ARG002  the provider has its own
        """Ask the provider; a text given once is all there is, and is not renewed."""
        if isinstance(self._provider, str):
            self._keep(self._provider)
            self._renew_at = None
        else:
            self._keep(await self._provider())

    def forget(self) -> bool:
        """Forget the token; a function may have another."""
        if isinstance(self._provider, str) or self.token is None:
            return False
        self.token = None
        return True


class SignedIn(Tokens):
    """Sign in with a password, and keep the session going with its refresh tokens."""

    def __init__(self, email: str, password: str) -> None:
        super().__init__()
        self._email = email
        self._password = password
        self._refresh: str | None = None

    def __repr__(self) -> str:
        return f"SignedIn({self._email!r})"

    async def obtain(self, web: httpx.AsyncClient, url: str) -> None:
        """Sign in, unless there is a session whose token is young enough."""
        if self.token is None:
            await self._sign_in(web, url)
        elif self._renew_at is not None and time.monotonic() > self._renew_at:
            await self.renew(web, url)

    async def renew(self, web: httpx.AsyncClient, url: str) -> None:
        """Refresh; where the session has ended, sign in again."""
        if self._refresh is not None:
            try:
                await self._post(web, f"{url}/api/auth/refresh", {"refreshToken": self._refresh})
            except Refused as refusal:
                if not refusal.final:
                    raise
            else:
                return
        await self._sign_in(web, url)

    def forget(self) -> bool:
        """Forget the session: the next `obtain` signs in."""
        had = self.token is not None
        self.token = self._refresh = self._renew_at = None
        return had

    async def end(self, web: httpx.AsyncClient, url: str) -> None:
        """Sign out. Where that fails the session ends by itself, when its tokens expire."""
        if self._refresh is not None:
            with contextlib.suppress(httpx.HTTPError):
                await web.post(f"{url}/api/auth/logout", json={"refreshToken": self._refresh})

    async def _sign_in(self, web: httpx.AsyncClient, url: str) -> None:
        await self._post(web, f"{url}/api/auth/login", {"email": self._email, "password": self._password})

    async def _post(self, web: httpx.AsyncClient, address: str, content: dict[str, str]) -> None:
        found = await read(web, "POST", address, json=content)
        try:
            self._refresh = found["refreshToken"]
            self._keep(found["token"])
        except (KeyError, TypeError) as error:
            raise Refused(SERVER_ERROR, "server_error", f"{address} answers without tokens") from error


async def read(web: httpx.AsyncClient, method: str, address: str, **content: Any) -> Any:
    """Ask the REST interface and return its JSON. Raises `Refused`, and `ConnectionLost` where nothing answers."""
    try:
        answer = await web.request(method, address, **content)
    except httpx.HTTPError as error:
        raise ConnectionLost(f"{address} does not answer: {error or type(error).__name__}") from error
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.is_success and found is not None:
        return found
    message = found.get("error") if isinstance(found, dict) else None
    raise _refusal(answer, message or f"{address} answers {answer.status_code}, and no JSON.")


def _refusal(answer: httpx.Response, message: str) -> Refused:
    status = answer.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        wait = answer.headers.get("Retry-After", "")
        return Refused(TOO_MANY_REQUESTS, "too_many_requests", message, float(wait) if wait.isdecimal() else 0.0)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or answer.is_success:
        return Refused(TEMPORARILY_UNAVAILABLE, "temporarily_unavailable", message)
    if status == httpx.codes.NOT_FOUND:
        return Refused(FORBIDDEN, "not_found", message)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Refused(UNAUTHORISED, "unauthorised", message)
    return Refused(BAD_REQUEST, "bad_request", message)


def _claims(token: str) -> dict[str, Any]:
    """Read what a JWT says, unchecked: it is the bank's business to check it. Empty where it is none."""
    parts = token.split(".")
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=="))
    except (IndexError, ValueError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) else {}
