"""Name the feeds, and say what every one of them does: yield batches of quotes until it ends or is cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from urllib.parse import unquote

from ingest.market.errors import FeedUnclear
from ingest.market.mapping import ANY_SYMBOL, TIME_FORMATS, ColumnMapping, parse_mapping
from ingest.market.venue_feed import SessionFeed, VenueFeed, create_tls, create_venue_feed, open_venue
from ingest.venues.registry import VENUES
from ingest.venues.venue import Keys
from stream.messages import DeadLetter, QuoteBatch

MIN_RATE, MAX_RATE, DEFAULT_RATE = 1.0, 100_000.0, 500.0
FEEDS = f"{', '.join(VENUES)}, simulated:RATE, recorded:PATH?map=… or ?venue=…, none"
SEPARATOR, MOST_FEEDS = ";", 8
_YES = {"1": True, "yes": True, "on": True, "true": True, "0": False, "no": False, "off": False, "false": False}
_RECORDED_OPTIONS = frozenset({"map", "speed", "restamp", "delimiter", "header", "time_format", "utc_offset", "symbol"})


Refuse: TypeAlias = Callable[[DeadLetter], Awaitable[None]]


class QuoteSource(Protocol):
    """Yield quotes as they come. One connection, file or generator; made anew to start anew."""

    @property
    def name(self) -> str:
        """Return the source's name as it stands in records, health and metrics."""
        ...

    def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield batches in the order of arrival; closing the iterator, or cancelling, releases everything."""
        ...


@dataclass(frozen=True, slots=True)
class NoFeed:
    """Ask for no market feed: prices stay at the last close."""

    name: str = "none"


@dataclass(frozen=True, slots=True)
class SimulatedFeed:
    """Ask for simulated quotes at `rate` ticks a second; with a `seed` the walk is the same each time."""

    rate: float = DEFAULT_RATE
    seed: int | None = None
    name: str = "simulated"


@dataclass(frozen=True, slots=True)
class RecordedFeed:
    """Ask for the replay of a recorded file.

    `speed` is a multiple of the recorded pace, 0 for as fast as possible. With `restamp`, event times
    are moved to now; without, they are those of the file. `utc_offset_minutes` is the offset from UTC
    of times that name no zone (HistData's files are at −300). `time_format` is found out where None.
    """

    path: str
    mapping: ColumnMapping
    speed: float = 1.0
    restamp: bool = True
    delimiter: str = ","
    header: bool = True
    time_format: str | None = None
    utc_offset_minutes: int = 0
    name: str = "recorded"


FeedSpec: TypeAlias = SimulatedFeed | RecordedFeed | NoFeed | VenueFeed | SessionFeed


def parse_feeds(text: str) -> tuple[FeedSpec, ...]:
    """Parse feeds between semicolons, the best first, such as `coinbase;ecb;simulated:200`; raises `FeedUnclear`."""
    feeds = tuple(parse_feed(part) for part in text.split(SEPARATOR) if part.strip())
    names = [feed.name for feed in feeds]
    if not feeds:
        raise FeedUnclear(f"no feed is named; the feeds are {FEEDS}")
    if len(feeds) > MOST_FEEDS:
        raise FeedUnclear(f"{len(feeds)} feeds are named; at most {MOST_FEEDS} can run side by side")
    if len(feeds) > 1 and NoFeed().name in names:
        raise FeedUnclear("none is no feed beside others")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FeedUnclear(f"two feeds are called {twice}; give one of them a name with name=")
    return feeds


def check_feeds(feeds: Sequence[FeedSpec], keys: Keys) -> None:
    """Raise `FeedUnclear` where a venue's options, keys or certificates cannot be used; nothing is connected to."""
    for feed in feeds:
        venue = feed.venue if isinstance(feed, SessionFeed) else feed
        if isinstance(venue, VenueFeed):
            open_venue(venue, keys)
            create_tls(venue)


def parse_feed(text: str) -> FeedSpec:
    """Parse a feed's name, such as `simulated:500`, `coinbase?symbols=BTC-USD`, `recorded:/file.csv?map=…` or `none`.

    Raises `FeedUnclear`, with what is expected, on anything else.
    """
    venue, _, query = text.strip().partition("?")
    if venue in VENUES:
        return create_venue_feed(venue, _parse_options(query))
    kind, _, rest = text.strip().partition(":")
    if kind == "none" and not rest:
        return NoFeed()
    if kind == "simulated":
        return _parse_simulated(rest)
    if kind == "recorded":
        return _parse_recorded(rest)
    raise FeedUnclear(f"there is no feed {text!r}; the feeds are {FEEDS}")


def _parse_simulated(rest: str) -> SimulatedFeed:
    rate_text, _, query = rest.partition("?")
    options = _parse_options(query, frozenset({"seed"}))
    rate = _parse_number(rate_text or str(DEFAULT_RATE), "rate of simulated quotes")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise FeedUnclear(
            f"the rate of simulated quotes is {rate:g}; it can be {MIN_RATE:g} to {MAX_RATE:,.0f} a second"
        )
    seed = options.get("seed")
    if seed is not None and not seed.isdigit():
        raise FeedUnclear(f"the seed is {seed!r}; it is a whole number")
    return SimulatedFeed(rate, None if seed is None else int(seed))


def _parse_recorded(rest: str) -> RecordedFeed | SessionFeed:
    path, _, query = rest.partition("?")
    if not path:
        raise FeedUnclear("recorded: names no file; write recorded:/path/file.csv?map=time=…,last=…,symbol=…")
    if "venue" in (options := _parse_options(query)):
        return _parse_session(path, options)
    options = _parse_options(query, _RECORDED_OPTIONS)
    return RecordedFeed(
        path,
        parse_mapping(_full_mapping(options)),
        _parse_speed(options.get("speed", "1")),
        _parse_flag(options, "restamp"),
        _parse_delimiter(options.get("delimiter", ",")),
        _parse_flag(options, "header"),
        _parse_time_format(options.get("time_format")),
        _parse_offset(options.get("utc_offset", "+00:00")),
    )


def _parse_session(path: str, options: Mapping[str, str]) -> SessionFeed:
    theirs = {name: value for name, value in options.items() if name not in {"venue", "speed", "restamp"}}
    venue = create_venue_feed(options["venue"], theirs)
    return SessionFeed(path, venue, _parse_speed(options.get("speed", "1")), _parse_flag(options, "restamp"))


def _parse_options(query: str, known: frozenset[str] | None = None) -> dict[str, str]:
    """Split `name=value` pairs between ampersands; a plus stays a plus, because offsets have one."""
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if known is not None and name not in known and not name.startswith("symbol."):
            raise FeedUnclear(f"the feed has no option {name!r}; the options are {', '.join(sorted(known))}")
        options[name] = unquote(value)
    return options


def _full_mapping(options: Mapping[str, str]) -> str:
    """Write the options that are aliases of symbols into the mapping."""
    parts = [options.get("map", "")]
    if "symbol" in options:
        parts.append(f"symbol.{ANY_SYMBOL}={options['symbol']}")
    parts.extend(f"{name}={value}" for name, value in options.items() if name.startswith("symbol."))
    return ",".join(parts)


def _parse_number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FeedUnclear(f"the {what} is {text!r}, which is not a number") from None


def _parse_speed(text: str) -> float:
    if text == "max":
        return 0.0
    speed = _parse_number(text.removesuffix("x"), "speed")
    if not 0.0 <= speed <= 1e9:
        raise FeedUnclear(f"the speed is {text!r}; it is a multiple such as 1 or 10, or max")
    return speed


def _parse_flag(options: Mapping[str, str], name: str) -> bool:
    value = _YES.get(options.get(name, "yes").lower())
    if value is None:
        raise FeedUnclear(f"{name} is {options[name]!r}; it is yes or no")
    return value


def _parse_delimiter(text: str) -> str:
    delimiter = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}.get(text, text)
    if len(delimiter) != 1:
        raise FeedUnclear(f"the delimiter is {text!r}; it is one character, or tab, comma, semicolon, space, pipe")
    return delimiter


def _parse_time_format(text: str | None) -> str | None:
    if text is not None and text not in TIME_FORMATS:
        raise FeedUnclear(f"the time format is {text!r}; it can be {', '.join(TIME_FORMATS)}")
    return text


def _parse_offset(text: str) -> int:
    sign, digits = text[:1], text[1:].replace(":", "")
    if sign not in {"+", "-"} or len(digits) != 4 or not digits.isdigit():
        raise FeedUnclear(f"the offset from UTC is {text!r}; write it as -05:00")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if sign == "-" else minutes
