"""Hold a message to clients, encoded and framed once however many clients it goes to."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

NAMESPACE = "/live"
WHOLE_TEXT, SHORT, MEDIUM = 0x81, 126, 1 << 16  # of WebSocket frames: the first byte, and where longer lengths begin

_encoder = (
    msgspec.json.Encoder()
)  # orjson's bytes keep a buffer of 4 KiB each: of 2,000 streams, more than a cache holds


class Message:
    """Carry a message's type and its JSON object, which is not empty; never changed, shared by all who get it."""

    __slots__ = ("_socketio_frame", "_websocket_frame", "body", "event")

    def __init__(self, event: str, content: dict[str, Any]) -> None:
        self.event = event
        self.body = _encoder.encode(content)
        self._socketio_frame = b""
        self._websocket_frame = b""

    @property
    def socketio_packet(self) -> bytes:
        """Return the text that carries this message as a Socket.IO event of `/live`, in UTF-8."""
        return b"".join((_socketio_head(self.event), self.body, b"]"))

    @property
    def socketio_frame(self) -> bytes:
        """Return the same as a WebSocket frame."""
        if not self._socketio_frame:
            head = _socketio_head(self.event)
            size = len(head) + len(self.body) + 1
            self._socketio_frame = b"".join((_frame_head(size), head, self.body, b"]"))
        return self._socketio_frame

    @property
    def websocket_frame(self) -> bytes:
        """Return the frame of the raw WebSocket: the object with its `type` before all else."""
        if not self._websocket_frame:
            head, rest = _websocket_head(self.event), self.body[1:]
            self._websocket_frame = b"".join((_frame_head(len(head) + len(rest)), head, rest))
        return self._websocket_frame


@cache
def _socketio_head(event: str) -> bytes:
    return f'42{NAMESPACE},["{event}",'.encode()


@cache
def _websocket_head(event: str) -> bytes:
    return f'{{"type":"{event}",'.encode()


def _frame_head(size: int) -> bytes:
    """Return the head of a WebSocket frame of a server: whole, text, not masked (RFC 6455, section 5.2)."""
    if size < SHORT:
        return bytes((WHOLE_TEXT, size))
    if size < MEDIUM:
        return bytes((WHOLE_TEXT, SHORT)) + size.to_bytes(2, "big")
    return bytes((WHOLE_TEXT, SHORT + 1)) + size.to_bytes(8, "big")
