"""Follow one stream, over however many connections, on behalf of the loops that read it."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any

from alhambra.client.messages import AlertMessage, Delta, Entry, Position, Snapshot
from alhambra.client.wanted import Wanted

StreamMessage = Snapshot | Delta | AlertMessage


class Stage(Enum):
    """Say how far the server knows that a stream is wanted."""

    WANTED = auto()
    ASKED = auto()
    FOLLOWING = auto()


class Feed:
    """Follow one stream. What comes while it is not `FOLLOWING` belongs to an older subscription: it is not taken."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.stage = Stage.WANTED
        self.granted = False  # on this connection, so that the server must be told when nobody reads it any more
        self.error: Exception | None = None
        self.ended = False
        self.readers: set[Reader] = set()

    def ask(self) -> dict[str, Any]:
        """Return the entry of a `subscribe`, which is about to be sent."""
        self.stage = Stage.ASKED
        return self.wanted.content()

    def grant(self, entry: Entry) -> None:  # noqa: ARG002  what it says matters to states only
        """Take the server's answer."""
        self.stage, self.granted = Stage.FOLLOWING, True

    def lose(self) -> None:
        """Follow no longer: the stream must be asked for again."""
        self.stage = Stage.WANTED
        self.notify()

    def fail(self, error: Exception) -> None:
        """End with an error, which the readers raise."""
        self.error = error
        self.notify()

    def end(self) -> None:
        """End, and with it the readers' loops."""
        self.ended = True
        self.notify()

    def take(self, message: StreamMessage) -> None:
        """Take a message of this stream."""
        raise NotImplementedError

    def check(self, position: Position | None) -> None:
        """Compare with what a heartbeat says that was sent; None: nothing was yet."""
        raise NotImplementedError

    def notify(self) -> None:
        """Say that there is something for the readers."""
        for reader in self.readers:
            reader.woken.set()


class Reader:
    """Wait for a feed's news on behalf of one loop."""

    def __init__(self, feed: Feed) -> None:
        self.woken = asyncio.Event()
        self.feed = feed

    async def wait(self) -> bool:
        """Wait for news; returns False at the end, and raises what the feed failed with."""
        await self.woken.wait()
        self.woken.clear()
        return self.goes_on()

    def goes_on(self) -> bool:
        """Say whether the feed has not ended; raises what it failed with."""
        if self.feed.error is not None:
            raise self.feed.error
        return not self.feed.ended
