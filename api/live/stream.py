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
from api.live.floor import FloorBook, FloorFigures, FloorJoin, FloorPortfolio
from api.live.metrics import MESSAGES_DROPPED
from api.live.state import StreamState
from api.live.subscription import Cohort, Rota, Subscription
from api.live.valuation import UnreadableValuation, ValuationHead, decode_head, portfolio_document, read_document

if TYPE_CHECKING:
    from api.live.client import Client
    from api.live.protocol import StreamName
    from api.live.selection import Selection
    from api.live.state import Position

LATE = 1.5  # so many times the last gap between two arrivals the next one may take

log = structlog.get_logger()


class LiveStream:
    """Hold what all streams have: a name, a state, followers, and since when there are none."""

    __slots__ = (
        *("_arrived_at", "_cohorts", "expected_at", "is_open", "left_at", "name"),
        *("opening", "phase", "rota", "state"),
    )

    def __init__(self, name: StreamName, key: str) -> None:
        self.name = name
        self.state = StreamState(str(name), key)
        self.left_at = time.monotonic()
        self.expected_at = 0.0  # by when, on the loop's clock, more should have come if it goes on as it did
        self.opening = asyncio.Lock()
        self.is_open = False
        # followers of one stream send at the same instants, those of different streams spread over the second
        self.phase = zlib.crc32(str(name).encode()) / 2**32
        self.rota = Rota()
        self._arrived_at = 0.0
        self._cohorts: dict[tuple[float, Selection], Cohort] = {}

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels of Redis that bring news of this stream, apart from those that all streams share."""
        return ()

    @property
    def has_followers(self) -> bool:
        """Say whether anybody follows it."""
        return bool(self._cohorts)

    @property
    def max_hz(self) -> float:
        """Return how many messages a second its keenest follower wants, 0 where there is none."""
        return max((hz for hz, _ in self._cohorts), default=0.0)

    def follow(self, client: Client, hz: float, selection: Selection, position: Position | None) -> Subscription:
        """Have a client follow it: from the position it holds where that can be continued, else from a snapshot."""
        self.refresh()
        cohort = self._cohorts.get((hz, selection))
        if cohort is None:
            cohort = self._cohorts[hz, selection] = Cohort(self, hz, selection)
        held = None if position is None else (position[0] - selection.salt, position[1])
        return Subscription(client, cohort, held if self.state.can_continue(held) else None)

    def disband(self, cohort: Cohort) -> None:
        """Let a cohort go whose last member has left."""
        self._cohorts.pop((cohort.hz, cohort.selection), None)
        if not self._cohorts:
            self.left_at = time.monotonic()

    def forget_messages(self) -> None:
        """Let go of what was encoded, where no other cohort can share it."""
        if len(self._cohorts) == 1:
            self.state.forget_messages()

    def refresh(self) -> None:
        """Bring the state up to what has arrived."""
        raise NotImplementedError

    def wake(self) -> None:
        """Tell the followers that there is something new."""
        now = time.monotonic()  # the loop's clock
        self.expected_at = now + LATE * (now - self._arrived_at)
        self._arrived_at = now
        for cohort in self._cohorts.values():
            cohort.wake(now)


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
        return (f"valuation:{self.name.key}",)

    @property
    def watched(self) -> tuple[str, ...]:
        """Return the portfolios that the stream processor is to publish as they change."""
        return (self.name.key,)

    @property
    def has_unknown_symbols(self) -> bool:
        """Say whether the newest state shows a symbol that the catalogue does not know."""
        return not self.state.keys() <= self._catalogue.instruments.keys()

    def offer(self, portfolio: str, valuation: bytes) -> bool:  # noqa: ARG002  there is but one here
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
            self.state.apply(portfolio_document(read_document(arrived), self.title, self._catalogue.instruments))
        except UnreadableValuation as error:
            unreadable(self.name, error)


class FloorStream(LiveStream):
    """Hold `floor:<advisor>`; its epoch is this process's own, because it numbers the floor's changes itself."""

    def __init__(self, name: StreamName, book: FloorBook, catalogue: Catalogue) -> None:
        super().__init__(name, "portfolio_id")
        self.portfolios: list[FloorPortfolio] = []
        self._book = book
        self._catalogue = catalogue
        self._join: FloorJoin | None = None
        self._figures: FloorFigures | None = None
        self._epoch = time.time_ns() // 1000
        self._seq = 0
        self._touched = True  # since the figures were put together
        self._dirty = True  # since the state was

    def touch(self) -> None:
        """Say that the totals or the book have changed."""
        self._touched = self._dirty = True

    def figures(self) -> FloorFigures | None:
        """Return the newest figures of the floor, the same object until they change; None before any worker speaks."""
        if self._touched:
            self._touched = False
            self._join = self._book.join(self.portfolios, self._join)
            self._figures = self._book.figures(self._join, self._catalogue.minor_units)
        return self._figures

    def refresh(self) -> None:
        """Bring the state up to the newest totals."""
        if not self._dirty:
            return
        self._dirty = False
        figures = self.figures()
        if figures is not None and self.state.apply(figures.document(self._epoch, self._seq + 1)):
            self._seq += 1


def unreadable(name: StreamName, error: UnreadableValuation) -> None:
    """Count and log what came for a stream and could not be read; the newest that could stays."""
    MESSAGES_DROPPED.labels("unreadable").inc()
    log.error("a valuation cannot be read", stream=str(name), error=str(error))
