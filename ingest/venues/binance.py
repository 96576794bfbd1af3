"""Be Binance: live prices of currencies such as bitcoin, without a key, mostly in tethers.

The address `wss://data-stream.binance.vision` serves market data only and to everybody; `/stream` wraps each record
with the name of its stream. Taken by default: `bookTicker`, which tells the whole top of the book each time it changes,
so that a record that is lost costs nothing once the next has come; and `aggTrade`, the trades, whose numbers have no
holes. A `bookTicker` of the spot market carries no time. `depth` (changes of the book, every 100 ms, see
`ingest.venues.binance_depth`) and `trade` (each single one) can be asked for.

The venue pings every 20 s, which the WebSocket library answers, and hangs up after a day. It allows 1,024 streams a
connection, five records a second from us and 300 connections in five minutes.

Most is quoted in tethers (USDT), a promise of a dollar that has stood within a few thousandths of one in quiet times.
An instrument in dollars is therefore shown by its price in tethers, unless the option `dollar` says otherwise: `USD`
for Binance.US, `USDC`, or `none`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

import msgspec

from ingest.venues.binance_depth import Depth
from ingest.venues.binance_records import (
    ABSENT,
    read_aggregate,
    read_book_ticker,
    read_depth,
    read_envelope,
    read_error,
    read_kind,
    read_snapshot,
    read_trade,
)
from ingest.venues.book import NO_TOP, Top, readable
from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Gap, Notice, Quote, Snapshot, Trade
from ingest.venues.options import check_address, check_options
from ingest.venues.refusal import UNREADABLE, clean, refuse
from ingest.venues.venue import Fetch, Keys, Limits, Listed, Send, Wish

ADDRESS = "wss://data-stream.binance.vision"
DOCUMENTS = "https://data-api.binance.vision"
CHANNELS = {"bookTicker": "bookTicker", "aggTrade": "aggTrade", "trade": "trade", "depth": "depth@100ms"}
DOLLARS = ("USDT", "USDC", "FDUSD", "USD", "none")
MOST_STREAMS = 1_024
STREAMS_A_REQUEST = 100
MOST_SYMBOLS = 5_000  # Binance lists some 3,500; a venue cannot make us remember without bound
MOST_CHARACTERS = 40  # of a symbol
LASTING = frozenset({1, 2, 3})  # a request that is wrong in itself
MS_NS = 1_000_000
LATEST_MS = (1 << 63) // MS_NS  # later than any nanoseconds that our columns hold


def create(options: Mapping[str, str], keys: Keys) -> Binance:  # noqa: ARG001 - it needs no key
    """Make the venue; options are `channels` (separated by commas), `dollar`, `url`, and `rest` for snapshots.

    Raises `VenueUnclear` where an option cannot be used.
    """
    check_options("binance", options, ("channels", "dollar", "rest", "url"))
    channels = tuple(filter(None, options.get("channels", "bookTicker,aggTrade").split(",")))
    unknown = [channel for channel in channels if channel not in CHANNELS]
    if unknown or not channels:
        raise VenueUnclear(f"binance has no channel {''.join(unknown[:1])!r}; there are {', '.join(CHANNELS)}")
    if "aggTrade" in channels and "trade" in channels:
        raise VenueUnclear("binance: aggTrade and trade tell the same trades; take one of them")
    dollar = options.get("dollar", DOLLARS[0])
    if dollar not in DOLLARS:
        raise VenueUnclear(f"binance: the dollar cannot be {dollar!r}; it can be {', '.join(DOLLARS)}")
    if "depth" in channels and "url" in options and "rest" not in options:
        raise VenueUnclear("binance: depth at another address needs rest=, where snapshots of the book are fetched")
    url = check_address("binance", options.get("url", ADDRESS), ("ws", "wss"))
    rest = check_address("binance", options.get("rest", DOCUMENTS), ("http", "https"))
    return Binance(channels, dollar, url.rstrip("/"), rest.rstrip("/"))


class Binance:
    """Describe Binance's spot market."""

    name = "binance"

    def __init__(self, channels: tuple[str, ...], dollar: str, url: str, rest: str) -> None:
        # A quiet pair can be silent for long, and that a connection is dead is for pings to find.
        self.limits = Limits(symbols=MOST_STREAMS // len(channels), connects_a_minute=30, silent_after_s=30.0)
        self._channels = channels
        self._dollar = dollar
        self._url = url
        self._rest = rest

    @property
    def rest(self) -> str:
        """Return where documents are fetched, without a stroke at its end."""
        return self._rest

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return `BTCUSDT` for our `BTC/USD`, `BTCEUR` for `BTC/EUR`: the class crypto only."""
        base, _, quoted = instrument.symbol.partition("/")
        if instrument.asset_class != "crypto" or not base or quoted != instrument.currency:
            return None
        if quoted != "USD":
            return f"{base}{quoted}"
        return None if self._dollar == "none" else f"{base}{self._dollar}"

    def url(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - streams are subscribed to, so addresses stay short
        """Return the address of combined streams."""
        return f"{self._url}/stream"

    def headers(self) -> Mapping[str, str]:
        """Return nothing: nobody signs in."""
        return {}

    def greeting(self, symbols: Sequence[str]) -> Sequence[Send]:
        """Return the subscriptions, a hundred streams a record."""
        streams = [f"{symbol.lower()}@{CHANNELS[channel]}" for symbol in symbols for channel in self._channels]
        return [
            _subscribe(streams[first : first + STREAMS_A_REQUEST], 1 + first // STREAMS_A_REQUEST)
            for first in range(0, len(streams), STREAMS_A_REQUEST)
        ]

    def decoder(self, symbols: Sequence[str]) -> BinanceDecoder:  # noqa: ARG002 - each record names its symbol
        """Return a decoder for a connection that begins now."""
        return BinanceDecoder(self._rest)


class _Symbol:
    """Hold what is known of one symbol."""

    __slots__ = ("aggregate_id", "begun", "depth", "ticked", "trade_id", "update_id")

    def __init__(self, symbol: str) -> None:
        self.begun = False  # a `Snapshot` was told since it was last broken
        self.ticked = False  # bookTicker tells its top, so the book of changes need not
        self.update_id = -1
        self.aggregate_id = -1
        self.trade_id = -1
        self.depth = Depth(symbol)


class BinanceDecoder:
    """Read one connection."""

    def __init__(self, rest: str) -> None:
        self._rest = rest
        self._symbols: dict[str, _Symbol] = {}
        self._wishes: list[Wish] = []
        self._readers: dict[str, Callable[[msgspec.Raw | str | bytes, int], Sequence[Event]]] = {
            "bookTicker": self._read_book_ticker,
            "aggTrade": self._read_aggregate,
            "trade": self._read_trade,
            "depth": self._read_depth,
            "depthUpdate": self._read_depth,
            "depth@100ms": self._read_depth,
            "depth@1000ms": self._read_depth,
        }

    def decode(self, frame: str | bytes, received_ns: int) -> Sequence[Event]:
        """Return what a frame says."""
        try:
            envelope = read_envelope(frame)
            if envelope.data is not ABSENT:
                read = self._readers.get(envelope.stream.partition("@")[2])
                return self._read_unused(envelope.data) if read is None else read(envelope.data, received_ns)
            # A single stream, without the wrapping; a bookTicker of the spot market does not say that it is one.
            read = self._readers.get(envelope.e or ("bookTicker" if envelope.u is not ABSENT else ""))
            if read is not None:
                return read(frame, received_ns)
            if envelope.error is not ABSENT or envelope.code is not None:
                return self._read_error(frame if envelope.error is ABSENT else envelope.error)
            if envelope.e:
                return self._read_unused(frame)
            if envelope.id is not ABSENT:
                return [Notice("a request was answered")]
            raise ValueError("a record that says neither its stream nor its kind")
        except UNREADABLE as error:
            return [refuse(error)]

    def fetched(self, wish: Fetch, body: bytes, received_ns: int) -> Sequence[Event]:
        """Return what the snapshot of a book says."""
        try:
            state = self._find(wish.symbol)
            if state.depth.book is not None:
                return [Notice(f"{wish.symbol}: a snapshot of the book is not needed any more")]
            if not state.depth.load(read_snapshot(body)):
                self._ask(state, wish.symbol, received_ns)
                return [Notice(f"{wish.symbol}: the snapshot is older than the changes, another one is needed")]
        except UNREADABLE as error:
            return [refuse(error, wish.symbol)]
        if state.ticked:
            return [Notice(f"{wish.symbol}: the book is whole")]
        state.begun = True
        top = state.depth.top
        return [Snapshot(wish.symbol), *([] if top == NO_TOP else [_quote(wish.symbol, top, 0)])]

    def wishes(self) -> Sequence[Wish]:
        """Return the snapshots that are to be fetched."""
        if not self._wishes:
            return ()
        due, self._wishes = self._wishes, []
        return due

    def _read_book_ticker(self, data: msgspec.Raw | str | bytes, _now_ns: int) -> Sequence[Event]:
        record = read_book_ticker(data)
        symbol = record.s
        state = self._symbols.get(symbol) or self._find(symbol)
        if record.u <= state.update_id:
            return [Notice(f"{symbol}: update {record.u} is known, or came after a newer one")]
        top = (record.b, record.B, record.a, record.A)
        if not 0.0 <= min(top) <= max(top) < math.inf:
            raise ValueError("a price or a size is negative or not finite")
        state.update_id, state.ticked = record.u, True
        told = _quote(symbol, top, _time_ns(record.T or record.E))
        if state.begun:
            return [told]
        state.begun = True
        return [Snapshot(symbol), told]

    def _read_aggregate(self, data: msgspec.Raw | str | bytes, _now_ns: int) -> Sequence[Event]:
        record = read_aggregate(data)
        state = self._find(record.s)
        told = _trade(Trade(record.s, record.p, record.q, _time_ns(record.T)), record.a, state.aggregate_id)
        state.aggregate_id = max(state.aggregate_id, record.a)
        return told

    def _read_trade(self, data: msgspec.Raw | str | bytes, _now_ns: int) -> Sequence[Event]:
        record = read_trade(data)
        state = self._find(record.s)
        told = _trade(Trade(record.s, record.p, record.q, _time_ns(record.T)), record.t, state.trade_id)
        state.trade_id = max(state.trade_id, record.t)
        return told

    def _read_depth(self, data: msgspec.Raw | str | bytes, now_ns: int) -> Sequence[Event]:
        record = read_depth(data)
        state = self._symbols.get(record.s) or self._find(record.s)
        depth = state.depth
        before = depth.top
        try:
            wrong = depth.change(record)
        except ValueError as error:
            depth.lost("a record of the book could not be read")
            wrong = refuse(error, record.s)
        if depth.book is not None:
            if wrong is not None:
                return [wrong]
            return () if state.ticked or depth.top == before else [_quote(record.s, depth.top, _time_ns(record.E))]
        self._ask(state, record.s, now_ns)
        if wrong is None:
            return ()
        if state.ticked:  # bookTicker tells the top whole, so what is missing here breaks nothing
            return [msgspec.structs.replace(wrong, broken=False) if isinstance(wrong, Gap) else wrong]
        state.begun = False
        return [wrong] if isinstance(wrong, Gap) else [wrong, Gap(record.s, "a record of the book is missing")]

    def _read_unused(self, data: msgspec.Raw | str | bytes) -> Sequence[Event]:
        kind = read_kind(data).e
        if kind == "serverShutdown":
            return [Notice("the server is about to shut down")]
        return [Notice(f"a record of the kind {clean(kind[:40]) or 'unnamed'}")]

    def _read_error(self, data: msgspec.Raw | str | bytes) -> Sequence[Event]:
        record = read_error(data)
        return [Complaint(f"binance: {record.code} {clean(record.msg)}", record.code in LASTING)]

    def _find(self, symbol: str) -> _Symbol:
        state = self._symbols.get(symbol)
        if state is None:
            if len(self._symbols) >= MOST_SYMBOLS:
                raise ValueError(f"more than {MOST_SYMBOLS:,} symbols on one connection")
            if len(symbol) > MOST_CHARACTERS:
                raise ValueError(f"a symbol has more than {MOST_CHARACTERS} characters")
            state = self._symbols[symbol] = _Symbol(symbol)
        return state

    def _ask(self, state: _Symbol, symbol: str, now_ns: int) -> None:
        if state.depth.due(now_ns):
            self._wishes.append(Fetch(f"{self._rest}/api/v3/depth?symbol={quote(symbol, safe='')}&limit=1000", symbol))


def _trade(trade: Trade, number: int, newest: int) -> list[Event]:
    """Return a trade once, and a gap before it where trades are missing."""
    if not readable(trade.price, trade.size):
        raise ValueError(f"a trade of {trade.size} at {trade.price}")
    if number <= newest:
        return [Notice(f"{trade.symbol}: trade {number} is known, or came after a newer one")]
    missing = number - newest - 1 if newest >= 0 else 0
    return [Gap(trade.symbol, f"{missing} trades are missing", broken=False), trade] if missing else [trade]


def _quote(symbol: str, top: Top, event_ns: int) -> Quote:
    bid, bid_size, ask, ask_size = top
    return Quote(symbol, bid or math.nan, ask or math.nan, bid_size or math.nan, ask_size or math.nan, event_ns)


def _time_ns(milliseconds: int) -> int:
    if not 0 <= milliseconds < LATEST_MS:
        raise ValueError(f"{milliseconds} is not a time in milliseconds")
    return milliseconds * MS_NS


def _subscribe(streams: Sequence[str], number: int) -> Send:
    return Send(msgspec.json.encode({"method": "SUBSCRIBE", "params": streams, "id": number}).decode())
