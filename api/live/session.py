"""Talk with one client, whatever carries the talk: requests in, answers out, the same on both transports."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import structlog

from api.auth.authenticator import Authenticator, cookie_token
from api.auth.identity import Identity, Session
from api.errors import UNAVAILABLE, ApiError
from api.live.client import LIMIT_BYTES, Client
from api.live.codes import (
    SLOW,
    TEMPORARILY_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNAUTHORISED,
    BadRequest,
    LiveError,
    describe,
)
from api.live.hub import Hub
from api.live.protocol import (
    AcknowledgeRequest,
    AuthRequest,
    ListRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    parse,
    request_id,
)

REQUESTS_PER_S = 20.0
REQUESTS_AT_ONCE = 50.0
TOO_MANY_FOR_S = 10.0  # who is refused for so long, and never saves up a second's worth meanwhile, is dismissed
GUEST = UUID(int=0)

ANSWERS = {
    "auth": "authenticated",
    "subscribe": "subscribed",
    "unsubscribe": "unsubscribed",
    "list": "listed",
    "acknowledge": "acknowledged",
}

log = structlog.get_logger()


class Allowance:
    """Let so many requests through: twenty a second, fifty at once. Times are seconds on the monotonic clock."""

    def __init__(self, now: float) -> None:
        self._left = REQUESTS_AT_ONCE
        self._at = now
        self._refusing_since: float | None = None

    def take(self, now: float) -> bool:
        """Take one; returns False where there is none left."""
        self._left = min(REQUESTS_AT_ONCE, self._left + (now - self._at) * REQUESTS_PER_S)
        self._at = now
        if self._left >= REQUESTS_PER_S:
            self._refusing_since = None
        if self._left >= 1.0:
            self._left -= 1.0
            return True
        self._refusing_since = self._refusing_since or now
        return False

    @property
    def is_abused(self) -> bool:
        """Say whether more has been asked for than is allowed for ten seconds on end."""
        return self._refusing_since is not None and self._at - self._refusing_since > TOO_MANY_FOR_S


class LiveSession:
    """Answer the requests of a client that has come in; one after the other, as its transport sees to."""

    __slots__ = ("_allowance", "_authenticator", "_client", "_hub")

    def __init__(self, hub: Hub, authenticator: Authenticator, client: Client) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._client = client
        self._allowance = Allowance(time.monotonic())

    @staticmethod
    def head(data: Any) -> dict[str, Any]:
        """Return what every answer to this request begins with."""
        return {"id": request_id(data), "server_ns": time.time_ns()}

    async def answer(self, request: Any, data: Any) -> dict[str, Any]:
        """Return the answer to a request by its name; what is wrong with it stands in the answer as `error`."""
        head = self.head(data)
        if not self._client.has_room(LIMIT_BYTES):  # who asks and asks without reading the answers is cut here
            return {**head, "error": describe(SLOW, "read what has been sent, then ask again; this was not read")}
        try:
            return {**head, **await self._handle(request, data)}
        except LiveError as error:
            return {**head, "error": error.content}
        except UNAVAILABLE as error:
            log.warning("a live request cannot be served", request_name=str(request), error=repr(error))
            return {**head, "error": describe(TEMPORARILY_UNAVAILABLE, "please try again")}

    async def _handle(self, request: Any, data: Any) -> dict[str, Any]:
        if not self._allowance.take(time.monotonic()):
            if self._allowance.is_abused:
                self._client.dismiss(TOO_MANY_REQUESTS, "far more requests than are allowed")
            raise LiveError(TOO_MANY_REQUESTS, f"at most {REQUESTS_PER_S:.0f} requests a second; this one was not read")
        if isinstance(data, LiveError):  # what the transport could not even read
            raise data
        handler = _HANDLERS.get(request) if isinstance(request, str) else None
        if handler is None:
            raise BadRequest(f"there is no such request; there are {', '.join(_HANDLERS)}")
        return await handler(self, data)

    async def _subscribe(self, data: Any) -> dict[str, Any]:
        return {"streams": await self._hub.subscribe(self._client, parse(data, SubscribeRequest))}

    async def _unsubscribe(self, data: Any) -> dict[str, Any]:
        self._hub.unsubscribe(self._client, parse(data, UnsubscribeRequest).streams)
        return {"streams": self._hub.followed(self._client)}

    async def _list(self, data: Any) -> dict[str, Any]:
        parse(data, ListRequest)
        return {"streams": self._hub.followed(self._client)}

    async def _acknowledge(self, data: Any) -> dict[str, Any]:
        return {"seq": await self._hub.acknowledge(self._client, parse(data, AcknowledgeRequest).seq)}

    async def _renew(self, data: Any) -> dict[str, Any]:
        """Have the session of another token of the same user stand behind the connection from now on."""
        token = parse(data, AuthRequest).token
        if token is None:
            raise BadRequest("renewal needs a token")
        identity = await identify(self._authenticator, AuthRequest(token=token), "")
        if identity.user_id != self._client.identity.user_id:
            raise LiveError(UNAUTHORISED, "that token is another user's; nothing has changed")
        self._client.identity = identity
        return {"role": identity.role}


_HANDLERS: dict[str, Callable[[LiveSession, Any], Awaitable[dict[str, Any]]]] = {
    "auth": LiveSession._renew,
    "subscribe": LiveSession._subscribe,
    "unsubscribe": LiveSession._unsubscribe,
    "list": LiveSession._list,
    "acknowledge": LiveSession._acknowledge,
}


async def identify(authenticator: Authenticator, wish: AuthRequest, cookies: str) -> Identity:
    """Return who comes in: by token, as a guest, or by the cookie of a page; raises `LiveError`."""
    if wish.guest:
        return Identity(GUEST, "guest", "Guest", "en", Session("guest", uuid4()))
    try:
        if wish.token is not None:
            return await authenticator.by_token(wish.token)
        cookie = cookie_token(cookies)
        identity = None if cookie is None else await authenticator.by_cookie(cookie)
    except ApiError as error:
        raise LiveError(UNAUTHORISED, error.message) from error
    except UNAVAILABLE as error:
        log.warning("a live client cannot be identified", error=repr(error))
        raise LiveError(TEMPORARILY_UNAVAILABLE, "please try again") from error
    if identity is None:
        raise LiveError(UNAUTHORISED, "please sign in")
    return identity
