"""Follow alerts: each once and in order, acknowledged when the reader is done with it."""

from __future__ import annotations

from collections import deque

from msgspec.structs import asdict

from alhambra.client.feed import Feed, Stage, StreamMessage
from alhambra.client.messages import AlertMessage, Position
from alhambra.client.update import Alert
from alhambra.client.wanted import Wanted

ALERTS_HELD = 1000  # beyond, alerts stay at the server, which replays what is not acknowledged


class AlertFeed(Feed):
    """Queue alerts for one reader. What comes again, because it was not acknowledged in time, is not queued again."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self.queue: deque[Alert] = deque()
        self.done = 0  # of this seq and all before it the reader is done
        self.acknowledged = 0  # and the server knows it
        self._newest = 0
        self._left_some = False
        self._suspected = False

    def take(self, message: StreamMessage) -> None:
        """Queue an alert that is new; when the queue is full it stays at the server."""
        if self.stage is not Stage.FOLLOWING or not isinstance(message, AlertMessage) or message.seq <= self._newest:
            return
        if len(self.queue) >= ALERTS_HELD or self._left_some:
            self._left_some = True
            return
        self._newest = message.seq
        self.queue.append(Alert(seq=message.seq, sent_ns=message.sent_ns, **asdict(message.alert)))
        self.notify()

    def next(self) -> Alert | None:
        """Return the next alert, or None; when those that are here are read, ask for those that were left."""
        if self.queue:
            return self.queue.popleft()
        if self._left_some:
            self._left_some = False
            self.lose()
        return None

    def check(self, position: Position | None) -> None:
        """Ask again when two heartbeats in a row name an alert that did not come."""
        missing = position is not None and position.seq > self._newest and not self._left_some
        if self.stage is Stage.FOLLOWING and missing and self._suspected:
            self.lose()
        self._suspected = missing and not self._suspected
