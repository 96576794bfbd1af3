"""Follow one stream for one client: never faster than asked, never more than it takes."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from api.live.metrics import MESSAGES_CONFLATED
from api.live.state import Position

if TYPE_CHECKING:
    from api.live.client import Client
    from api.live.stream import LiveStream

ROOM_BYTES = 64 * 1024  # above this a client is still busy with what it has: its changes are conflated


class Subscription:
    """Send a client the newest state of a stream whenever there is something new, it is time and it has room.

    There is no queue of deltas: what a client has no room for is conflated into its next message. The instants
    at which messages may go lie on a grid of `1 / hz`, so that all who follow a stream share what is encoded.
    """

    def __init__(self, client: Client, stream: LiveStream, hz: float, position: Position | None) -> None:
        self.client = client
        self.stream = stream
        self.position = position
        self._hz = hz
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Say that there may be something new."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._due, loop.time()), self._send)

    def end(self) -> None:
        """Send nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.stream.followers.discard(self)
        if not self.stream.followers:
            self.stream.left_at = time.monotonic()

    def _send(self) -> None:
        self._timer = None
        self._due = next_instant(asyncio.get_running_loop().time(), self._hz, self.stream.phase)
        if not self.client.has_room(ROOM_BYTES):
            MESSAGES_CONFLATED.inc()
            if not self.client.closed:
                self.wake()
            return
        self.stream.refresh()
        message = self.stream.state.message_after(self.position, time.time_ns())
        if message is None:
            return
        self.client.send(message)
        self.position = self.stream.state.position


def next_instant(now: float, hz: float, phase: float) -> float:
    """Return the first instant after `now` on the grid of `1 / hz` seconds, shifted by `phase` of a step."""
    step = 1.0 / hz
    return (math.floor(now / step - phase) + 1 + phase) * step
