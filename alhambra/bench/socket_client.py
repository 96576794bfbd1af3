"""Follow a stream as a bare Socket.IO client: no more than the protocol asks, so that thousands fit beside the server.

`python-socketio` spends some 100 µs on a message, several times what the server does for it; this spends about 5.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import struct
import time
from typing import cast

import msgspec

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
LAST = 0x80  # the frame is the last of its message
MASKED = 0x80
EVENT = b"42/live,"
HEAD = re.compile(
    rb'\["(?:snapshot|delta)",\{"stream":"[^"]*","epoch":(\d+),"seq":(\d+),"event_ns":(\d+),"sent_ns":(\d+)'
    rb'(?:,"prev":(\d+))?'
)
HEAD_BYTES = 300


class SocketClient(asyncio.Protocol):
    """Connect, come in, subscribe to one stream and note how old the newest tick of each update is on arrival.

    `gaps` counts deltas that did not follow what was held. `arrived` is set with the first update, or at the end.
    """

    def __init__(self, host: str, token: str, stream: str, max_hz: float) -> None:
        self._host = host
        self._token = token
        self._wanted = {"id": 1, "streams": [{"stream": stream}], "max_hz": max_hz}
        self._buffer = bytearray()
        self._open = False
        self._held: tuple[bytes, bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self.latencies_ms: list[float] = []
        self.gaps = 0
        self.ended = False
        self.arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Note the end."""
        self.ended = True
        self.arrived.set()

    def close(self) -> None:
        """Go, as a closed browser does."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what has come; frames may be in parts."""
        now_ns = time.time_ns()
        self._buffer += data
        if not self._open and not self._take_answer():
            return
        while (frame := self._take_frame()) is not None:
            self._take(*frame, now_ns)

    def _take_answer(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.close()
            return False
        del self._buffer[: end + 4]
        self._open = True
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """Return (kind, content) of the next frame, or None where it is not complete yet."""
        if len(self._buffer) < 2:
            return None
        size, begin = self._buffer[1] & 0x7F, 2
        if size >= 126:
            begin = 4 if size == 126 else 10
            if len(self._buffer) < begin:
                return None
            size = int.from_bytes(self._buffer[2:begin], "big")
        if len(self._buffer) < begin + size:
            return None
        kind, content = self._buffer[0] & 0x0F, bytes(self._buffer[begin : begin + size])
        del self._buffer[: begin + size]
        return kind, content

    def _take(self, kind: int, content: bytes, now_ns: int) -> None:
        if kind == PING:
            self._send(PONG, content)
        elif kind == CLOSE:
            self.close()
        elif content.startswith(EVENT):
            self._take_event(content, now_ns)
        elif content.startswith(b"0"):  # engine.io is open
            self._send(TEXT, b"40/live," + msgspec.json.encode({"token": self._token}))
        elif content.startswith(b"40/live"):
            self._send(TEXT, b'42/live,1["subscribe",' + msgspec.json.encode(self._wanted) + b"]")
        elif content == b"2":  # engine.io's ping
            self._send(TEXT, b"3")
        elif content.startswith(b"44/live") or b'"error"' in content[:64]:
            self.close()

    def _take_event(self, content: bytes, now_ns: int) -> None:
        found = HEAD.match(content[:HEAD_BYTES], len(EVENT))
        if found is None:  # a heartbeat
            return
        epoch, seq, event_ns, _, prev = found.groups()
        if prev is not None and self._held != (epoch, prev):
            self.gaps += 1
        self._held = epoch, seq
        self.latencies_ms.append((now_ns - int(event_ns)) / 1e6)
        self.arrived.set()

    def _send(self, kind: int, content: bytes) -> None:
        assert self._transport is not None
        size = len(content)
        head = struct.pack("!BB", LAST | kind, MASKED | size) if size < 126 else b""
        if not head:
            head = struct.pack("!BBH", LAST | kind, MASKED | 126, size)
        self._transport.write(head + bytes(4) + content)  # a mask of zeros leaves the content as it is
