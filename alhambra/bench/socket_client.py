"""Follow a stream as a bare client of either transport: no more than the protocol asks, and thousands fit in a process.

`python-socketio` spends some 100 µs on a message, several times what the server does for it; this spends about 5.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import struct
import time
from typing import ClassVar, cast

import msgspec

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
LAST = 0x80  # the frame is the last of its message
MASKED = 0x80
UPDATE = re.compile(
    rb'(?:42/live,\["(?:snapshot|delta)",\{|\{"type":"(?:snapshot|delta)",)'
    rb'"stream":"[^"]*","epoch":(\d+),(?:"prev":(\d+),)?"seq":(\d+),"event_ns":(\d+),"sent_ns":\d+(?:,"prev":(\d+))?'
)
UPDATE_BYTES = 300


class SocketClient(asyncio.Protocol):
    """Connect, come in, subscribe to one stream and note how old the newest tick of an update is on arrival.

    `updates` and `bytes` count what came, frames and all, `gaps` deltas that did not follow what was held. `newest_ns`
    is the event time that is held. `arrived` is set with the first update, or at the end, of which `reason` says more
    where the server gave one. Only who is `sampled` keeps `latencies_ms`.
    """

    path: ClassVar[str]

    def __init__(self, host: str, token: str, stream: str, max_hz: float, sampled: bool = True) -> None:
        self._host = host
        self.token = token
        self.wanted = {"id": 1, "streams": [{"stream": stream}], "max_hz": max_hz}
        self._sampled = sampled
        self._rest = b""
        self._open = False
        self._held: tuple[bytes, bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self.latencies_ms: list[float] = []
        self.updates = self.bytes = self.gaps = self.newest_ns = 0
        self.ended = False
        self.reason = ""
        self.arrived = asyncio.Event()

    def opened(self) -> None:
        """Begin to speak: the WebSocket is open."""
        raise NotImplementedError

    def hear(self, text: bytes) -> None:
        """Take a message that is no update; answer where the protocol wants it."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Note the end."""
        self.ended = True
        self.arrived.set()

    def close(self, reason: bytes = b"") -> None:
        """Go, as a closed browser does."""
        self.reason = reason[:UPDATE_BYTES].decode(errors="replace")
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Count from here on."""
        self.latencies_ms.clear()
        self.updates = self.bytes = 0

    def send(self, content: bytes, kind: int = TEXT) -> None:
        """Send a frame."""
        assert self._transport is not None
        size = len(content)
        head = struct.pack("!BB", LAST | kind, MASKED | size) if size < 126 else b""
        if not head:
            head = struct.pack("!BBH", LAST | kind, MASKED | 126, size)
        self._transport.write(head + bytes(4) + content)  # a mask of zeros leaves the content as it is

    def data_received(self, data: bytes) -> None:
        """Take what has come; frames may be in parts."""
        now_ns = time.time_ns()
        if self._rest:
            data = self._rest + data
        self._rest = self._take_frames(data, now_ns) if self._open else self._take_answer(data, now_ns)

    def _take_answer(self, data: bytes, now_ns: int) -> bytes:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return data
        if not data.startswith(b"HTTP/1.1 101"):
            self.close(data)
            return b""
        self._open = True
        self.opened()
        return self._take_frames(data[end + 4 :], now_ns)

    def _take_frames(self, data: bytes, now_ns: int) -> bytes:
        """Take every whole frame; return what is left, the beginning of another one."""
        at, length = 0, len(data)
        while length - at >= 2:
            size, begin = data[at + 1] & 0x7F, at + 2
            if size >= 126:
                begin = at + (4 if size == 126 else 10)
                if length < begin:
                    break
                size = int.from_bytes(data[at + 2 : begin], "big")
            if length < begin + size:
                break
            self._take(data[at] & 0x0F, data, begin, begin + size, now_ns)
            self.bytes += begin + size - at
            at = begin + size
        return data[at:]

    def _take(self, kind: int, data: bytes, begin: int, end: int, now_ns: int) -> None:
        found = UPDATE.match(data, begin, min(end, begin + UPDATE_BYTES)) if kind == TEXT else None
        if found is not None:
            self._take_update(found, now_ns)
        elif kind == TEXT:
            self.hear(data[begin:end])
        elif kind == PING:
            self.send(data[begin:end], PONG)
        elif kind == CLOSE:
            self.close(data[begin:end])

    def _take_update(self, found: re.Match[bytes], now_ns: int) -> None:
        epoch, before, seq, event_ns, after = found.groups()
        prev = before or after
        if prev is not None and self._held != (epoch, prev):
            self.gaps += 1
        self._held = epoch, seq
        self.newest_ns = int(event_ns)
        self.updates += 1
        if self._sampled:
            self.latencies_ms.append((now_ns - self.newest_ns) / 1e6)
        if self.updates == 1:
            self.arrived.set()


class SocketIoClient(SocketClient):
    """Speak Socket.IO: namespace `/live`, WebSocket from the start."""

    path = "/socket.io/?EIO=4&transport=websocket"

    def opened(self) -> None:
        """Wait: engine.io speaks first."""

    def hear(self, text: bytes) -> None:
        """Come in when engine.io is open, subscribe when inside, and answer its pings."""
        if text == b"2":
            self.send(b"3")
        elif text.startswith(b"0"):
            self.send(b"40/live," + msgspec.json.encode({"token": self.token}))
        elif text.startswith(b"40/live"):
            self.send(b'42/live,1["subscribe",' + msgspec.json.encode(self.wanted) + b"]")
        elif text.startswith((b"44/live", b"41/live")) or (text.startswith(b"43/live,1") and b'"error":' in text[:120]):
            self.close(text)


class WebSocketClient(SocketClient):
    """Speak JSON on the raw WebSocket."""

    path = "/ws/v1"

    def opened(self) -> None:
        """Say who is there."""
        self.send(msgspec.json.encode({"type": "auth", "id": 0, "token": self.token}))

    def hear(self, text: bytes) -> None:
        """Subscribe when inside; go where anything is refused."""
        if text.startswith(b'{"type":"authenticated"'):
            self.send(msgspec.json.encode({"type": "subscribe", **self.wanted}))
        elif text.startswith(b'{"type":"error"'):
            self.close(text)


CLIENTS: dict[str, type[SocketClient]] = {"socketio": SocketIoClient, "websocket": WebSocketClient}
