"""Read the records of Coinbase Advanced Trade: the field `channel` says what each is, `sequence_num` counts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from ingest.venues.coinbase_products import Products
from ingest.venues.events import Complaint, Event, Gap, Heartbeat, Notice, Trade
from ingest.venues.refusal import UNREADABLE, clean, refuse
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.venue import Send

BOOK_CHANNEL = "level2"


class Level(msgspec.Struct, gc=False):
    """Hold the size that now stands at a price."""

    side: Literal["bid", "offer"]
    price_level: float
    new_quantity: float


class BookEvent(msgspec.Struct, gc=False):
    """Hold the whole book of a product, or changes of it."""

    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[Level] = []


class Ticker(msgspec.Struct, gc=False):
    """Hold the top of a book and the newest trade; the batched channel leaves the top out."""

    product_id: str
    price: float
    best_bid: float = 0.0
    best_ask: float = 0.0
    best_bid_quantity: float = 0.0
    best_ask_quantity: float = 0.0


class TickerEvent(msgspec.Struct, gc=False):
    """Hold tickers."""

    tickers: list[Ticker]


class Match(msgspec.Struct, gc=False):
    """Hold a trade."""

    trade_id: int
    product_id: str
    price: float
    size: float
    time: str


class MatchEvent(msgspec.Struct, gc=False):
    """Hold trades, the newest first."""

    trades: list[Match]


class _Record(msgspec.Struct, gc=False, tag_field="channel"):
    sequence_num: int
    timestamp: str


class BookRecord(_Record, gc=False, tag="l2_data"):
    """Hold what became of books."""

    events: list[BookEvent]


class TickerRecord(_Record, gc=False, tag="ticker"):
    """Hold tickers as trades happen."""

    events: list[TickerEvent]


class TickerBatchRecord(TickerRecord, gc=False, tag="ticker_batch"):
    """Hold tickers of every five seconds."""


class MatchRecord(_Record, gc=False, tag="market_trades"):
    """Hold trades of a quarter of a second."""

    events: list[MatchEvent]


class HeartbeatRecord(_Record, gc=False, tag="heartbeats"):
    """Hold what comes once a second."""


class SubscriptionsRecord(_Record, gc=False, tag="subscriptions"):
    """Hold what is subscribed to."""


class _Kind(msgspec.Struct, gc=False):
    channel: str = ""
    type: str = ""
    message: str = ""
    sequence_num: int = -1


Record: TypeAlias = BookRecord | TickerRecord | TickerBatchRecord | MatchRecord | HeartbeatRecord | SubscriptionsRecord
_records = msgspec.json.Decoder(Record, strict=False)
_kinds = msgspec.json.Decoder(_Kind, strict=False)
_KINDS = frozenset({"l2_data", "ticker", "ticker_batch", "market_trades", "heartbeats", "subscriptions"})


class AdvancedReader:
    """Read one connection."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self._sequence: int | None = None
        self._readers: dict[type, Callable[..., Sequence[Event]]] = {
            BookRecord: self._read_books,
            TickerRecord: self._read_tickers,
            TickerBatchRecord: self._read_tickers,
            MatchRecord: self._read_matches,
            HeartbeatRecord: self._read_heartbeat,
            SubscriptionsRecord: self._read_subscriptions,
        }

    def read(self, frame: str | bytes, now_ns: int) -> Sequence[Event] | None:
        """Return what a frame says, None where it is of the other protocol."""
        try:
            record = _records.decode(frame)
            # The order of a connection is kept by TCP, so a number that is not the next one is a missing record.
            if record.sequence_num != self._sequence:
                gap = self._follow(record.sequence_num, now_ns)
                if gap is None:
                    return [Notice(f"record {record.sequence_num} is known, or came after a newer one")]
                return [*gap, *self._readers[type(record)](record, now_ns)]
            self._sequence = record.sequence_num + 1
            return self._readers[type(record)](record, now_ns)
        except UNREADABLE as error:
            return self._read_other(frame, error, now_ns)

    def subscribe(self, symbols: Sequence[str], channels: Sequence[str]) -> list[Send]:
        """Return the subscriptions; a channel needs a record of its own, and heartbeats keep the quiet ones open."""
        return [_send("subscribe", (), "heartbeats"), *(_send("subscribe", symbols, name) for name in channels)]

    def resubscribe(self, symbol: str) -> list[Send]:
        """Return what brings a new snapshot of a product's book."""
        return [_send("unsubscribe", (symbol,), BOOK_CHANNEL), _send("subscribe", (symbol,), BOOK_CHANNEL)]

    def _follow(self, number: int, now_ns: int) -> list[Event] | None:
        """Return what a number says that is not the next: nothing at the beginning, a gap; None of an old record."""
        expected = self._sequence
        if expected is not None and 0 < number < expected:
            return None
        self._sequence = number + 1
        if expected is None:
            return []
        missing = f"{number - expected} records are missing" if number else "the venue counts its records anew"
        lost = self._products.all_lost(missing, now_ns)
        self._products.begin_anew()
        return [Gap(None, missing, broken=bool(lost)), *lost]

    def _read_other(self, frame: str | bytes, error: Exception, now_ns: int) -> Sequence[Event] | None:
        """Return what follows from a frame that is none of ours, or cannot be read."""
        try:
            kind = _kinds.decode(frame)
        except UNREADABLE:
            self._sequence = None  # that one is missing is told here already
            return [refuse(error), *self._products.all_lost("a record could not be read", now_ns)]
        if kind.type == "error":
            lasting = "auth" in kind.message.lower() or "jwt" in kind.message.lower()
            return [Complaint(f"coinbase: {clean(kind.message)}", lasting)]
        if kind.type and not kind.channel:
            return None
        gap: Sequence[Event] = ()
        if kind.sequence_num >= 0 and kind.sequence_num != self._sequence:
            gap = self._follow(kind.sequence_num, now_ns) or ()
        elif kind.sequence_num >= 0:
            self._sequence = kind.sequence_num + 1
        if kind.channel and kind.channel not in _KINDS:  # the venue adds kinds, and asks to ignore them
            return [*gap, Notice(f"a record of the channel {clean(kind.channel[:40])}")]
        lost = self._products.all_lost("a record could not be read", now_ns) if kind.channel == "l2_data" else []
        return [*gap, refuse(error), *lost]

    def _read_books(self, record: BookRecord, now_ns: int) -> Sequence[Event]:
        told: list[Event] = []
        for event in record.events:
            if event.type == "update":
                changes = [
                    ("buy" if level.side == "bid" else "sell", level.price_level, level.new_quantity)
                    for level in event.updates
                ]
                told += self._products.change(event.product_id, changes, record.timestamp, now_ns)
            else:
                sides: dict[str, list[tuple[float, float]]] = {"bid": [], "offer": []}
                for level in event.updates:
                    sides[level.side].append((level.price_level, level.new_quantity))
                told += self._products.load(event.product_id, sides["bid"], sides["offer"], record.timestamp)
        return told

    def _read_tickers(self, record: TickerRecord, _now_ns: int) -> Sequence[Event]:
        event_ns = parse_rfc3339(record.timestamp)
        told: list[Event] = []
        for ticker in (ticker for event in record.events for ticker in event.tickers):
            product = self._products.find(ticker.product_id)
            top = (ticker.best_bid, ticker.best_bid_quantity, ticker.best_ask, ticker.best_ask_quantity)
            told += self._products.tick(product, top, event_ns)
            if not product.matched:  # a ticker has no number of its trade, so it is told only where no others are
                if not 0.0 < ticker.price < math.inf:
                    raise ValueError(f"a ticker's price is {ticker.price}")
                told.append(Trade(product.symbol, ticker.price, event_ns=event_ns))
        return told

    def _read_matches(self, record: MatchRecord, _now_ns: int) -> Sequence[Event]:
        told: list[Event] = []
        matches = [match for event in record.events for match in event.trades]
        for match in sorted(matches, key=lambda one: one.trade_id):
            product = self._products.find(match.product_id)
            trade = Trade(product.symbol, match.price, match.size, parse_rfc3339(match.time))
            # That none is missing is what the number of the record says; those of a reconnection come again.
            product.matched = False
            told += self._products.trade(product, match.trade_id, trade)
            product.matched = True
        return told

    def _read_heartbeat(self, record: HeartbeatRecord, _now_ns: int) -> Sequence[Event]:
        return [Heartbeat(parse_rfc3339(record.timestamp))]

    def _read_subscriptions(self, _record: SubscriptionsRecord, _now_ns: int) -> Sequence[Event]:
        return [Notice("subscribed")]


def _send(kind: str, symbols: Sequence[str], channel: str) -> Send:
    wanted = {"type": kind, "channel": channel} | ({"product_ids": symbols} if symbols else {})
    return Send(msgspec.json.encode(wanted).decode())
