"""Read a recorded session as the live feed would, and say what it holds: quotes and trades as JSON lines, then counts.

Pure but for the two streams that it writes to: what connects, sends and fetches is not here, because in a recorded
session that has all been done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import BinaryIO, TextIO, TypeAlias

import msgspec

from ingest.market.errors import FeedUnclear
from ingest.market.source import parse_feed
from ingest.market.venue_feed import VenueFeed, open_venue
from ingest.venues.events import Complaint, Gap, Heartbeat, Notice, Quote, Refused, Snapshot, Trade
from ingest.venues.registry import STREAMS, VENUES
from ingest.venues.session_file import Line, Read, Unreadable, Way
from ingest.venues.session_reader import PolledReader, StreamReader, create_reader
from ingest.venues.venue import Keys

# A recorded session needs no key, but venues are made only where there are all they need.
NO_KEYS = Keys("recorded", "recorded", "recorded", "recorded")

SessionReader: TypeAlias = StreamReader | PolledReader


class Counts(msgspec.Struct, tag_field="kind", tag="counts"):
    """Count what a session holds; times are seconds since the epoch, of the first and the last line."""

    lines: int = 0
    messages: int = 0
    quotes: int = 0
    trades: int = 0
    heartbeats: int = 0
    gaps: int = 0
    refusals: int = 0
    snapshots: int = 0
    notices: int = 0
    complaints: int = 0
    first: float | None = None
    last: float | None = None


_FIELDS: Mapping[type, str] = {
    Quote: "quotes",
    Trade: "trades",
    Heartbeat: "heartbeats",
    Gap: "gaps",
    Refused: "refusals",
    Snapshot: "snapshots",
    Notice: "notices",
    Complaint: "complaints",
}


def open_reader(text: str) -> SessionReader:
    """Make what reads sessions of a venue written as feeds are, such as `ecb?symbols=EUR/USD,GBP/USD`.

    Raises `FeedUnclear` where there is no such venue, or its options cannot be used.
    """
    feed = parse_feed(text)
    if not isinstance(feed, VenueFeed):
        raise FeedUnclear(f"{text!r} is no venue; the venues are {', '.join(VENUES)}")
    if feed.kind not in STREAMS and not feed.wanted.symbols:
        raise FeedUnclear(f"{feed.kind} answers for symbols; name them, such as {feed.kind}?symbols=EUR/USD,GBP/USD")
    return create_reader(open_venue(feed, NO_KEYS), feed.wanted.symbols)


def decode_session(reader: SessionReader, lines: Iterable[Read], out: BinaryIO, complain: TextIO) -> Counts:
    """Write the quotes and trades of a session to `out`, what could not be understood to `complain`; return counts."""
    counts = Counts()
    encode = msgspec.json.Encoder().encode
    for line in lines:
        counts.lines += 1
        if isinstance(line, Unreadable):
            counts.refusals += 1
            complain.write(f"line {line.number}: {line.reason}\n")
            continue
        _count_line(counts, line)
        for event in reader.read(line):
            field = _FIELDS[type(event)]
            setattr(counts, field, getattr(counts, field) + 1)
            if isinstance(event, Quote | Trade):
                out.write(encode(event) + b"\n")
            elif isinstance(event, Refused):
                complain.write(f"line {line.number}: {event.reason}: {event.detail}\n")
    out.write(encode(counts) + b"\n")
    return counts


def _count_line(counts: Counts, line: Line) -> None:
    if line.way in (Way.RECEIVED, Way.FETCHED):
        counts.messages += 1
    at = line.at_ns / 1e9
    counts.first = at if counts.first is None else counts.first
    counts.last = at
