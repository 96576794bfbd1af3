"""Know where venues tell the closes of days that are over: what to ask, and how to read it. Pure.

| venue | document | a day |
|---|---|---|
| coinbase | candles of a day, of each product, 300 at most | UTC |
| binance | klines of a day, of each symbol, 1000 at most | UTC |
| alpaca | bars of a day, of many symbols, in pages, with the key; in the shares of their day | New York |
| ecb | the whole history of the reference rates, since 1999 | as it is dated |

The others tell none that our keys give a right to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import msgspec

from ingest.venues.alpaca import Alpaca
from ingest.venues.binance import Binance
from ingest.venues.coinbase import Coinbase
from ingest.venues.ecb import Ecb, cross_rate, parse_history
from ingest.venues.errors import DocumentUnreadable
from ingest.venues.refusal import UNREADABLE, clean
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.venue import PolledVenue, Request, StreamVenue

DAY = timedelta(days=1)
CANDLES = 300
KLINES = 1000
BARS, BAR_SYMBOLS = 10_000, 50
NEW_YORK = ZoneInfo("America/New_York")
# Where the documents are that belong to the stream of a host, the sandbox before the whole.
COINBASE_HOSTS = {
    "sandbox.exchange.coinbase.com": "https://api-public.sandbox.exchange.coinbase.com",
    "coinbase.com": "https://api.exchange.coinbase.com",
}
ALPACA_HOSTS = {
    "sandbox.alpaca.markets": "https://data.sandbox.alpaca.markets",
    "alpaca.markets": "https://data.alpaca.markets",
}
ECB_DAY, ECB_HISTORY = "eurofxref-daily.xml", "eurofxref-hist.zip"

_Document = TypeVar("_Document")
_Candles: TypeAlias = list[list[float | str | None]]


@dataclass(frozen=True, slots=True)
class Close:
    """Hold what a venue's symbol was worth at the end of a day, in the venue's terms."""

    symbol: str
    day: date
    close: float


@dataclass(frozen=True, slots=True)
class Page:
    """Hold the closes of one document, and what to ask for next, None where it was all."""

    closes: tuple[Close, ...]
    more: Request | None = None


class CloseSource(Protocol):
    """Say what a venue's history is called, what to ask for, and what an answer says."""

    @property
    def label(self) -> str:
        """Return what it is called on the page, such as `Coinbase daily closes`."""
        ...

    def requests(self, symbols: Sequence[str], since: date, until: date) -> Sequence[Request]:
        """Return the documents with the closes of these symbols from `since` to before `until`."""
        ...

    def parse(self, request: Request, body: bytes) -> Page:
        """Return what a document says, of any days; raises `ingest.venues.errors.DocumentUnreadable`."""
        ...


def close_source(venue: StreamVenue | PolledVenue) -> CloseSource | None:
    """Return where a venue tells its closes, None where it does not."""
    if isinstance(venue, Coinbase):
        return CoinbaseCloses(_documents(venue.url(()), COINBASE_HOSTS))
    if isinstance(venue, Binance):
        return BinanceCloses(venue.rest)
    if isinstance(venue, Alpaca) and venue.plan != "test":
        return AlpacaCloses(venue)
    if isinstance(venue, Ecb) and ECB_DAY in venue.address:
        return EcbCloses(venue.address.replace(ECB_DAY, ECB_HISTORY))
    return None


class CoinbaseCloses:
    """Ask Coinbase Exchange for candles of a day."""

    label = "Coinbase daily closes"

    def __init__(self, address: str) -> None:
        self._address = address

    def requests(self, symbols: Sequence[str], since: date, until: date) -> Sequence[Request]:
        """Return a request for each product and 300 days."""
        return [
            Request(
                f"{self._address}/products/{quote(symbol, safe='')}/candles?granularity=86400"
                f"&start={first.isoformat()}T00:00:00Z&end={last.isoformat()}T00:00:00Z",
                (symbol,),
            )
            for symbol in symbols
            for first, last in _windows(since, until, CANDLES)
        ]

    def parse(self, request: Request, body: bytes) -> Page:
        """Read candles: time in seconds, low, high, open, close, volume, newest first."""
        return Page(tuple(_read_candles(request.symbols[0], _decode(_candles, body), per_s=1)))


class BinanceCloses:
    """Ask Binance for klines of a day."""

    label = "Binance daily closes"

    def __init__(self, address: str) -> None:
        self._address = address

    def requests(self, symbols: Sequence[str], since: date, until: date) -> Sequence[Request]:
        """Return a request for each symbol and 1000 days."""
        return [
            Request(
                f"{self._address}/api/v3/klines?symbol={quote(symbol, safe='')}&interval=1d"
                f"&startTime={_ms(first)}&endTime={_ms(last)}&limit={KLINES}",
                (symbol,),
            )
            for symbol in symbols
            for first, last in _windows(since, until, KLINES)
        ]

    def parse(self, request: Request, body: bytes) -> Page:
        """Read klines: time of opening in milliseconds, open, high, low, close as text, and more that is not used."""
        return Page(tuple(_read_candles(request.symbols[0], _decode(_candles, body), per_s=1000)))


