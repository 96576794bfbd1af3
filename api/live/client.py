"""Stand for one connected client: who it is, what it follows, and whether it keeps up."""

from __future__ import annotations

import time
from typing import Protocol

import structlog

from api.auth.identity import Identity
from api.live.codes import SLOW, describe
from api.live.message import Message
from api.live.metrics import CLIENTS_CUT, TRAFFIC
from api.live.protocol import StreamName
from api.live.state import Position
from api.live.transport import Transport

LIMIT_BYTES = 1024 * 1024

log = structlog.get_logger()


class Following(Protocol):
    """Be what a client follows: one stream, up to a position."""

    @property
    def name(self) -> StreamName:
        """Return the stream's name."""

    @property
    def position(self) -> Position | None:
        """Return (epoch, seq) of the last message sent to this client, or None before the first."""

    @property
    def newest(self) -> Position:
        """Return where the stream stands, whatever the client has had of it; (0, 0) where nothing is known."""

    @property
    def max_hz(self) -> float:
        """Return how many messages a second the client wants at most."""

    def end(self) -> None:
        """Send nothing any more."""


class Client:
    """Hold a client. It is cut when its backlog passes 1 MiB, or does not shrink for `stalled_s`.

    One message larger than the limit, as the snapshot of a large floor can be, may be under way: then the limit
    is that message's size.
    """

    __slots__ = (
        *("_largest", "_lowest_backlog", "_stalled_s", "_transport", "_waiting_since"),
        *("closed", "identity", "sent_at", "subscriptions"),
    )

    def __init__(self, identity: Identity, transport: Transport, stalled_s: float) -> None:
        self.identity = identity
        self.subscriptions: dict[str, Following] = {}
        self.closed = False
        self.sent_at = 0.0  # when the last message was sent: a heartbeat is for who hears nothing else
        self._transport = transport
        self._stalled_s = stalled_s
        self._largest = 0
        self._lowest_backlog = 0
        self._waiting_since: float | None = None

    def send(self, message: Message) -> None:
        """Queue a message; the callers see to it that there is room."""
        if self.closed:
            return
        size = len(message.body)
        self._largest = max(self._largest, size)
        self._transport.send(message)
        self.sent_at = time.monotonic()
        TRAFFIC.messages[message.event] += 1
        TRAFFIC.bytes += size

    def take(self, message: Message, room: int, now: float) -> bool:
        """Send a message to a client that has taken all but `room` bytes, else return False; the caller counts it.

        `now` is on the monotonic clock. Who keeps up has nothing waiting, and then this is all there is to do.
        """
        if self.closed:
            return False
        if len(message.body) > self._largest:
            self._largest = len(message.body)
        if self._transport.send_at_once(message):
            self._waiting_since = None
        elif self.has_room(room):
            self._transport.send(message)
        else:
            return False
        self.sent_at = now
        return True

    def has_room(self, room: int) -> bool:
        """Say whether the client has taken all but `room` bytes; cuts a client that does not keep up."""
        if self.closed:
            return False
        backlog = self._transport.backlog()
        if backlog <= room:
            self._waiting_since = None
            return True
        now = time.monotonic()
        if self._waiting_since is None or backlog < self._lowest_backlog:
            self._waiting_since = now
        self._lowest_backlog = backlog
        if backlog > max(LIMIT_BYTES, self._largest + room) or now - self._waiting_since > self._stalled_s:
            self.cut(SLOW, "slow")
        return False

    def cut(self, code: int, reason: str) -> None:
        """Cut the connection now and for good."""
        if self.closed:
            return
        self.closed = True
        CLIENTS_CUT.labels(str(code)).inc()
        log.warning("live client cut", code=code, reason=reason, user=str(self.identity.user_id))
        self.end_subscriptions()
        self._transport.abort()

    def dismiss(self, code: int, reason: str) -> None:
        """Say goodbye with a code, after everything that is queued; the client is expected to go."""
        if self.closed:
            return
        CLIENTS_CUT.labels(str(code)).inc()
        self.end_subscriptions()
        self.send(Message("closing", describe(code, reason)))
        self.closed = True
        self._transport.close(code)

    def end_subscriptions(self) -> None:
        """Follow nothing any more."""
        for subscription in self.subscriptions.values():
            subscription.end()
        self.subscriptions.clear()
