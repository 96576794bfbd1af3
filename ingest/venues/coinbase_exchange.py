"""Read the records of Coinbase Exchange's feed: the field `type` says what each is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from ingest.venues.coinbase_products import Products
from ingest.venues.events import Complaint, Event, Heartbeat, Notice, Trade
from ingest.venues.refusal import UNREADABLE, clean, refuse
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.venue import Send

BOOK_CHANNEL = "level2_batch"


class SnapshotRecord(msgspec.Struct, gc=False, tag_field="type", tag="snapshot"):
    """Hold the whole book of a product."""

    product_id: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    time: str = ""


class ChangesRecord(msgspec.Struct, gc=False, tag_field="type", tag="l2update"):
    """Hold changes of a book: the size that now stands at a price, 0 where nothing does."""

    product_id: str
    changes: list[tuple[Literal["buy", "sell"], float, float]]
    time: str


class TickerRecord(msgspec.Struct, gc=False, tag_field="type", tag="ticker"):
    """Hold the top of the book right after a trade, and the trade."""

    product_id: str
    price: float
    best_bid: float = 0.0
    best_ask: float = 0.0
    best_bid_size: float = 0.0
    best_ask_size: float = 0.0
    last_size: float = math.nan
    sequence: int = 0
    trade_id: int = 0
    time: str = ""


class MatchRecord(msgspec.Struct, gc=False, tag_field="type", tag="match"):
    """Hold a trade."""

    product_id: str
    trade_id: int
    price: float
    size: float
    time: str


class LastMatchRecord(MatchRecord, gc=False, tag_field="type", tag="last_match"):
    """Hold the newest trade before the subscription."""


class HeartbeatRecord(msgspec.Struct, gc=False, tag_field="type", tag="heartbeat"):
    """Hold what comes of each product once a second."""

    product_id: str
    time: str
    last_trade_id: int = 0


class ErrorRecord(msgspec.Struct, gc=False, tag_field="type", tag="error"):
    """Hold what the venue refuses."""

    message: str = ""
    reason: str = ""


class SubscriptionsRecord(msgspec.Struct, gc=False, tag_field="type", tag="subscriptions"):
    """Hold what is subscribed to."""

    channels: list[msgspec.Raw] = []


class _Kind(msgspec.Struct, gc=False):
    type: str = ""
    channel: str = ""
    product_id: str = ""


Record: TypeAlias = (
    SnapshotRecord
    | ChangesRecord
    | TickerRecord
    | MatchRecord
    | LastMatchRecord
    | HeartbeatRecord
    | ErrorRecord
    | SubscriptionsRecord
)
# Numbers stand in quotation marks; `strict=False` reads them without a string in between.
_records = msgspec.json.Decoder(Record, strict=False)
_kinds = msgspec.json.Decoder(_Kind)
_BOOK_KINDS = frozenset({"snapshot", "l2update"})
_KINDS = _BOOK_KINDS | {"ticker", "match", "last_match", "heartbeat", "error", "subscriptions"}


class ExchangeReader:
    """Read one connection."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self._change = products.change
        self._readers: dict[type, Callable[..., Sequence[Event]]] = {
            SnapshotRecord: self._read_snapshot,
            TickerRecord: self._read_ticker,
            MatchRecord: self._read_match,
            LastMatchRecord: self._read_last_match,
            HeartbeatRecord: self._read_heartbeat,
            ErrorRecord: self._read_error,
            SubscriptionsRecord: self._read_subscriptions,
        }

    def read(self, frame: str | bytes, now_ns: int) -> Sequence[Event] | None:
        """Return what a frame says, None where it is of the other protocol."""
        try:
            record = _records.decode(frame)
            if type(record) is ChangesRecord:  # nearly all that comes
                return self._change(record.product_id, record.changes, record.time, now_ns)
            return self._readers[type(record)](record, now_ns)
        except UNREADABLE as error:
            return self._read_other(frame, error, now_ns)

    def subscribe(self, symbols: Sequence[str], channels: Sequence[str]) -> list[Send]:
        """Return the subscriptions, one a product: a product that the venue does not know costs only itself."""
        return [_send("subscribe", symbol, (*channels, "heartbeat")) for symbol in symbols]

    def resubscribe(self, symbol: str) -> list[Send]:
        """Return what brings a new snapshot of a product's book."""
        return [_send("unsubscribe", symbol, (BOOK_CHANNEL,)), _send("subscribe", symbol, (BOOK_CHANNEL,))]

    def _read_other(self, frame: str | bytes, error: Exception, now_ns: int) -> Sequence[Event] | None:
        """Return what follows from a frame that is none of ours, or cannot be read."""
        try:
            kind = _kinds.decode(frame)
        except UNREADABLE:
            return [refuse(error), *self._products.all_lost("a record could not be read", now_ns)]
        if kind.channel and not kind.type:
            return None
        if kind.type and kind.type not in _KINDS:  # the venue adds kinds, and asks to ignore them
            return [Notice(f"a record of the kind {clean(kind.type[:40])}")]
        refused: list[Event] = [refuse(error, kind.product_id[:40] or None)]
        if kind.type in _BOOK_KINDS and kind.product_id:
            refused += self._lost(kind.product_id, now_ns)
        return refused

    def _lost(self, symbol: str, now_ns: int) -> list[Event]:
        try:
            product = self._products.find(symbol)
        except ValueError:  # there are too many, which the refusal has said
            return []
        return [self._products.lost(product, "a record of the book could not be read", now_ns)]

    def _read_snapshot(self, record: SnapshotRecord, _now_ns: int) -> Sequence[Event]:
        return self._products.load(record.product_id, record.bids, record.asks, record.time)

    def _read_ticker(self, record: TickerRecord, _now_ns: int) -> Sequence[Event]:
        product = self._products.find(record.product_id)
        if record.sequence < product.sequence:
            return [Notice(f"{product.symbol}: a ticker came after a newer one")]
        event_ns = parse_rfc3339(record.time) if record.time else 0
        top = (record.best_bid, record.best_bid_size, record.best_ask, record.best_ask_size)
        told = self._products.tick(product, top, event_ns)
        product.sequence = record.sequence
        # A ticker stands for several trades at once: where each of them is told, it adds none.
        if not product.matched and record.trade_id > product.trade_id:
            trade = Trade(product.symbol, record.price, record.last_size, event_ns)
            told += self._products.trade(product, record.trade_id, trade)
        return told

    def _read_match(self, record: MatchRecord, _now_ns: int) -> Sequence[Event]:
        product = self._products.find(record.product_id)
        trade = Trade(product.symbol, record.price, record.size, parse_rfc3339(record.time))
        told = self._products.trade(product, record.trade_id, trade)
        product.matched = True
        return told

    def _read_last_match(self, record: LastMatchRecord, now_ns: int) -> Sequence[Event]:
        product = self._products.find(record.product_id)
        # After a subscription anew it says where the count goes on; what was missed meanwhile is no gap of the stream.
        product.matched = False
        return self._read_match(record, now_ns)

    def _read_heartbeat(self, record: HeartbeatRecord, _now_ns: int) -> Sequence[Event]:
        product = self._products.find(record.product_id)
        return [Heartbeat(parse_rfc3339(record.time)), *self._products.hear(product, record.last_trade_id)]

    def _read_error(self, record: ErrorRecord, _now_ns: int) -> Sequence[Event]:
        text = clean(": ".join(filter(None, (record.message, record.reason))))
        # A product that the venue does not know is its own trouble; the others go on.
        lasting = record.message == "Failed to subscribe" and "is not a valid product" not in record.reason
        return [Complaint(f"coinbase: {text}", lasting)]

    def _read_subscriptions(self, record: SubscriptionsRecord, _now_ns: int) -> Sequence[Event]:
        return [Notice(f"subscribed to {len(record.channels)} channels")]


def _send(kind: str, symbol: str, channels: Sequence[str]) -> Send:
    return Send(msgspec.json.encode({"type": kind, "product_ids": [symbol], "channels": channels}).decode())
