"""Read Alpaca's stream of US stocks: market data version 2, trades and quotes, JSON arrays.

`wss://stream.data.alpaca.markets/v2/{plan}`: `iex` (one exchange, free), `sip` (all of them, paid), `delayed_sip` (all
of them, 15 minutes late) or `test` (the symbol FAKEPACA, at any hour). The venue greets first; our key is sent only
then, and the subscription only when it was accepted. There are no sequence numbers and no heartbeats: a record that
is lost cannot be noticed, and each stands for itself.

Times are exact to the nanosecond. A bid or ask of 0 says that nobody bids or asks. Sizes are as the venue tells them:
lots by its documents, shares since the tapes changed over in November 2025; nothing is computed from them here. A trade
whose condition says that its price was not the market's when it was reported is a notice, so that it never becomes a
mark: averages, derived prices, contingent ones, other settlement, reported out of order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Notice, Quote, Snapshot, Trade
from ingest.venues.options import check_address, check_options, take_count
from ingest.venues.refusal import UNREADABLE, clean, refuse
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.venue import Fetch, Keys, Limits, Listed, Send, Wish

ADDRESS = "wss://stream.data.alpaca.markets/v2"
PLANS = ("iex", "sip", "delayed_sip", "test")
FREE_SYMBOLS = 30  # of trades, and as many of quotes
FRAME_BYTES = 4 << 20
# Trying again soon is of no use: syntax, key, number of symbols, a plan that does not include it.
LASTING = frozenset({400, 402, 405, 409, 410})
EXCHANGES = frozenset({"XNYS", "XNAS", "XASE", "ARCX", "BATS", "IEXG"})
# CTA and UTP: average price (B, W), cash (C), bunched sold (G), next day (N), prior reference price (P), seller's
# settlement (R), extended hours out of sequence (U), contingent (V), out of sequence (Z), derived (4), qualified
# contingent (7).
NOT_THE_MARKET = frozenset("BCGNPRUVWZ47")

_OTHER = {
    "c": "a correction",
    "x": "a cancelled trade",
    "l": "limits up and down",
    "b": "a bar",
    "d": "a bar of the day",
    "u": "a bar that was updated",
    "i": "an imbalance",
}


class TradeRecord(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="t"):
    """Hold what the venue calls a trade."""

    S: str
    p: float
    s: float
    t: str
    c: tuple[str, ...] | None = None


class QuoteRecord(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="q"):
    """Hold what the venue calls a quote."""

    S: str
    bp: float
    bs: float
    ap: float
    size_asked: float = msgspec.field(name="as")
    t: str


class SuccessRecord(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="success"):
    """Hold a step of the sign-in that went well."""

    msg: str


class ErrorRecord(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="error"):
    """Hold what the venue refuses."""

    code: int
    msg: str = ""


class SubscriptionRecord(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="subscription"):
    """Hold what is subscribed to after a request."""

    trades: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()


class StatusRecord(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="s"):
    """Hold a halt of trading, or its end."""

    S: str
    sc: str = ""
    sm: str = ""
    rm: str = ""


class _Kind(msgspec.Struct, frozen=True, gc=False):
    T: str


_Record: TypeAlias = TradeRecord | QuoteRecord | SuccessRecord | ErrorRecord | SubscriptionRecord | StatusRecord
_frame = msgspec.json.Decoder(list[_Record])
_one = msgspec.json.Decoder(_Record)
_parts = msgspec.json.Decoder(list[msgspec.Raw])
_kind = msgspec.json.Decoder(_Kind)
_KINDS = frozenset(("t", "q", "success", "error", "subscription", "s"))


def create(options: Mapping[str, str], keys: Keys) -> Alpaca:
    """Make the venue; options are `plan`, `max_symbols` (0: as many as there are) and `url`.

    Raises `VenueUnclear` where an option cannot be used, or where there is no key.
    """
    check_options("alpaca", options, ("plan", "max_symbols", "url"))
    plan = options.get("plan", "iex")
    if plan not in PLANS:
        raise VenueUnclear(f"alpaca has no plan {plan!r}; the plans are {', '.join(PLANS)}")
    if not keys.alpaca_key_id or not keys.alpaca_secret_key:
        raise VenueUnclear("alpaca needs ALPACA_KEY_ID and ALPACA_SECRET_KEY in the environment")
    address = check_address("alpaca", options.get("url", f"{ADDRESS}/{plan}"), ("ws", "wss"))
    return Alpaca(
        address, keys, plan, take_count("alpaca", options, "max_symbols", FREE_SYMBOLS if plan == "iex" else 0)
    )


class Alpaca:
    """Describe Alpaca's stream of one plan: an account has one connection, and takes no more symbols than that may."""

    name = "alpaca"
    # Nothing at all comes while the market is closed; that a connection is dead is for WebSocket pings to find.
    limits = Limits(frame_bytes=FRAME_BYTES, silent_after_s=3600.0)

    def __init__(self, address: str, keys: Keys, plan: str, max_symbols: int) -> None:
        self.plan = plan
        self._address = address
        self._keys = keys
        self._max_symbols = max_symbols

    @property
    def keys(self) -> Keys:
        """Return the keys, for requests of the same account; their repr shows none."""
        return self._keys

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return our symbol for stocks and exchange-traded funds that are listed in the US in dollars."""
        listed = instrument.exchange in EXCHANGES and instrument.currency == "USD"
        return instrument.symbol if listed and instrument.asset_class in ("equity", "etf") else None

    def url(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - one address for all symbols
        """Return the address of the plan."""
        return self._address

    def headers(self) -> Mapping[str, str]:
        """Return nothing: the key is sent on the connection."""
        return {}

    def greeting(self, symbols: Sequence[str]) -> Sequence[Send]:  # noqa: ARG002 - it waits for the venue's
        """Return nothing: the venue speaks first."""
        return ()

    def decoder(self, symbols: Sequence[str]) -> AlpacaDecoder:
        """Return a decoder that signs in and subscribes to as many of the symbols as the plan allows."""
        count = self._max_symbols or len(symbols)
        return AlpacaDecoder(self._keys, symbols[:count], symbols[count:])


class AlpacaDecoder:
    """Read one connection; what it wishes is the sign-in, then the subscription."""

    def __init__(self, keys: Keys, symbols: Sequence[str], left_out: Sequence[str] = ()) -> None:
        self._keys = keys
        self._symbols = tuple(symbols)
        self._left_out = tuple(left_out)
        self._wishes: list[Wish] = []
        self._fresh: tuple[str, ...] = ()
        self._signed_in = False

    def decode(self, frame: str | bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - the records carry times
        """Return what a frame says; one bad record of an array costs only itself."""
        try:
            records = _frame.decode(frame)
        except UNREADABLE:
            return self._decode_parts(frame)
        told = [_READERS[type(record)](self, record) for record in records]
        return told + self._begun() if self._fresh else told

    def fetched(self, wish: Fetch, body: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - it asks for none
        """Return nothing: this decoder fetches no documents."""
        return ()

    def wishes(self) -> Sequence[Wish]:
        """Return the sign-in, or the subscription, when it is due."""
        due, self._wishes = self._wishes, []
        return due

    def _decode_parts(self, frame: str | bytes) -> list[Event]:
        try:
            parts = _parts.decode(frame)
        except UNREADABLE as error:
            return [refuse(error)]
        return [self._decode_part(part) for part in parts] + self._begun()

    def _decode_part(self, part: msgspec.Raw) -> Event:
        try:
            kind = _kind.decode(part).T
            if kind not in _KINDS:
                return Notice(_OTHER.get(kind, f"a record of the kind {clean(kind)}"))
            record = _one.decode(part)
            return _READERS[type(record)](self, record)
        except UNREADABLE as error:
            return refuse(error)

    def _begun(self) -> list[Event]:
        begun, self._fresh = self._fresh, ()
        return [Snapshot(symbol) for symbol in begun]

    def _read_trade(self, record: TradeRecord) -> Event:
        if record.c and not NOT_THE_MARKET.isdisjoint(record.c):
            return Notice(
                clean(f"{record.S}: a trade whose price was not the market's, condition {','.join(record.c)}")
            )
        try:
            return Trade(record.S, record.p, record.s, parse_rfc3339(record.t))
        except UNREADABLE as error:
            return refuse(error, record.S)

    def _read_quote(self, record: QuoteRecord) -> Event:
        try:
            event_ns = parse_rfc3339(record.t)
        except UNREADABLE as error:
            return refuse(error, record.S)
        bid, ask = record.bp or math.nan, record.ap or math.nan
        return Quote(record.S, bid, ask, record.bs, record.size_asked, event_ns)

    def _read_success(self, record: SuccessRecord) -> Event:
        if record.msg == "connected":
            self._wishes.append(self._sign_in())
        elif record.msg == "authenticated":
            self._signed_in = True
            self._wishes.append(self._subscribe())
        return Notice(clean(record.msg))

    def _read_error(self, record: ErrorRecord) -> Event:
        # Who is not signed in hears nothing more on this connection, whatever the reason.
        lasting = record.code in LASTING or not self._signed_in
        return Complaint(f"alpaca: {record.code} {clean(record.msg)}", lasting)

    def _read_subscription(self, record: SubscriptionRecord) -> Event:
        self._fresh = tuple(dict.fromkeys((*record.quotes, *record.trades)))
        text = f"subscribed to {len(record.trades)} trades and {len(record.quotes)} quotes"
        if not self._left_out:
            return Notice(text)
        return Complaint(f"alpaca: {text}; the plan takes no more, left out: {', '.join(self._left_out)[:200]}")

    def _read_status(self, record: StatusRecord) -> Event:
        return Notice(clean(f"{record.S}: {record.sm or record.sc} {record.rm}".strip()))

    def _sign_in(self) -> Send:
        keys = {"action": "auth", "key": self._keys.alpaca_key_id, "secret": self._keys.alpaca_secret_key}
        return Send(msgspec.json.encode(keys).decode())

    def _subscribe(self) -> Send:
        wanted = {"action": "subscribe", "trades": self._symbols, "quotes": self._symbols}
        return Send(msgspec.json.encode(wanted).decode())


# By the class itself: a chain of isinstance costs more than the decoding.
_READERS: dict[type, Callable[[AlpacaDecoder, Any], Event]] = {
    TradeRecord: AlpacaDecoder._read_trade,
    QuoteRecord: AlpacaDecoder._read_quote,
    SuccessRecord: AlpacaDecoder._read_success,
    ErrorRecord: AlpacaDecoder._read_error,
    SubscriptionRecord: AlpacaDecoder._read_subscription,
    StatusRecord: AlpacaDecoder._read_status,
}
