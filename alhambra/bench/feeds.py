"""Measure the decoders of venues: messages that one core reads in a second, against reading their JSON alone."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import orjson

from alhambra.bench.feed_traffic import TRAFFIC, Traffic, create_traffic
from alhambra.errors import CannotStart
from alhambra.feed.decode import NO_KEYS
from ingest.venues.events import Event, Quote, Refused, Trade
from ingest.venues.registry import STREAMS, create_venue
from ingest.venues.session_file import Line, Way, open_session, read_session
from ingest.venues.venue import Decoder, Fetch, StreamVenue

MESSAGES = 50_000
ROUNDS = 5
ROUND_S = 0.2  # at least; a short recording is read again and again
BEGIN_NS = 1_790_000_000_000_000_000


class VenueFigures(msgspec.Struct, frozen=True):
    """Hold what one core did with one venue's frames; rates are medians of five rounds of its own time.

    `messages` are frames, of which alpaca and finnhub send several records in one. The last two say how often
    json.loads and orjson.loads read the same bytes while our decoder makes quotes and trades of them: above 1 ours is
    the quicker one.
    """

    venue: str
    traffic: str
    messages: int
    bytes_a_message: float
    quotes: int
    trades: int
    refusals: int
    messages_per_core_s: int
    microseconds_a_message: float
    times_json_loads: float
    times_orjson_loads: float


class FeedFigures(msgspec.Struct, frozen=True):
    """Hold all venues that were measured, and the slowest."""

    slowest_messages_per_core_s: int
    venues: tuple[VenueFigures, ...]


def measure_feeds(
    venues: Sequence[str], file: str | None = None, messages: int = MESSAGES, rounds: int = ROUNDS
) -> FeedFigures:
    """Measure venues on generated traffic, or one of them on a recorded session."""
    if file is not None and len(venues) != 1:
        raise CannotStart("Say with --venue whose session that is.")
    unknown = [venue for venue in venues if venue not in STREAMS]
    if unknown:
        raise CannotStart(f"{unknown[0]} is not measured; there are {', '.join(TRAFFIC)}.")
    found = []
    for name in venues:
        traffic = create_traffic(name, messages) if file is None else load_traffic(file)
        source = "generated" if file is None else Path(file).name
        found.append(measure_venue(name, source, traffic, rounds))
    return FeedFigures(min(one.messages_per_core_s for one in found), tuple(found))


def load_traffic(file: str) -> Traffic:
    """Read what was received in a recorded session; raises `CannotStart` where nothing was."""
    try:
        with open_session(file) as session:
            lines = [one for one in read_session(session) if isinstance(one, Line) and one.way is Way.RECEIVED]
    except OSError as error:
        raise CannotStart(f"{file} cannot be read: {error.strerror or error}.") from error
    if not lines:
        raise CannotStart(f"{file} holds no received message.")
    return Traffic([line.body for line in lines])


def measure_venue(name: str, source: str, traffic: Traffic, rounds: int) -> VenueFigures:
    """Measure one venue's decoder, made anew for each pass."""
    venue = cast(StreamVenue, create_venue(name, {}, NO_KEYS))
    frames = traffic.frames
    events = [event for told in _decode(venue, traffic) for event in told]
    ours, standard, quick = _seconds(
        (lambda: _pass(venue, traffic), lambda: _load(json.loads, frames), lambda: _load(orjson.loads, frames)),
        rounds,
        len(frames),
    )
    return VenueFigures(
        venue=name,
        traffic=source,
        messages=len(frames),
        bytes_a_message=round(sum(map(len, frames)) / len(frames), 1),
        quotes=sum(isinstance(event, Quote) for event in events),
        trades=sum(isinstance(event, Trade) for event in events),
        refusals=sum(isinstance(event, Refused) for event in events),
        messages_per_core_s=round(1 / ours),
        microseconds_a_message=round(1e6 * ours, 3),
        times_json_loads=round(standard / ours, 2),
        times_orjson_loads=round(quick / ours, 2),
    )


def _decode(venue: StreamVenue, traffic: Traffic) -> list[Sequence[Event]]:
    decoder = venue.decoder(())
    return [_take(decoder, frame, number, traffic) for number, frame in enumerate(traffic.frames)]


def _take(decoder: Decoder, frame: bytes, number: int, traffic: Traffic) -> Sequence[Event]:
    """Do with a frame what the owner of a connection does: decode it, then what the decoder wishes."""
    now_ns = BEGIN_NS + number * 100_000
    told = decoder.decode(frame, now_ns)
    for wish in decoder.wishes():
        if isinstance(wish, Fetch) and wish.symbol in traffic.documents:
            told = [*told, *decoder.fetched(wish, traffic.documents[wish.symbol], now_ns)]
    return told


def _pass(venue: StreamVenue, traffic: Traffic) -> None:
    decoder = venue.decoder(())
    for number, frame in enumerate(traffic.frames):
        _take(decoder, frame, number, traffic)


def _load(loads: Callable[[bytes], object], frames: Sequence[bytes]) -> None:
    for frame in frames:
        loads(frame)


def _seconds(acts: Sequence[Callable[[], None]], rounds: int, messages: int) -> list[float]:
    """Return what a message takes of this thread's time in each act: medians of rounds.

    The acts take turns, so that a machine that others keep busy slows all of them alike.
    """
    found: list[list[float]] = [[] for _ in acts]
    for _ in range(rounds):
        for times, act in zip(found, acts, strict=True):
            count, start = 0, time.thread_time()
            while (elapsed := time.thread_time() - start) < ROUND_S or count == 0:
                act()
                count += 1
            times.append(elapsed / count / messages)
    return [statistics.median(times) for times in found]
