"""Say how a client stands with the bank, to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from alhambra.client.clock import Clock


class State(StrEnum):
    """Say how much what is shown can be trusted to be of now.

    connecting  a connection is being made, and the one before was good
    live        connected, and the server hears its source
    stale       connected, but nothing was heard for three seconds, or the server hears nothing itself
    offline     not connected, and the newest attempt failed; attempts go on
    """

    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"
    OFFLINE = "offline"


class Standing:
    """Hold how the connection is by itself, whether the server hears its source, and the server's clock."""

    def __init__(self) -> None:
        self.connection = State.CONNECTING
        self.source_live = False
        self.clock = Clock()
        self.listeners: set[Callable[[], None]] = set()

    @property
    def state(self) -> State:
        """Return how it stands with both: a server that hears nothing itself is stale."""
        return State.STALE if self.connection is State.LIVE and not self.source_live else self.connection

    def is_now(self, connection: State, *, source_live: bool | None = None) -> None:
        """Take note, and tell the listeners of a change."""
        source = self.source_live if source_live is None else source_live
        if (connection, source) != (self.connection, self.source_live):
            self.connection, self.source_live = connection, source
            for listener in tuple(self.listeners):
                listener()
