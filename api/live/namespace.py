"""Carry the live stream over Socket.IO: the namespace `/live`."""

from __future__ import annotations

import time
from typing import Any

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from api.live.client import Client
from api.live.codes import LiveError
from api.live.message import NAMESPACE
from api.live.protocol import LARGEST_REQUEST, AuthRequest, parse
from api.live.session import LiveSession, identify
from api.live.transport import SocketTransport, find_connection, keep_little_unsent
from api.state import StateHolder


class LiveNamespace(socketio.AsyncNamespace):  # type: ignore[misc]  # socketio is untyped
    """Take in clients and pass their requests to their session.

    Every event of a client is a request, answered by the session's own table: with socketio's dispatch a client could
    call any `on_…` method, `connect` and `disconnect` among them, by sending an event of that name.
    """

    def __init__(self, holder: StateHolder) -> None:
        super().__init__(NAMESPACE)
        self._holder = holder
        self._clients: dict[str, tuple[Client, LiveSession, str]] = {}
        self._inside: dict[str, str] = {}  # the client of each socket of engine.io that has come in
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
        found = self._clients.get(sid)
        return None if found is None else await found[1].answer(event, args[1] if len(args) > 1 else None)

    async def check_door(self) -> None:
        """Cut sockets that have been open for too long without coming in, and forget clients without a socket."""
        rhythm = self._holder.state.settings.rhythm
        sockets = self.server.eio.sockets
        now, outside = time.monotonic(), sockets.keys() - self._inside.keys()
        self._waiting_since = {one: self._waiting_since.get(one, now) for one in outside}
        for eio_sid, since in self._waiting_since.items():
            environ = self.server.environ.get(eio_sid)
            connection = None if environ is None else find_connection(environ["asgi.send"])
            if now - since > rhythm.door_s and connection is not None:
                connection.abort()
        for eio_sid in self._inside.keys() - sockets.keys():
            self._leave(self._inside[eio_sid])

    async def _connect(self, sid: str, auth: Any) -> None:
        eio_sid = self.server.manager.eio_sid_from_sid(sid, NAMESPACE)
        environ = self.server.environ[eio_sid]
        state = self._holder.state
        connection = find_connection(environ["asgi.send"])
        if connection is not None:
            keep_little_unsent(connection)
        transport = SocketTransport(
            self.server.eio.sockets[eio_sid],
            connection,
            lambda: self.server.disconnect(sid, namespace=NAMESPACE),
        )
        try:
            wish = parse(auth or {}, AuthRequest)
            identity = await identify(state.authenticator, wish, environ.get("HTTP_COOKIE", ""))
            client = Client(identity, transport, state.settings.rhythm.stalled_s)
            state.hub.join(client)
        except LiveError as error:
            raise Refused(error.message, error.content) from error
        self._clients[sid] = client, LiveSession(state.hub, state.authenticator, client), eio_sid
        self._inside[eio_sid] = sid
        _forget_request(environ)

    def _leave(self, sid: str) -> None:
        found = self._clients.pop(sid, None)
        if found is not None:
            del self._inside[found[2]]
            self._holder.state.hub.leave(found[0])


def _forget_request(environ: dict[str, Any]) -> None:
    """Let go of what the client said as it came, cookies among it: engine.io and uvicorn keep it to the end."""
    environ["asgi.scope"]["headers"].clear()
    for name in environ.keys() - {"asgi.send"}:
        del environ[name]


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
