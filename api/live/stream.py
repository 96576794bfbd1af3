"""Hold a stream that somebody follows: its state, its followers, and what has arrived but is not read yet.

What arrives is only remembered; it is decoded when a follower's next message is due. So a portfolio that
changes twenty times a second costs four readings where its followers get four messages.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import TYPE_CHECKING

import structlog

from api.catalogue import Catalogue
from api.live.floor import FloorBook, FloorPortfolio
from api.live.metrics import MESSAGES_DROPPED
from api.live.protocol import StreamName
from api.live.state import StreamState
from api.live.valuation import UnreadableValuation, ValuationHead, decode_head, portfolio_document

if TYPE_CHECKING:
    from api.live.subscription import Subscription

LATE = 1.5  # so many times the last gap between two arrivals the next one may take

log = structlog.get_logger()


class LiveStream:
    """Hold what all streams have: a name, a state, followers, and since when there are none."""

    def __init__(self, name: StreamName, key: str) -> None:
        self.name = name
        self.state = StreamState(str(name), key)
        self.followers: set[Subscription] = set()
        self.left_at = time.monotonic()
        self._arrived_at = 0.0
        self.expected_at = 0.0  # by when, on the loop's clock, more should have come if it goes on as it did
        self.opening = asyncio.Lock()
        self.is_open = False
        # followers of one stream send at the same instants, those of different streams spread over the second
        self.phase = zlib.crc32(str(name).encode()) / 2**32

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels of Redis that bring news of this stream alone."""
        return ()

    def refresh(self) -> None:
        """Bring the state up to what has arrived."""
        raise NotImplementedError

    def wake(self) -> None:
        """Tell the followers that there is something new."""
        now = asyncio.get_running_loop().time()
        self.expected_at = now + LATE * (now - self._arrived_at)
        self._arrived_at = now
        for follower in self.followers:
            follower.wake()


class PortfolioStream(LiveStream):
    """Hold `portfolio:<id>`."""

    def __init__(self, name: StreamName, title: str, catalogue: Catalogue) -> None:
        super().__init__(name, "symbol")
        self.title = title
        self._catalogue = catalogue
        self._arrived: bytes | None = None
        self._head = ValuationHead(-1, -1)

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channel of the portfolio's valuations."""
        return (f"valuation:{self.name.id}",)

    @property
    def has_unknown_symbols(self) -> bool:
        """Say whether the newest state shows a symbol that the catalogue does not know."""
        return not self.state.keys() <= self._catalogue.instruments.keys()

    def offer(self, valuation: bytes) -> bool:
        """Remember a valuation; returns False where it is not newer. Raises `UnreadableValuation`."""
        head = decode_head(valuation)
        if (head.epoch, head.seq) <= (self._head.epoch, self._head.seq):
            return False
        self._head, self._arrived = head, valuation
        return True

    def refresh(self) -> None:
        """Bring the state up to the newest valuation."""
        arrived, self._arrived = self._arrived, None
        if arrived is None:
            return
        try:
            self.state.apply(portfolio_document(arrived, self.title, self._catalogue.instruments))
        except UnreadableValuation as error:
            MESSAGES_DROPPED.labels("unreadable").inc()
            log.error("a valuation cannot be read", stream=str(self.name), error=str(error))  # noqa: TRY400  no trace


class FloorStream(LiveStream):
    """Hold `floor:<advisor>`; its epoch is this process's own, because it numbers the floor's changes itself."""

    def __init__(self, name: StreamName, book: FloorBook, catalogue: Catalogue) -> None:
        super().__init__(name, "portfolio_id")
        self.portfolios: list[FloorPortfolio] = []
        self._book = book
        self._catalogue = catalogue
        self._epoch = time.time_ns() // 1000
        self._seq = 0
        self._dirty = True

    def touch(self) -> None:
        """Say that the totals or the book have changed."""
        self._dirty = True

    def refresh(self) -> None:
        """Bring the state up to the newest totals."""
        if not self._dirty:
            return
        self._dirty = False
        document = self._book.document(self.portfolios, self._epoch, self._seq + 1, self._catalogue.minor_units)
        if document is not None and self.state.apply(document):
            self._seq += 1
