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
ROUNDING = 1e-6  # of a step: an instant of the grid, computed, must not lie before itself


class Subscription:
    """Send a client the newest state of a stream whenever there is something new, it is time and it has room.

    There is no queue of deltas: what a client has no room for is conflated into its next message. The instants
    from which on messages may go lie on a grid of `1 / hz`, so that all who follow a stream share what is encoded.

    A message goes as something arrives, and not at an instant of the grid with what arrived a while ago: where more
    is expected within a step, judging by the last two arrivals, it is waited for. As many messages then show prices
    that are younger, by half the time between two arrivals.
    """

    def __init__(self, client: Client, stream: LiveStream, hz: float, position: Position | None) -> None:
        self.client = client
        self.stream = stream
        self.position = position
        self._hz = hz
        self._due = 0.0
        self._timer: asyncio.Handle | None = None
        self._goes_now = False

    def wake(self) -> None:
        """Say that there may be something new."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            if self._timer is None:
                self._timer = loop.call_at(self._due, self._fall_due)
        elif not self._goes_now:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._goes_now = loop.call_soon(self._send), True

    def end(self) -> None:
        """Send nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._goes_now = None, False
        self.stream.followers.discard(self)
        if not self.stream.followers:
            self.stream.left_at = time.monotonic()

    def _fall_due(self) -> None:
        expected = self.stream.expected_at
        if self._due < expected <= self._due + 1.0 / self._hz:
            self._timer = asyncio.get_running_loop().call_at(expected, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._timer, self._goes_now = None, False
        now = max(asyncio.get_running_loop().time(), self._due)  # a timer may fire a millisecond early
        self._due = next_instant(now, self._hz, self.stream.phase)
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
    return (math.floor(now / step - phase + ROUNDING) + 1 + phase) * step
