"""Keep which streams are wanted, for the one task that tells the server."""

from __future__ import annotations

import asyncio

from alhambra.client.alert_feed import AlertFeed
from alhambra.client.errors import AlreadyFollowed
from alhambra.client.feed import Feed, Reader, Stage
from alhambra.client.state import Standing
from alhambra.client.state_feed import StateFeed, StateReader
from alhambra.client.wanted import Wanted


class Following:
    """Hold the feeds by stream, and the streams that nobody reads any more but the server may still send."""

    def __init__(self, standing: Standing) -> None:
        self.feeds: dict[str, Feed] = {}
        self.left: set[str] = set()
        self.changed = asyncio.Event()
        self.standing = standing
        standing.listeners.add(self._tell)

    def join_states(self, wanted: Wanted) -> StateReader:
        """Lend a reader of a stream of states. Raises `AlreadyFollowed` where it is followed with other options."""
        feed = self.feeds.get(wanted.stream)
        if feed is None:
            feed = self._begin(StateFeed(wanted, self.standing))
        if not isinstance(feed, StateFeed) or feed.wanted != wanted:
            raise AlreadyFollowed(
                f"{wanted.stream} is followed already with other options: end that loop first, or open another client."
            )
        reader = StateReader(feed, self.standing)
        feed.readers.add(reader)
        return reader

    def join_alerts(self) -> tuple[AlertFeed, Reader]:
        """Lend the reader of the alerts. Raises `AlreadyFollowed` where there is one."""
        wanted = Wanted("alerts")
        if wanted.stream in self.feeds:
            raise AlreadyFollowed("Alerts are read already: one reader acknowledges them.")
        feed = AlertFeed(wanted)
        self._begin(feed)
        reader = Reader(feed)
        feed.readers.add(reader)
        return feed, reader

    def leave(self, reader: Reader) -> None:
        """Take a reader back; with the last one its stream is followed no longer."""
        feed = reader.feed
        feed.readers.discard(reader)
        if not feed.readers:
            self.drop(feed)

    def drop(self, feed: Feed) -> None:
        """Follow a stream no longer."""
        if self.feeds.get(feed.wanted.stream) is feed:
            del self.feeds[feed.wanted.stream]
            if feed.granted or feed.stage is Stage.ASKED:
                self.left.add(feed.wanted.stream)
                self.changed.set()

    def fail(self, feed: Feed, error: Exception) -> None:
        """End a feed with an error."""
        self.drop(feed)
        feed.fail(error)

    def fail_all(self, error: Exception) -> None:
        """End every feed with an error."""
        for feed in tuple(self.feeds.values()):
            self.fail(feed, error)

    def end_all(self) -> None:
        """End every feed."""
        for feed in tuple(self.feeds.values()):
            self.drop(feed)
            feed.end()

    def lose_all(self) -> None:
        """Take note that there is no connection: everything must be asked for again."""
        self.left.clear()
        for feed in self.feeds.values():
            feed.granted = False
            feed.lose()

    def _begin(self, feed: Feed) -> Feed:
        self.feeds[feed.wanted.stream] = feed
        self.left.discard(feed.wanted.stream)
        self.changed.set()
        return feed

    def _tell(self) -> None:
        for feed in self.feeds.values():
            feed.notify()
