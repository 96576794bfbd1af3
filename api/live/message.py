"""Hold a message to clients, encoded once however many clients it goes to."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import orjson

NAMESPACE = "/live"

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
    def socketio_packet(self) -> str:
        """Return the text of the WebSocket frame that carries this message as a Socket.IO event of `/live`."""
        return f'42{NAMESPACE},["{self.event}",{self.body.decode()}]'
