"""Keep what is known of each product of a Coinbase connection: its book, its newest trade, and whether it is whole.

Both of Coinbase's protocols tell the same things in different words, so what follows from them stands here once. An
error in a record is a `ValueError`; who reads the records makes a refusal of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ingest.venues.book import NO_TOP, Book, Top, crossed, readable
from ingest.venues.events import Event, Gap, Notice, Quote, Snapshot, Trade
from ingest.venues.resync import PATIENCE_NS, SECOND_NS, Resync
from ingest.venues.rfc3339 import parse_rfc3339

MOST_PRODUCTS = 5_000  # Coinbase lists some 700; a venue cannot make us remember without bound
MOST_CHARACTERS = 40  # of the name of a product


class Product:
    """Hold what is known of one product."""

    __slots__ = (
        "asked",
        "begun",
        "book",
        "heard_trade_id",
        "matched",
        "resync",
        "sequence",
        "symbol",
        "time",
        "top",
        "trade_id",
        "waiting",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.book: Book | None = None
        self.waiting = False  # for the snapshot of a book that was lost
        self.asked = False  # for a snapshot, by us
        self.begun = False  # a `Snapshot` was told since it was last broken
        self.top: Top = NO_TOP
        self.time = ""  # of the newest change of the book
        self.sequence = 0  # of the newest ticker
        self.trade_id = 0
        self.matched = False  # each single trade is told, so that a missing one shows
        self.heard_trade_id = 0  # the newest of the heartbeat before
        self.resync = Resync()


class Products:
    """Keep the products of one connection, and who of them needs a new snapshot."""

    def __init__(self) -> None:
        self._products: dict[str, Product] = {}
        self.waiting: dict[str, Product] = {}
        self._asked: list[str] = []
        self._remind_ns = 0

    def find(self, symbol: str) -> Product:
        """Return a product, new where it was not known; raises `ValueError` where there are too many."""
        product = self._products.get(symbol)
        if product is None:
            if len(self._products) >= MOST_PRODUCTS:
                raise ValueError(f"more than {MOST_PRODUCTS:,} products on one connection")
            if len(symbol) > MOST_CHARACTERS:
                raise ValueError(f"the name of a product has more than {MOST_CHARACTERS} characters")
            product = self._products[symbol] = Product(symbol)
        return product

    def expect(self, symbols: Iterable[str], now_ns: int) -> None:
        """Note that the books of these products have been subscribed to, so that a missing snapshot is asked for.

        Until it comes, tickers and trades are told as they are: nothing has been lost yet.
        """
        for symbol in symbols:
            product = self.find(symbol)
            product.asked = product.resync.due(now_ns)
            self.waiting[symbol] = product

    def remind(self, now_ns: int) -> None:
        """Ask again for snapshots that have not come; looks once a second, so it can be called with each record."""
        if now_ns < self._remind_ns:
            return
        self._remind_ns = now_ns + SECOND_NS
        for product in self.waiting.values():
            self._ask(product, now_ns)

    def asked(self) -> Sequence[str]:
        """Return the products whose book is to be subscribed to anew, once."""
        due, self._asked = self._asked, []
        return due

    def load(
        self, symbol: str, bids: Sequence[tuple[float, float]], asks: Sequence[tuple[float, float]], time: str
    ) -> list[Event]:
        """Return what a snapshot of the book says."""
        product = self.find(symbol)
        book = Book()
        book.bids.load(bids)
        book.asks.load(asks)
        top = book.top()
        if crossed(top):
            raise ValueError("the snapshot of the book is crossed")
        event_ns = parse_rfc3339(time) if time else 0
        product.book, product.top, product.time = book, top, time
        product.waiting, product.begun = False, True
        self.waiting.pop(symbol, None)
        told: list[Event] = [Snapshot(symbol)]
        if top != NO_TOP:
            told.append(_quote(symbol, top, event_ns))
        return told

    def change(
        self, symbol: str, changes: Sequence[tuple[str, float, float]], time: str, now_ns: int
    ) -> Sequence[Event]:
        """Return what changes of a book say: a quote where its top is another one; sides are `buy` and `sell`."""
        product = self._products.get(symbol) or self.find(symbol)
        book = product.book
        if book is None:
            if product.waiting:
                return ()
            return [self.lost(product, "changes of a book came before its snapshot", now_ns)]
        newest = product.time
        if (time < newest or len(time) != len(newest)) and _before(time, newest):
            return [self.lost(product, "a change of the book came after a newer one", now_ns)]
        product.time = time
        if not book.change(changes, product.top):
            return ()
        top = book.top()
        if top == product.top:
            return ()
        if crossed(top):
            return [self.lost(product, "the book is crossed, so changes are missing", now_ns)]
        event_ns = parse_rfc3339(time)
        product.top = top
        return [_quote(symbol, top, event_ns)]

    def tick(self, product: Product, top: Top, event_ns: int) -> list[Event]:
        """Return the quote of a ticker, nothing where the product's book tells it better or is waited for."""
        if product.book is not None or product.waiting or top[0] == top[2] == 0.0:
            return []
        if not all(0.0 <= number < math.inf for number in top):
            raise ValueError("a price or a size of a ticker is negative or not finite")
        told: list[Event] = [] if product.begun else [Snapshot(product.symbol)]
        product.begun, product.top = True, top
        told.append(_quote(product.symbol, top, event_ns))
        return told

    def trade(self, product: Product, trade_id: int, trade: Trade) -> list[Event]:
        """Return a trade once, and a gap before it where trades of a stream that tells each are missing."""
        if not readable(trade.price, 0.0) or trade.size < 0.0 or trade.size == math.inf:
            raise ValueError(f"a trade of {trade.size} at {trade.price}")
        if trade_id <= product.trade_id:
            return [Notice(f"{product.symbol}: trade {trade_id} is known, or came after a newer one")]
        told = self._missing(product, trade_id - 1) if product.matched else []
        product.trade_id = trade_id
        if not (product.begun or product.waiting or product.book):
            product.begun = True
            told.append(Snapshot(product.symbol))
        told.append(trade)
        return told

    def hear(self, product: Product, last_trade_id: int) -> list[Event]:
        """Return a gap where the newest trade that the heartbeat before this one knew of has not come meanwhile.

        Not of this one, because the record of that trade can still be on its way.
        """
        told = self._missing(product, product.heard_trade_id) if product.matched else []
        product.trade_id = max(product.trade_id, product.heard_trade_id) if product.matched else product.trade_id
        product.heard_trade_id = last_trade_id
        return told

    def lost(self, product: Product, detail: str, now_ns: int) -> Gap:
        """Forget a book that cannot be trusted, and have it asked for."""
        product.book, product.top, product.time = None, NO_TOP, ""
        product.waiting, product.begun, product.asked = True, False, False
        self.waiting[product.symbol] = product
        self._ask(product, now_ns)
        return Gap(product.symbol, detail)

    def all_lost(self, detail: str, now_ns: int) -> list[Event]:
        """Forget all books, because a record is missing and nobody knows whose."""
        return [self.lost(product, detail, now_ns) for product in self._products.values() if product.book]

    def begin_anew(self) -> None:
        """Have each product say again that it is whole, when a gap of the whole connection has been told."""
        for product in self._products.values():
            product.begun = False

    def _ask(self, product: Product, now_ns: int) -> None:
        if product.resync.due(now_ns, PATIENCE_NS if product.asked else 0):
            product.asked = True
            self._asked.append(product.symbol)

    def _missing(self, product: Product, newest: int) -> list[Event]:
        count = newest - product.trade_id
        return [Gap(product.symbol, f"{count} trades are missing", broken=False)] if count > 0 else []


def _quote(symbol: str, top: Top, event_ns: int) -> Quote:
    bid, bid_size, ask, ask_size = top
    return Quote(symbol, bid or math.nan, ask or math.nan, bid_size or math.nan, ask_size or math.nan, event_ns)


def _before(time: str, newest: str) -> bool:
    """Say whether a time is before another; texts of one length are compared by their letters before this is asked."""
    return bool(newest) and parse_rfc3339(time) < parse_rfc3339(newest)
