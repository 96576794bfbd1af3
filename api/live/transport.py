"""Reach a client: the port the hub sends through, and its form for each of the two transports."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from starlette.types import Send

from api.live.codes import FIRST_FINAL
from api.live.message import Message

LAST_WORDS_S = 1.0  # so long a client may take for what is queued before its connection is ended
LOOKS = 20  # whether it has, meanwhile
LINGER_S = 5.0  # so long a client has to take its goodbye; one that never reads would stay for good
UNSENT_BYTES = 32 * 1024
ACKNOWLEDGEMENT_BYTES = 256  # what an answer in engine.io's queue counts for: we see their number, not their size


class Transport(Protocol):
    """Send messages to one client, in order, without ever waiting for it."""

    def send(self, message: Message) -> None:
        """Queue a message."""

    def send_at_once(self, message: Message) -> bool:
        """Send a message where nothing waits before it, as is nearly always so; returns whether it was sent."""

    def backlog(self) -> int:
        """Return the bytes that this client has not taken yet."""

    def close(self, code: int) -> None:
        """End the connection after what is queued, with a code of ours."""

    def abort(self) -> None:
        """Cut the connection now, whatever is still queued."""


class WebSocketTransport:
    """Write frames straight to the connection below a raw WebSocket: its buffer is the queue, and is measured.

    uvicorn writes to the same buffer only what this class has it write: the closing handshake, and answers to pings.
    """

    __slots__ = ("_closing", "_connection", "_end")

    def __init__(self, connection: asyncio.Transport, end: Send) -> None:
        self._connection = connection
        self._end = end
        self._closing: asyncio.Task[None] | None = None

    def send(self, message: Message) -> None:
        """Write a message."""
        if self._closing is None and not self._connection.is_closing():
            self._connection.write(message.websocket_frame)

    def send_at_once(self, message: Message) -> bool:
        """Write a message where the buffer is empty."""
        connection = self._connection
        if connection.get_write_buffer_size() or self._closing is not None or connection.is_closing():
            return False
        connection.write(message.websocket_frame)
        return True

    def backlog(self) -> int:
        """Return the bytes in the connection's write buffer."""
        return self._connection.get_write_buffer_size()

    def close(self, code: int) -> None:
        """Begin WebSocket's closing handshake behind what is written."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code), name="live close")
            asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    async def closed(self) -> None:
        """Wait until the closing handshake has been begun, where it is to be; uvicorn hangs up without it otherwise."""
        if self._closing is not None:
            await self._closing

    def abort(self) -> None:
        """Cut the connection now; uvicorn cleans up as after any lost connection."""
        self._connection.abort()

    async def _close(self, code: int) -> None:
        with suppress(OSError):  # uvicorn's word for a client that has gone meanwhile
            if not self._connection.is_closing():
                await self._end({"type": "websocket.close", "code": code})


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

    __slots__ = ("_closing", "_connection", "_disconnect", "_in_hand", "_queued", "_queued_bytes", "_socket")

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
        if self.send_at_once(message):
            return
        text = message.socketio_packet.decode()
        self._queued_bytes += len(text)
        self._queued += 1
        self._socket.queue.put_nowait(EncodedPacket(text, self._taken, self._written))

    def send_at_once(self, message: Message) -> bool:
        """Write a message where all that was sent before has left, and the connection is open.

        Packets of engine.io's own, as the answer to CONNECT, are out of the queue a moment before they are written:
        the queue counts them as unfinished until then.
        """
        connection, socket = self._connection, self._socket
        if connection is None or self._queued or self._in_hand or socket.queue._unfinished_tasks:
            return False
        if connection.get_write_buffer_size() or self._closing is not None or connection.is_closing():
            return False
        if socket.closing or socket.closed:
            return False
        connection.write(message.socketio_frame)
        return True

    def backlog(self) -> int:
        """Return the bytes in engine.io's queue and in the connection's write buffer."""
        waiting: int = self._socket.queue.qsize()
        answers = max(0, waiting - self._queued)
        buffered = 0 if self._connection is None else self._connection.get_write_buffer_size()
        return self._queued_bytes + answers * ACKNOWLEDGEMENT_BYTES + buffered

    def close(self, code: int) -> None:
        """End the connection behind what is queued.

        A Socket.IO client comes back by itself from a connection that was lost, and never from a DISCONNECT: so that
        is what it gets where it is not to come back.
        """
        if self._closing is None:
            ending = self._disconnect() if code >= FIRST_FINAL else self._hang_up()
            self._closing = asyncio.create_task(ending, name="live close")
            asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def abort(self) -> None:
        """Cut the connection now; engine.io and uvicorn clean up as after any lost connection."""
        if self._connection is not None:
            self._connection.abort()

    async def _hang_up(self) -> None:
        for _ in range(LOOKS):
            if not self._queued and not self._in_hand:
                break
            await asyncio.sleep(LAST_WORDS_S / LOOKS)
        if self._connection is not None:
            self._connection.close()

    def _taken(self, size: int) -> None:
        self._queued_bytes -= size
        self._queued -= 1
        self._in_hand += 1

    def _written(self) -> None:
        self._in_hand -= 1


def find_connection(send: Any) -> asyncio.Transport | None:
    """Return the connection below a WebSocket's ASGI `send`, or None on a server that does not show it.

    uvicorn's `send` is a method of the protocol object that owns the connection.
    """
    connection: asyncio.Transport | None = getattr(getattr(send, "__self__", None), "transport", None)
    return connection


def keep_little_unsent(connection: asyncio.Transport) -> None:
    """Have the kernel take little more than what is on the wire, where it can be told so.

    Else it takes megabytes of what a client is slow to read: old by the time they are read, beyond conflation, and
    uncounted in `backlog`.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    own = connection.get_extra_info("socket")
    if option is not None and own is not None:
        with suppress(OSError), socket.socket(fileno=os.dup(own.fileno())) as same:  # uvloop's own lends no options
            same.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
