"""Reach a client: the port the hub sends through, and its Socket.IO form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from api.live.message import Message

ACKNOWLEDGEMENT_BYTES = 256  # what an answer in engine.io's queue counts for: we see their number, not their size


class Transport(Protocol):
    """Send messages to one client, in order, without ever waiting for it."""

    def send(self, message: Message) -> None:
        """Queue a message."""

    def backlog(self) -> int:
        """Return the bytes that this client has not taken yet."""

    def close(self) -> None:
        """End the connection after what is queued."""

    def abort(self) -> None:
        """Cut the connection now, whatever is still queued."""


class EncodedPacket:
    """Stand in engine.io's queue for a packet that is encoded already, and say when it is taken out."""

    packet_type = 4
    binary = False
    __slots__ = ("_taken", "_text")

    def __init__(self, text: str, taken: Callable[[int], None]) -> None:
        self._text = text
        self._taken = taken

    def encode(self, b64: bool = False) -> str:  # noqa: ARG002  engine.io's signature
        """Return the text of the frame; engine.io calls it once, just before it sends."""
        self._taken(len(self._text))
        return self._text


class SocketTransport:
    """Send through engine.io's own queue, which keeps our messages in order with its packets.

    engine.io's queue has no bound and no abort: `backlog` lets the hub keep the bound, and `abort` reaches
    below ASGI to the connection itself, because closing waits for a client that may never read again.
    """

    def __init__(
        self, socket: Any, connection: asyncio.Transport | None, disconnect: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._disconnect = disconnect
        self._closing: asyncio.Task[None] | None = None
        self._socket = socket
        self._connection = connection
        self._queued_bytes = 0
        self._queued = 0

    def send(self, message: Message) -> None:
        """Queue a message."""
        text = message.socketio_packet
        self._queued_bytes += len(text)
        self._queued += 1
        self._socket.queue.put_nowait(EncodedPacket(text, self._taken))

    def backlog(self) -> int:
        """Return the bytes in engine.io's queue and in the connection's write buffer."""
        waiting: int = self._socket.queue.qsize()
        answers = max(0, waiting - self._queued)
        buffered = 0 if self._connection is None else self._connection.get_write_buffer_size()
        return self._queued_bytes + answers * ACKNOWLEDGEMENT_BYTES + buffered

    def close(self) -> None:
        """Send Socket.IO's DISCONNECT behind what is queued."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._disconnect(), name="live disconnect")

    def abort(self) -> None:
        """Cut the connection now; engine.io and uvicorn clean up as after any lost connection."""
        if self._connection is not None:
            self._connection.abort()

    def _taken(self, size: int) -> None:
        self._queued_bytes -= size
        self._queued -= 1


def find_connection(environ: dict[str, Any]) -> asyncio.Transport | None:
    """Return the connection below a WebSocket's ASGI `send`, or None on a server that does not show it.

    uvicorn's `send` is a method of the protocol object that owns the connection.
    """
    protocol = getattr(environ["asgi.send"], "__self__", None)
    connection: asyncio.Transport | None = getattr(protocol, "transport", None)
    return connection
