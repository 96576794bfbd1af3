"""Hold a message to clients, encoded once however many clients it goes to."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Any

import orjson

NAMESPACE = "/live"
WHOLE_TEXT, SHORT, MEDIUM = 0x81, 126, 1 << 16  # of WebSocket frames: the first byte, and where longer lengths begin

# Codes are stable. A client retries after 3000-3499 and does not after 3500 and above.
GOING_AWAY = 3000
SERVER_ERROR = 3001
TEMPORARILY_UNAVAILABLE = 3002
SLOW = 3008
BAD_REQUEST = 3500
UNAUTHORISED = 3501
FORBIDDEN_STREAM = 3503
TOO_MANY_STREAMS = 3504


class Message:
    """Carry an event and its JSON object; immutable, and shared by every client that gets it."""

    def __init__(self, event: str, content: dict[str, Any]) -> None:
        self.event = event
        self.body = orjson.dumps(content)

    @cached_property
    def socketio_packet(self) -> bytes:
        """Return the text that carries this message as a Socket.IO event of `/live`, in UTF-8."""
        return b'42%b,["%b",%b]' % (NAMESPACE.encode(), self.event.encode(), self.body)

    @cached_property
    def websocket_frame(self) -> bytes:
        """Return that text as a WebSocket frame of a server: whole, text, not masked (RFC 6455, section 5.2)."""
        text = self.socketio_packet
        size = len(text)
        if size < SHORT:
            head = struct.pack("!BB", WHOLE_TEXT, size)
        elif size < MEDIUM:
            head = struct.pack("!BBH", WHOLE_TEXT, SHORT, size)
        else:
            head = struct.pack("!BBQ", WHOLE_TEXT, SHORT + 1, size)
        return head + text
