"""Carry the live stream over a raw WebSocket: one JSON object a message, its `type` first."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.json_response import JsonResponse
from api.live.client import Client
from api.live.codes import (
    MESSAGE_TOO_LARGE,
    NOT_AUTHENTICATED,
    UNAUTHORISED,
    BadRequest,
    LiveError,
)
from api.live.message import Message
from api.live.protocol import LARGEST_REQUEST, AuthRequest, parse
from api.live.session import ANSWERS, LiveSession, identify
from api.live.transport import WebSocketTransport, find_connection, keep_little_unsent
from api.state import StateHolder

PATH = "/ws/v1"
UPGRADE_REQUIRED = 426
# What plain HTTP is told at these addresses, in the form that the clients of each know.
SOCKETS_ONLY = {
    PATH: (UPGRADE_REQUIRED, "This is a WebSocket: connect with ws:// or wss://. See /docs/stream."),
    "/socket.io": (400, "Long polling is not offered: connect with transports: ['websocket']. See /docs/stream."),
}


class LiveWebSocket:
    """Be the ASGI application of `/ws/v1`, and pass everything else on."""

    def __init__(self, inner: ASGIApp, holder: StateHolder, origins: tuple[str, ...]) -> None:
        self._inner = inner
        self._holder = holder
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its end."""
        if scope["type"] == "http" and scope["path"].rstrip("/") in SOCKETS_ONLY:
            await _refuse(scope, receive, send)
            return
        if scope["type"] != "websocket" or scope["path"] != PATH:
            await self._inner(scope, receive, send)
            return
        await receive()  # websocket.connect
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        connection = find_connection(send)
        if connection is None or (origin is not None and origin not in self._origins):
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: HTTP 403
            return
        await send({"type": "websocket.accept"})
        keep_little_unsent(connection)
        transport = WebSocketTransport(connection, send)
        talk = _Talk(self._holder, transport, headers.get("cookie", ""))
        try:
            await talk.hold(receive)
            await transport.closed()
        finally:
            talk.leave()


class _Talk:
    """Hold the talk with one client: first who it is, then its requests, one after the other."""

    def __init__(self, holder: StateHolder, transport: WebSocketTransport, cookies: str) -> None:
        self._state = holder.state
        self._transport = transport
        self._cookies = cookies
        self._client: Client | None = None

    async def hold(self, receive: Receive) -> None:
        """Answer until the client goes or is sent away."""
        try:
            async with asyncio.timeout(self._state.settings.rhythm.door_s):
                first = await self._read(receive)
                session = None if first is None else await self._come_in(first)
            while session is not None:
                data = await self._read(receive)
                if data is None:
                    return
                await self._answer(session, data)
        except TimeoutError:
            self._close(LiveError(NOT_AUTHENTICATED, "nobody has said in time who this is"))
        except LiveError as error:
            self._close(error)

    def leave(self) -> None:
        """Forget the client; to be called when the connection is gone."""
        if self._client is not None:
            self._state.hub.leave(self._client)

    async def _read(self, receive: Receive) -> Any:
        """Return the next message, or None where the client has gone; raises `LiveError` where it must go."""
        event = await receive()
        if event["type"] != "websocket.receive":
            return None
        text = event.get("text")
        if text is None:
            return BadRequest("messages are text: one JSON object each")
        if len(text) > LARGEST_REQUEST:
            raise LiveError(MESSAGE_TOO_LARGE, f"a message has at most {LARGEST_REQUEST} characters")
        try:
            found = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            return BadRequest(f"that is no JSON: {error}")
        return found if isinstance(found, dict) else BadRequest("a message is one JSON object with a 'type'")

    async def _come_in(self, data: Any) -> LiveSession:
        """Take the client in by its first message; raises `LiveError`."""
        if isinstance(data, LiveError):
            raise data
        if data.get("type") != "auth":
            raise LiveError(UNAUTHORISED, "the first message must say who you are: type 'auth'")
        identity = await identify(self._state.authenticator, parse(data, AuthRequest), self._cookies)
        client = Client(identity, self._transport, self._state.settings.rhythm.stalled_s)
        self._state.hub.join(client)
        self._client = client
        session = LiveSession(self._state.hub, self._state.authenticator, client)
        client.send(Message("authenticated", session.head(data) | {"role": identity.role}))
        return session

    async def _answer(self, session: LiveSession, data: Any) -> None:
        assert self._client is not None
        kind = data.get("type") if isinstance(data, dict) else None
        found = await session.answer(kind, data)
        self._client.send(Message("error" if "error" in found else ANSWERS.get(kind or "", "error"), found))

    def _close(self, error: LiveError) -> None:
        if self._client is not None:
            self._client.dismiss(error.code, error.message)
        else:
            self._transport.send(Message("closing", error.content))
            self._transport.close(error.code)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer plain HTTP where only sockets are served."""
    status, message = SOCKETS_ONLY[scope["path"].rstrip("/")]
    headers = {"Upgrade": "websocket"} if status == UPGRADE_REQUIRED else {}
    await JsonResponse({"code": 0, "message": message}, status, headers)(scope, receive, send)
