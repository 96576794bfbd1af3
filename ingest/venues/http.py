"""Read any JSON document that quotes prices: where they stand is told by dotted paths.

`url=` names `{symbol}` (a request for each), `{symbols}` (joined by commas, `batch` of them a request), or neither
(one document for all). Of `{symbol}` the document is the quote; otherwise it is a list of quotes, or an object of them
by symbol. `items=` says where in the document that stands, if it is not all of it. In a quote `bid`, `ask`, `last`,
`time` and `symbol` are paths such as `quote.latestPrice` or `levels.0.price`. Prices are numbers or texts of numbers. A
bid or ask that is null, absent or 0 says that nobody bids or asks; a quote without any price is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

import msgspec

from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Event, Notice, Quote, Refused, Trade
from ingest.venues.options import check_address, check_options, take_count, take_flag, take_seconds
from ingest.venues.refusal import UNREADABLE, clean, refuse
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.venue import Budget, Keys, Listed, Request

EVERY_S, LEAST_EVERY_S = 5.0, 0.5
BATCH = 50
DOCUMENT_BYTES = 8 << 20
MOST_QUOTES = 20_000
NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
TIME_FORMATS = ("iso", *NS_PER)
PRICES = ("bid", "ask", "last")
PATHS = (*PRICES, "time", "symbol", "items")
OPTIONS = ("url", *PATHS, "time_format", "every", "calls_a_minute", "calls_a_day", "batch", "authorize")
LATEST_NS = 2**63 - 1

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_document = msgspec.json.Decoder(Any)

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuoteMapping:
    """Say where a document tells what; a path that is not given is None, the empty one is the document itself."""

    bid: Path | None
    ask: Path | None
    last: Path | None
    time: Path | None
    symbol: Path | None
    items: Path | None
    time_format: str


def create(options: Mapping[str, str], keys: Keys) -> HttpVenue:
    """Make the venue; the options are `OPTIONS`, of which `url` and one of `bid`, `ask`, `last` must be given.

    With `authorize=yes` the header Authorization is sent, which stands in HTTP_FEED_AUTHORIZATION: over https, or to
    this machine. Raises `VenueUnclear` where the options cannot be used.
    """
    check_options("http", options, OPTIONS)
    return HttpVenue(
        _check_template(options),
        _check_mapping(options),
        _check_budget(options),
        _check_authorization(options, keys),
        take_count("http", options, "batch", BATCH) or BATCH,
    )


class HttpVenue:
    """Describe an endpoint that quotes prices in JSON."""

    name = "http"

    def __init__(self, template: str, mapping: QuoteMapping, budget: Budget, authorization: str, batch: int) -> None:
        self.budget = budget
        self._template = template
        self._mapping = mapping
        self._authorization = authorization
        self._batch = batch

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return our own symbol for all that has a market price; table `instrument_symbols` says where it differs."""
        return None if instrument.asset_class == "cash" else instrument.symbol

    def requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return a request for each symbol, for each batch, or for all, as the address asks for."""
        if "{symbol}" in self._template:
            return [self._request("{symbol}", (one,)) for one in symbols]
        size = self._batch if "{symbols}" in self._template else len(symbols)
        return [self._request("{symbols}", tuple(symbols[at : at + size])) for at in range(0, len(symbols), size or 1)]

    def decode(self, request: Request, body: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - may be timed
        """Return the quotes of a document; a bad one costs only itself, what was not asked for is left out."""
        try:
            if len(body) > DOCUMENT_BYTES:
                raise ValueError(f"the document is larger than {DOCUMENT_BYTES >> 20} MiB")
            items = self._items(_document.decode(body), request)
        except UNREADABLE as error:
            return [refuse(error)]
        wanted = set(request.symbols)
        events = [event for symbol, item in items if symbol in wanted for event in self._read(symbol, item)]
        silent = wanted.difference(symbol for symbol, _ in items)
        return [*events, Notice(clean(f"nothing about {', '.join(sorted(silent))}"))] if silent else events

    def _request(self, place: str, symbols: tuple[str, ...]) -> Request:
        url = self._template.replace(place, ",".join(quote(one, safe="") for one in symbols))
        headers = {"Accept": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        return Request(url, symbols, headers)

    def _items(self, document: Any, request: Request) -> list[tuple[str, Any]]:
        """Return (symbol, quote) of each quote that the document holds."""
        found = follow(document, self._mapping.items or ())
        if found is None:
            raise ValueError(f"there is nothing at {'.'.join(self._mapping.items or ())!r}")
        if "{symbol}" in self._template:
            return [(symbol, found) for symbol in request.symbols[:1]]
        if len(found) > MOST_QUOTES if isinstance(found, list | dict) else True:
            raise ValueError(f"the quotes are not a list or an object of at most {MOST_QUOTES:,}")
        return list(self._named(found))

    def _named(self, found: list[Any] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
        if self._mapping.symbol is None:
            if isinstance(found, list):
                raise ValueError("the quotes are a list; say where each names its symbol with symbol=")
            yield from found.items()
            return
        for item in found if isinstance(found, list) else found.values():
            symbol = follow(item, self._mapping.symbol)
            yield symbol if isinstance(symbol, str) else "", item

    def _read(self, symbol: str, item: Any) -> list[Event]:
        mapping = self._mapping
        try:
            bid, ask, last = (_read_price(item, path) for path in (mapping.bid, mapping.ask, mapping.last))
            event_ns = _read_time(item, mapping.time, mapping.time_format)
        except UNREADABLE as error:
            return [refuse(error, symbol)]
        events: list[Event] = []
        if mapping.bid or mapping.ask:
            events.append(Quote(symbol, bid or math.nan, ask or math.nan, event_ns=event_ns))
        if not math.isnan(last):
            events.append(Trade(symbol, last, event_ns=event_ns))
        if math.isnan(last) and not (bid > 0 or ask > 0):
            return [Refused("no_price", "the quote has no price where the paths say", symbol)]
        return events


def follow(document: Any, path: Path) -> Any:
    """Return what stands at the end of a path, None where nothing does."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and len(step) < 9:
            document = document[int(step)] if int(step) < len(document) else None
        else:
            return None
    return document