class AlpacaCloses:
    """Ask Alpaca for bars of a day, page by page: of all exchanges, which every plan may once a day is over."""

    label = "Alpaca daily closes"

    def __init__(self, venue: Alpaca) -> None:
        keys = venue.keys
        self._address = _documents(venue.url(()), ALPACA_HOSTS)
        self._headers = {"APCA-API-KEY-ID": keys.alpaca_key_id, "APCA-API-SECRET-KEY": keys.alpaca_secret_key}

    def requests(self, symbols: Sequence[str], since: date, until: date) -> Sequence[Request]:
        """Return the first page for each fifty symbols."""
        asked = {"timeframe": "1Day", "adjustment": "raw", "feed": "sip", "limit": str(BARS), "sort": "asc"}
        # A bar is of midnight in New York, four or five in UTC. The newest quarter of an hour is not for every plan.
        asked |= {"start": f"{since.isoformat()}T00:00:00Z", "end": f"{(until - DAY).isoformat()}T12:00:00Z"}
        batches = [tuple(symbols[at : at + BAR_SYMBOLS]) for at in range(0, len(symbols), BAR_SYMBOLS)]
        return [self._request(batch, asked | {"symbols": ",".join(batch)}) for batch in batches]

    def parse(self, request: Request, body: bytes) -> Page:
        """Read the bars of each symbol, and the token of the next page."""
        page = _decode(_bars, body)
        try:
            closes = tuple(
                Close(symbol, _day_of(parse_rfc3339(bar.t), NEW_YORK), _sound(bar.c))
                for symbol, bars in (page.bars or {}).items()
                for bar in bars
            )
        except (ValueError, OverflowError) as error:
            raise DocumentUnreadable(clean(str(error))) from error
        if not page.next_page_token:
            return Page(closes)
        first = request.url.partition("&page_token=")[0]
        return Page(closes, replace(request, url=f"{first}&page_token={quote(page.next_page_token, safe='')}"))

    def _request(self, batch: tuple[str, ...], asked: Mapping[str, str]) -> Request:
        return Request(f"{self._address}/v2/stocks/bars?{urlencode(asked)}", batch, self._headers)


class EcbCloses:
    """Ask the ECB for the whole history of its reference rates."""

    label = "ECB reference rates"

    def __init__(self, address: str) -> None:
        self._address = address

    def requests(self, symbols: Sequence[str], since: date, until: date) -> Sequence[Request]:  # noqa: ARG002 - it is one
        """Return the one document, which goes back to 1999."""
        return (Request(self._address, tuple(symbols)),)

    def parse(self, request: Request, body: bytes) -> Page:
        """Read the rates of each day through the euro."""
        return Page(
            tuple(
                Close(symbol, day, rate)
                for day, euro in parse_history(body)
                for symbol in request.symbols
                if (rate := cross_rate(symbol, euro)) is not None
            )
        )


# What histories of venues are called, so that one venue leaves another's alone.
LABELS = (CoinbaseCloses.label, BinanceCloses.label, AlpacaCloses.label, EcbCloses.label)


class _Bar(msgspec.Struct, frozen=True, gc=False):
    t: str
    c: float


class _Bars(msgspec.Struct, frozen=True, gc=False):
    bars: dict[str, list[_Bar]] | None = None
    next_page_token: str | None = None


_candles = msgspec.json.Decoder(_Candles)
_bars = msgspec.json.Decoder(_Bars)


def _decode(decoder: msgspec.json.Decoder[_Document], body: bytes) -> _Document:
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise DocumentUnreadable(clean(str(error))) from error


def _read_candles(symbol: str, rows: _Candles, per_s: int) -> Iterator[Close]:
    for row in rows:
        try:
            yield _read_candle(symbol, row, per_s)
        except (IndexError, ValueError, OverflowError) as error:
            raise DocumentUnreadable(clean(f"a candle: {error}")) from error


def _read_candle(symbol: str, row: list[float | str | None], per_s: int) -> Close:
    """Read the day and the close: both venues have them in the first place and in the fifth."""
    moment, close = row[0], row[4]
    if not isinstance(moment, float) or close is None:
        raise ValueError(f"{str(row)[:60]} is not one")
    return Close(symbol, _day_of(int(moment) * 10**9 // per_s, UTC), _sound(float(close)))


def _day_of(event_ns: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(event_ns // 10**9, zone).date()


def _sound(close: float) -> float:
    if not 0.0 < close < math.inf:
        raise ValueError(f"{close} cannot be a close")
    return close


def _windows(since: date, until: date, most: int) -> Iterator[tuple[date, date]]:
    """Yield the first and the last day of each window of at most so many days, until the day before `until`."""
    first = since
    while first < until:
        last = min(first + (most - 1) * DAY, until - DAY)
        yield first, last
        first = last + DAY


def _ms(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def _documents(address: str, hosts: Mapping[str, str]) -> str:
    """Return where the documents are that belong to a stream; on its own host, where that is none of the venue's."""
    parts = urlsplit(address)
    for host, documents in hosts.items():
        if parts.hostname == host or (parts.hostname or "").endswith(f".{host}"):
            return documents
    return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, "", "", ""))
