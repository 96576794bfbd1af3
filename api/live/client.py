"""Stand for one connected client: who it is, what it follows, and whether it keeps up."""

from __future__ import annotations

import time

import structlog

from api.auth.identity import Identity
from api.live.message import SLOW, Message
from api.live.metrics import BYTES_SENT, CLIENTS_CUT, MESSAGES_SENT
from api.live.subscription import Subscription
from api.live.transport import Transport

LIMIT_BYTES = 1024 * 1024

log = structlog.get_logger()


class Client:
    """Hold a client. It is cut when its backlog passes 1 MiB, or does not shrink for `stalled_s`.

    One message larger than the limit, as the snapshot of a large floor can be, may be under way: then the limit
    is that message's size.
    """

    def __init__(self, identity: Identity, transport: Transport, stalled_s: float) -> None:
        self.identity = identity
        self.subscriptions: dict[str, Subscription] = {}
        self.closed = False
        self._transport = transport
        self._stalled_s = stalled_s
        self._largest = 0
        self._lowest_backlog = 0
        self._progress_at = time.monotonic()

    def send(self, message: Message) -> None:
        """Queue a message; the callers see to it that there is room."""
        if self.closed:
            return
        size = len(message.body)
        self._largest = max(self._largest, size)
        self._transport.send(message)
        MESSAGES_SENT.labels(message.event).inc()
        BYTES_SENT.inc(size)

    def has_room(self, room: int) -> bool:
        """Say whether the client has taken all but `room` bytes; cuts a client that does not keep up."""
        if self.closed:
            return False
        backlog = self._transport.backlog()
        now = time.monotonic()
        if backlog < self._lowest_backlog or backlog <= room:
            self._progress_at = now
        self._lowest_backlog = backlog
        if backlog > max(LIMIT_BYTES, self._largest + room) or now - self._progress_at > self._stalled_s:
            self.cut(SLOW, "slow")
        return not self.closed and backlog <= room

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
        self.send(Message("closing", {"code": code, "message": reason}))
        self.closed = True
        self._transport.close()

    def end_subscriptions(self) -> None:
        """Follow nothing any more."""
        for subscription in self.subscriptions.values():
            subscription.end()
        self.subscriptions.clear()