def _read_price(item: Any, path: Path | None) -> float:
    found = None if path is None else follow(item, path)
    if found is None or found == "":
        return math.nan
    price = float(_read_number(found))
    if not math.isfinite(price):
        raise _unlike(found, "a finite number")
    return price


def _read_number(found: Any) -> Decimal | float | int:
    if isinstance(found, str) and _NUMBER.fullmatch(found.strip()):
        try:
            return Decimal(found.strip())
        except InvalidOperation as error:
            raise _unlike(found, "a number") from error
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _unlike(found, "a number")
    return found


def _read_time(item: Any, path: Path | None, time_format: str) -> int:
    """Return nanoseconds, 0 where the document does not say."""
    found = None if path is None else follow(item, path)
    if found is None or found in ("", 0):
        return 0
    if time_format == "iso":
        if not isinstance(found, str):
            raise _unlike(found, "a time of ISO 8601; say what it is with time_format=")
        return parse_rfc3339(found)
    event_ns = int(_read_number(found) * NS_PER[time_format])
    if not 0 <= event_ns <= LATEST_NS:
        raise _unlike(found, f"a time in {time_format}")
    return event_ns


def _unlike(found: Any, what: str) -> ValueError:
    return ValueError(f"{str(found)[:40]!r} is not {what}")


def _check_template(options: Mapping[str, str]) -> str:
    template = options.get("url", "")
    check_address("http", template.replace("{symbols}", "X").replace("{symbol}", "X"), ("http", "https"))
    if "{symbol}" in template and "{symbols}" in template:
        raise VenueUnclear("http: url names {symbol} and {symbols}; it can name one of them")
    if "{" in template.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise VenueUnclear("http: the host of url cannot depend on the symbol")
    return template


def _check_mapping(options: Mapping[str, str]) -> QuoteMapping:
    if not any(name in options for name in PRICES):
        raise VenueUnclear("http: say where the prices stand with bid=, ask= or last=, such as last=quote.latestPrice")
    time_format = options.get("time_format", "iso")
    if time_format not in TIME_FORMATS:
        raise VenueUnclear(f"http: time_format is {time_format!r}; it can be {', '.join(TIME_FORMATS)}")
    return QuoteMapping(**{name: _check_path(name, options.get(name)) for name in PATHS}, time_format=time_format)


def _check_path(name: str, text: str | None) -> Path | None:
    """Return the steps of a path; `.` is the document itself, which only `items` can be."""
    if text is None or (text == "." and name == "items"):
        return None if text is None else ()
    steps = tuple(text.split("."))
    if not all(steps):
        raise VenueUnclear(f"http: {name} is {text!r}; it is names between dots, such as quote.latestPrice")
    return steps


def _check_budget(options: Mapping[str, str]) -> Budget:
    return Budget(
        take_seconds("http", options, "every", EVERY_S, LEAST_EVERY_S),
        take_count("http", options, "calls_a_minute", 0),
        take_count("http", options, "calls_a_day", 0),
    )


def _check_authorization(options: Mapping[str, str], keys: Keys) -> str:
    if not take_flag("http", options, "authorize"):
        return ""
    if not keys.http_authorization:
        raise VenueUnclear("http: authorize=yes needs HTTP_FEED_AUTHORIZATION in the environment")
    if not keys.http_authorization.isprintable():
        raise VenueUnclear("http: HTTP_FEED_AUTHORIZATION is not one line of printable characters")
    parts = urlsplit(options["url"].replace("{", "").replace("}", ""))
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise VenueUnclear("http: HTTP_FEED_AUTHORIZATION is sent over https only, or to this machine")
    return keys.http_authorization
