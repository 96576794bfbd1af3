"""Read Finnhub's stream of trades: US stocks, currencies and crypto-assets, one JSON object a frame.

The token goes into the address (`?token=`), which is the only place that the venue documents for a WebSocket; whoever
shows an address of this venue must leave its query out. A key has one connection, and the free plan 50 symbols on it.
There are no quotes, no sequence numbers, and no confirmation of a subscription; `ping` comes while nothing is traded.
Times are milliseconds. Symbols are `AAPL`, `OANDA:EUR_USD`, `COINBASE:BTC-USD`: in dollars, not in a coin that stands
for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import msgspec

from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Heartbeat, Notice, Refused, Trade
from ingest.venues.options import check_address, check_options, take_count
from ingest.venues.refusal import UNREADABLE, clean, refuse
from ingest.venues.venue import Fetch, Keys, Limits, Listed, Send, Wish

ADDRESS = "wss://ws.finnhub.io"
FREE_SYMBOLS = 50
EXCHANGES = frozenset({"XNYS", "XNAS", "XASE", "ARCX", "BATS", "IEXG"})
NS_PER_MS = 10**6
LATEST_MS = 2**63 // NS_PER_MS - 1
# Words of its errors after which trying again soon is of no use; a symbol that it does not know is not among them.
LASTING = ("too many symbols", "api key", "token", "access")


class DealRecord(msgspec.Struct, frozen=True, gc=False):
    """Hold one trade."""

    s: str
    p: float
    t: int
    v: float = 0.0


class TradeRecord(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="trade"):
    """Hold the trades of a frame."""

    data: list[DealRecord]


class PingRecord(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ping"):
    """Hold nothing: the connection lives."""


class ErrorRecord(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="error"):
    """Hold what the venue refuses."""

    msg: str = ""


class _Kind(msgspec.Struct, frozen=True, gc=False):
    type: str


class _Parts(msgspec.Struct, frozen=True, gc=False):
    data: list[msgspec.Raw]


_Record: TypeAlias = TradeRecord | PingRecord | ErrorRecord
_record = msgspec.json.Decoder(_Record)
_kind = msgspec.json.Decoder(_Kind)
_parts = msgspec.json.Decoder(_Parts)
_deal = msgspec.json.Decoder(DealRecord)
_KINDS = frozenset(("trade", "ping", "error"))


def create(options: Mapping[str, str], keys: Keys) -> Finnhub:
    """Make the venue; options are `max_symbols` (0: as many as there are) and `url`.

    Raises `VenueUnclear` where an option cannot be used, or where there is no token.
    """
    check_options("finnhub", options, ("max_symbols", "url"))
    if not keys.finnhub_token:
        raise VenueUnclear("finnhub needs FINNHUB_TOKEN in the environment")
    address = check_address("finnhub", options.get("url", ADDRESS), ("ws", "wss"))
    if urlsplit(address).query:
        raise VenueUnclear("finnhub: url ends before its query; the token belongs into FINNHUB_TOKEN")
    return Finnhub(address, keys.finnhub_token, take_count("finnhub", options, "max_symbols", FREE_SYMBOLS))


class Finnhub:
    """Describe Finnhub's stream: one connection a key, so it takes no more symbols than that one may."""

    name = "finnhub"
    limits = Limits(sends_a_second=10.0, silent_after_s=90.0)

    def __init__(self, address: str, token: str, max_symbols: int) -> None:
        self._address = address
        self._token = token
        self._max_symbols = max_symbols

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return the venue's form for US stocks, rates of exchange (as OANDA has them) and crypto-assets in dollars."""
        if instrument.asset_class == "fx":
            return f"OANDA:{instrument.symbol.replace('/', '_')}"
        if instrument.currency != "USD":
            return None
        if instrument.asset_class == "crypto":
            return f"COINBASE:{instrument.symbol.replace('/', '-')}"
        listed = instrument.asset_class in ("equity", "etf") and instrument.exchange in EXCHANGES
        return instrument.symbol if listed else None

    def url(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - one address for all symbols
        """Return the address with the token in its query: never to be shown as it is."""
        return f"{self._address}?token={quote(self._token, safe='')}"

    def headers(self) -> Mapping[str, str]:
        """Return nothing: the token stands in the address."""
        return {}

    def greeting(self, symbols: Sequence[str]) -> Sequence[Send]:
        """Return a subscription of each symbol, as many as the plan allows."""
        count = self._max_symbols or len(symbols)
        return [Send(msgspec.json.encode({"type": "subscribe", "symbol": one}).decode()) for one in symbols[:count]]

    def decoder(self, symbols: Sequence[str]) -> FinnhubDecoder:  # noqa: ARG002 - trades name their symbols
        """Return a decoder; it keeps nothing between frames."""
        return FinnhubDecoder()


class FinnhubDecoder:
    """Read frames; each stands for itself."""

    def decode(self, frame: str | bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - the trades carry times
        """Return what a frame says; one bad trade among others costs only itself."""
        try:
            record = _record.decode(frame)
        except UNREADABLE as error:
            return _decode_odd(frame, error)
        if isinstance(record, TradeRecord):
            return [_read_deal(deal) for deal in record.data]
        if isinstance(record, PingRecord):
            return (Heartbeat(),)
        lasting = any(word in record.msg.lower() for word in LASTING)
        return (Complaint(f"finnhub: {clean(record.msg)}", lasting),)

    def fetched(self, wish: Fetch, body: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - it asks for none
        """Return nothing: this decoder fetches no documents."""
        return ()

    def wishes(self) -> Sequence[Wish]:
        """Return nothing: there is nothing to answer."""
        return ()


def _decode_odd(frame: str | bytes, error: Exception) -> list[Event]:
    """Return what can be saved of a frame: a kind that is not used is a notice, and good trades stand."""
    try:
        kind = _kind.decode(frame).type
        if kind not in _KINDS:
            return [Notice(f"a record of the kind {clean(kind)}")]
        if kind == "trade":
            return [_decode_deal(part) for part in _parts.decode(frame).data]
    except UNREADABLE as worse:
        return [refuse(worse)]
    return [refuse(error)]


def _decode_deal(part: msgspec.Raw) -> Event:
    try:
        return _read_deal(_deal.decode(part))
    except UNREADABLE as error:
        return refuse(error)


def _read_deal(deal: DealRecord) -> Event:
    if not 0 <= deal.t <= LATEST_MS:
        return Refused("unreadable", f"{deal.t} is not a time in milliseconds", deal.s)
    return Trade(deal.s, deal.p, deal.v, deal.t * NS_PER_MS)
