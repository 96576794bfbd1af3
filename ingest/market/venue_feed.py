"""Say which venue a feed is of, and with what options; make the venue."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.market.errors import FeedUnclear
from ingest.market.symbols import Wanted
from ingest.venues.errors import VenueUnclear
from ingest.venues.registry import VENUES, create_venue
from ingest.venues.venue import Keys, PolledVenue, StreamVenue

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ALIAS = "symbol."
OPTIONS = ("ca", "name", "silent_after", "symbols", f"{_ALIAS}THEIRS")
MOST_SYMBOLS = 10_000


@dataclass(frozen=True, slots=True)
class VenueFeed:
    """Ask for a venue's quotes under a name of our own; `options` are the venue's.

    `ca` is a file of certificates that is trusted instead of the system's. `silent_after_s` is how long a connection,
    or an instrument while its market is open, may be silent; None is what the venue and the class of the instrument
    say.
    """

    kind: str
    name: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    wanted: Wanted = field(default_factory=Wanted)
    ca: str | None = None
    silent_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class SessionFeed:
    """Ask for the replay of a venue's recorded session, at a multiple of its pace (0: as fast as possible)."""

    path: str
    venue: VenueFeed
    speed: float = 1.0
    restamp: bool = True
    name: str = "recorded"


def create_venue_feed(kind: str, options: Mapping[str, str]) -> VenueFeed:
    """Sort options into ours and the venue's; raises `FeedUnclear` where one of ours cannot be used."""
    if kind not in VENUES:
        raise FeedUnclear(f"there is no venue {kind!r}; the venues are {', '.join(VENUES)}")
    name = options.get("name", kind)
    if not _NAME.fullmatch(name):
        raise FeedUnclear(f"the name of a feed is {name!r}; it is small letters, digits, - and _, at most 32")
    symbols = tuple(dict.fromkeys(filter(None, options.get("symbols", "").split(","))))
    if len(symbols) > MOST_SYMBOLS:
        raise FeedUnclear(f"a feed follows {MOST_SYMBOLS:,} symbols at most, and {len(symbols):,} are named")
    aliases = {name.removeprefix(_ALIAS): ours for name, ours in options.items() if name.startswith(_ALIAS)}
    theirs = {name: value for name, value in options.items() if name not in OPTIONS and not name.startswith(_ALIAS)}
    return VenueFeed(
        kind, name, theirs, Wanted(symbols, aliases), options.get("ca"), _parse_silence(options.get("silent_after"))
    )


def open_venue(feed: VenueFeed, keys: Keys) -> StreamVenue | PolledVenue:
    """Make the venue of a feed; raises `FeedUnclear` where its options or keys cannot be used."""
    try:
        return create_venue(feed.kind, feed.options, keys)
    except VenueUnclear as error:
        raise FeedUnclear(str(error)) from error


def create_tls(feed: VenueFeed) -> ssl.SSLContext:
    """Make what verifies the venue's certificate; raises `FeedUnclear` where the file of `ca` cannot be read."""
    try:
        return ssl.create_default_context(cafile=feed.ca)
    except (OSError, ssl.SSLError) as error:
        raise FeedUnclear(f"the certificates in {feed.ca} cannot be read: {error}") from error


def _parse_silence(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.5 <= seconds <= 86_400.0:
        raise FeedUnclear(f"silent_after is {text!r}; it is a number of seconds from 0.5 to 86400")
    return seconds
