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


class PacketText(str):
    """Be the text of a packet, and say when the server encodes it: that is when it is written."""

    _written: Callable[[], None]

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the bytes of the frame; uvicorn calls it once, and writes them at once."""
        self._written()
        return super().encode(encoding, errors)


class EncodedPacket:
    """Stand in engine.io's queue for a packet that is encoded already, and say when it is taken out and written."""

    packet_type = 4
    binary = False
    __slots__ = ("_taken", "_text")

    def __init__(self, text: str, taken: Callable[[int], None], written: Callable[[], None]) -> None:
        self._text = PacketText(text)
        self._text._written = written
        self._taken = taken

    def encode(self, b64: bool = False) -> str:  # noqa: ARG002  engine.io's signature
        """Return the text of the frame; engine.io calls it once, and sends as soon as the connection takes more."""
        self._taken(len(self._text))
        return self._text


class SocketTransport:
    """Send straight to the connection while nothing waits, else through engine.io's queue, which keeps the order.

    A message is encoded and framed once for all its clients, and written without a task of engine.io's waking up:
    a third of the processor time of its queue. engine.io's queue has no bound and no abort: `backlog` lets the hub
    keep the bound, and `abort` reaches below ASGI to the connection itself, because closing waits for a client that
    may never read again.
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
        self._in_hand = 0  # taken out of the queue and not written yet

    def send(self, message: Message) -> None:
        """Send a message, or queue it behind what waits."""
        if self._connection is not None and self._is_clear(self._connection):
            self._connection.write(message.websocket_frame)
            return
        text = message.socketio_packet.decode()
        self._queued_bytes += len(text)
        self._queued += 1
        self._socket.queue.put_nowait(EncodedPacket(text, self._taken, self._written))

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

    def _is_clear(self, connection: asyncio.Transport) -> bool:
        """Say whether all that was sent before has left, and the connection is open."""
        waits = self._queued or self._in_hand or self._socket.queue.qsize() or connection.get_write_buffer_size()
        ends = self._closing is not None or self._socket.closing or self._socket.closed or connection.is_closing()
        return not waits and not ends

    def _taken(self, size: int) -> None:
        self._queued_bytes -= size
        self._queued -= 1
        self._in_hand += 1

    def _written(self) -> None:
        self._in_hand -= 1


def find_connection(environ: dict[str, Any]) -> asyncio.Transport | None:
    """Return the connection below a WebSocket's ASGI `send`, or None on a server that does not show it.

    uvicorn's `send` is a method of the protocol object that owns the connection.
    """
    protocol = getattr(environ["asgi.send"], "__self__", None)
    connection: asyncio.Transport | None = getattr(protocol, "transport", None)
    return connection
