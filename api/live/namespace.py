"""Speak Socket.IO with the clients of `/live`."""

from __future__ import annotations

import time
from typing import Any

import socketio
import structlog
from socketio.exceptions import ConnectionRefusedError as Refused

from api.auth.authenticator import Authenticator, cookie_token
from api.auth.identity import Identity
from api.errors import UNAVAILABLE, ApiError
from api.live.client import LIMIT_BYTES, Client
from api.live.hub import Hub
from api.live.message import NAMESPACE, TEMPORARILY_UNAVAILABLE, UNAUTHORISED
from api.live.protocol import BadRequest, LiveError, parse_subscribe, parse_unsubscribe, request_id
from api.live.transport import SocketTransport, find_connection
from api.state import StateHolder

log = structlog.get_logger()

LARGEST_REQUEST = 16 * 1024


class LiveNamespace(socketio.AsyncNamespace):  # type: ignore[misc]  # socketio is untyped
    """Take in clients and pass their requests to the hub.

    Events are dispatched by an explicit table: with socketio's own dispatch a client could call any `on_…`
    method, `connect` and `disconnect` among them, by sending an event of that name.
    """

    def __init__(self, holder: StateHolder) -> None:
        super().__init__(NAMESPACE)
        self._holder = holder
        self._clients: dict[str, Client] = {}
        self._waiting_since: dict[str, float] = {}

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Handle an event of python-socketio or of a client; returns the acknowledgement."""
        sid = args[0]
        if event == "connect" and sid not in self._clients:
            await self._connect(sid, args[2] if len(args) > 2 else None)
            return None
        if event == "disconnect" and not self.server.manager.is_connected(sid, NAMESPACE):
            self._leave(sid)
            return None
        client = self._clients.get(sid)
        return None if client is None else await self._answer(client, event, args[1] if len(args) > 1 else None)

    async def check_door(self) -> None:
        """Cut sockets that have been open for too long without coming in, and forget clients without a socket."""
        rhythm = self._holder.state.settings.rhythm
        sockets = self.server.eio.sockets
        inside = {self.server.manager.eio_sid_from_sid(sid, NAMESPACE): sid for sid in self._clients}
        now = time.monotonic()
        self._waiting_since = {one: self._waiting_since.get(one, now) for one in sockets if one not in inside}
        for eio_sid, since in self._waiting_since.items():
            environ = self.server.environ.get(eio_sid)
            connection = None if environ is None else find_connection(environ)
            if now - since > rhythm.door_s and connection is not None:
                connection.abort()
        for eio_sid, sid in inside.items():
            if eio_sid not in sockets:
                self._leave(sid)

    async def _connect(self, sid: str, auth: Any) -> None:
        eio_sid = self.server.manager.eio_sid_from_sid(sid, NAMESPACE)
        environ = self.server.environ[eio_sid]
        identity = await self._identify(environ, auth)
        transport = SocketTransport(
            self.server.eio.sockets[eio_sid],
            find_connection(environ),
            lambda: self.server.disconnect(sid, namespace=NAMESPACE),
        )
        client = Client(identity, transport, self._holder.state.settings.rhythm.stalled_s)
        self._clients[sid] = client
        self._hub.join(client)

    async def _identify(self, environ: dict[str, Any], auth: Any) -> Identity:
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            if isinstance(token, str):
                return await self._authenticator.by_token(token)
            cookie = cookie_token(environ.get("HTTP_COOKIE", ""))
            identity = None if cookie is None else await self._authenticator.by_cookie(cookie)
        except ApiError as error:
            raise _refused(UNAUTHORISED, error.message) from error
        except UNAVAILABLE as error:
            log.warning("a live client cannot be identified", error=repr(error))
            raise _refused(TEMPORARILY_UNAVAILABLE, "please try again") from error
        if identity is None:
            raise _refused(UNAUTHORISED, "please sign in")
        return identity

    async def _answer(self, client: Client, event: str, data: Any) -> dict[str, Any]:
        identifier = request_id(data)
        if not client.has_room(LIMIT_BYTES):  # who asks and asks without reading the answers is cut here
            return {"id": identifier}
        try:
            return {"id": identifier, "streams": await self._serve(client, event, data)}
        except LiveError as error:
            return _error(identifier, error.code, error.message)
        except UNAVAILABLE as error:
            log.warning("a live request cannot be served", event_name=event, error=repr(error))
            return _error(identifier, TEMPORARILY_UNAVAILABLE, "please try again")

    async def _serve(self, client: Client, event: str, data: Any) -> list[Any]:
        if event == "subscribe":
            return await self._hub.subscribe(client, parse_subscribe(data))
        if event == "unsubscribe":
            streams = parse_unsubscribe(data).streams
            self._hub.unsubscribe(client, streams)
            return list(streams)
        raise BadRequest("there is no such request")

    def _leave(self, sid: str) -> None:
        client = self._clients.pop(sid, None)
        if client is not None:
            self._hub.leave(client)

    @property
    def _hub(self) -> Hub:
        return self._holder.state.hub

    @property
    def _authenticator(self) -> Authenticator:
        return self._holder.state.authenticator


def create_socket_server(namespace: LiveNamespace, origins: list[str]) -> socketio.AsyncServer:
    """Make the Socket.IO server: WebSocket only, our origins only, events of a client one after the other."""
    server = socketio.AsyncServer(
        async_mode="asgi",
        transports=["websocket"],
        allow_upgrades=False,
        cors_allowed_origins=origins,
        async_handlers=False,
        namespaces=[NAMESPACE],
        max_http_buffer_size=LARGEST_REQUEST,
        ping_interval=20,
        ping_timeout=20,
        logger=False,
        engineio_logger=False,
    )
    server.register_namespace(namespace)
    return server


def _refused(code: int, message: str) -> Refused:
    return Refused(message, {"code": code, "message": message})


def _error(identifier: int | str | None, code: int, message: str) -> dict[str, Any]:
    return {"id": identifier, "error": {"code": code, "message": message}}
