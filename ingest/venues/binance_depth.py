"""Keep the book of one Binance symbol from its changes and a snapshot fetched over HTTP, by the venue's own rule.

Changes are gathered while the snapshot is fetched. Those that it holds already are left out, the first that is applied
has to continue it, and each later one the one before it: with U and u the first and the last update of a record, U is
at most one more than the last that is known (of futures: `pu` is that last). Whatever does not continue is a gap, and
it all begins anew.
"""

from __future__ import annotations

from collections import deque

import msgspec

from ingest.venues.book import NO_TOP, Book, Top, crossed
from ingest.venues.events import Event, Gap, Notice
from ingest.venues.resync import PATIENCE_NS, Resync

MOST_GATHERED = 1_000  # records of one symbol, which is 100 s of them


class DepthRecord(msgspec.Struct, gc=False):
    """Hold changes of a book: the size that now stands at a price, 0 where nothing does."""

    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    E: int = 0
    pu: int | None = None  # of futures: the last update of the record before


class DepthSnapshot(msgspec.Struct, gc=False):
    """Hold a whole book, down to the depth that was asked for."""

    lastUpdateId: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Depth:
    """Keep one symbol's book, none while a snapshot is waited for."""

    __slots__ = ("_gathered", "_last", "_resync", "asked", "book", "symbol", "top")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.book: Book | None = None
        self.top: Top = NO_TOP
        self.asked = False  # for the snapshot, since it was last lost
        self._last = -1  # the newest update that is known
        self._gathered: deque[DepthRecord] = deque(maxlen=MOST_GATHERED)
        self._resync = Resync()

    def change(self, record: DepthRecord) -> Event | None:
        """Take changes; returns what is wrong with them, and the book is None after a gap.

        Raises `ValueError` where a level cannot stand in a book, and then the book is lost too.
        """
        if record.u <= self._last:
            return Notice(f"{self.symbol}: changes up to {record.u} are known")
        gap: Gap | None = None
        if not self._continues(record):
            gap = self.lost(f"changes between {self._last} and {record.U} are missing")
        self._last = record.u
        if self.book is None:
            self._gathered.append(record)
            return gap
        self._apply(self.book, record)
        self.top = self.book.top()
        return self.lost("the book is crossed, so changes are missing") if crossed(self.top) else None

    def load(self, snapshot: DepthSnapshot) -> bool:
        """Take a snapshot that was waited for; returns whether it fits, otherwise another one is needed."""
        gathered = self._gathered
        if gathered and snapshot.lastUpdateId < gathered[0].U - 1:
            self.asked = False
            return False
        book = Book()
        book.bids.load(snapshot.bids)
        book.asks.load(snapshot.asks)
        for record in gathered:
            if record.u > snapshot.lastUpdateId:
                self._apply(book, record)
        self._last = max(self._last, snapshot.lastUpdateId)
        self.top = book.top()
        gathered.clear()
        if crossed(self.top):
            raise ValueError("the snapshot of the book is crossed")
        self.book = book
        return True

    def lost(self, detail: str) -> Gap:
        """Forget a book that cannot be trusted; what comes from now on is gathered for the next snapshot."""
        self.book, self.top, self.asked = None, NO_TOP, False
        self._gathered.clear()
        return Gap(self.symbol, detail)

    def due(self, now_ns: int) -> bool:
        """Say whether a snapshot is to be fetched now, and take it as fetched."""
        if self.book is not None or not self._resync.due(now_ns, PATIENCE_NS if self.asked else 0):
            return False
        self.asked = True
        return True

    def _continues(self, record: DepthRecord) -> bool:
        if self._last < 0:
            return True
        if record.pu is not None:
            return record.pu == self._last
        return self._last + 1 >= record.U

    def _apply(self, book: Book, record: DepthRecord) -> None:
        for price, size in record.b:
            book.bids.put(price, size)
        for price, size in record.a:
            book.asks.put(price, size)
