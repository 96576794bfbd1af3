"""Record what a venue says, into a file that `alhambra feed decode` and the feed `recorded` read."""

from __future__ import annotations

import asyncio
import gzip
import signal
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from alhambra.errors import CannotStart
from alhambra.feed.examples import example_symbols
from ingest.market.connection import Connection, first_to_end
from ingest.market.errors import FeedUnclear, VenueLost
from ingest.market.fetching import create_http_client, fetch_document
from ingest.market.link import create_link
from ingest.market.losses import LOSSES, explain_loss, pause_s
from ingest.market.quarantine import Quarantine
from ingest.market.source import parse_feed
from ingest.market.venue_feed import VenueFeed, create_tls, open_venue
from ingest.venues.registry import STREAMS
from ingest.venues.session_file import SessionWriter, secrets_of
from ingest.venues.venue import Keys, PolledVenue, StreamVenue
from stream.messages import DeadLetter
from stream.runtime import configure_logging


@dataclass(frozen=True, slots=True)
class Recording:
    """Say what to record: a venue as feeds are written, how long (None: until Ctrl-C), and into which file."""

    venue: str
    symbols: tuple[str, ...]
    seconds: float | None
    out: Path | None


@dataclass(slots=True)
class Recorded:
    """Count what was recorded; `trouble` is the newest, empty where there is none."""

    path: Path
    records: int = 0
    bytes: int = 0
    trouble: str = ""


class CountingWriter(SessionWriter):
    """Write a session, and count what was received."""

    def __init__(self, file: BinaryIO, keys: Keys, recorded: Recorded) -> None:
        super().__init__(file, secrets_of(keys))
        self._recorded = recorded

    def received(self, frame: str | bytes, at_ns: int) -> None:
        """Note what was received."""
        self._count(frame)
        super().received(frame, at_ns)

    def fetched(self, url: str, body: bytes, at_ns: int) -> None:
        """Note what was answered to a request."""
        self._count(body)
        super().fetched(url, body, at_ns)

    def lose(self, loss: VenueLost) -> None:
        """Note why nothing comes."""
        self._recorded.trouble = str(loss)

    def _count(self, record: str | bytes) -> None:
        self._recorded.trouble = ""
        self._recorded.records += 1
        self._recorded.bytes += len(record)


async def record_session(wanted: Recording, keys: Keys) -> Recorded:
    """Record until the time is over or somebody presses Ctrl-C; connections that are lost are made again.

    Raises `CannotStart` where the venue cannot be made, or the file not be written.
    """
    configure_logging("record", "WARNING")
    feed = _parse(wanted.venue)
    try:
        venue, tls = open_venue(feed, keys), create_tls(feed)
    except FeedUnclear as error:
        raise CannotStart(f"{error}.") from error
    symbols = wanted.symbols or feed.wanted.symbols or tuple(example_symbols(venue).mapped)
    if not symbols:
        raise CannotStart(f"Say which symbols of {feed.kind} to record, with --symbols.")
    path = wanted.out or Path(f"{feed.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.txt.gz")
    recorded = Recorded(path)
    with _open(path) as file:
        writer = CountingWriter(file, keys, recorded)
        if feed.kind in STREAMS:
            work = _follow(feed, cast(StreamVenue, venue), symbols, tls, writer)
        else:
            work = _ask(cast(PolledVenue, venue), symbols, tls, writer)
        await first_to_end(work, _until_asked(wanted.seconds))
    return recorded


def _parse(text: str) -> VenueFeed:
    try:
        feed = parse_feed(text)
    except FeedUnclear as error:
        raise CannotStart(f"{error}.") from error
    if not isinstance(feed, VenueFeed):
        raise CannotStart(f"{text} is no venue that could be recorded.")
    return feed


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Open the file, compressed where its name says so; what is there already is not written over."""
    try:
        with path.open("xb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file, mode="wb") as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield file
    except FileExistsError as error:
        raise CannotStart(f"{path} is there already.") from error
    except OSError as error:
        raise CannotStart(f"{path} cannot be written: {error.strerror or error}.") from error


async def _follow(
    feed: VenueFeed, venue: StreamVenue, symbols: Sequence[str], tls: ssl.SSLContext, writer: CountingWriter
) -> None:
    """Follow a streaming venue over one connection, as a session is of one."""
    most = venue.limits.symbols
    if most and len(symbols) > most:
        raise CannotStart(f"{feed.kind} takes {most} symbols on one connection, and {len(symbols)} are to be recorded.")
    link = create_link(feed.name, venue, Quarantine(feed.name, _forget), tls, feed.silent_after_s)
    link.lost = writer.lose
    try:
        await Connection(link, symbols, writer).run()
    finally:
        await link.http.aclose()


async def _ask(venue: PolledVenue, symbols: Sequence[str], tls: ssl.SSLContext, writer: CountingWriter) -> None:
    """Ask a venue for its documents again and again, at its pace."""
    failures = 0
    client = create_http_client(tls)
    try:
        while True:
            pause = venue.budget.every_s
            for request in venue.requests(symbols):
                try:
                    document = await fetch_document(client, request.url, request.headers)
                except LOSSES as error:
                    failures += 1
                    loss = explain_loss(error)
                    writer.lose(loss)
                    pause = max(pause, pause_s(failures, loss))
                    break
                failures = 0
                writer.fetched(request.url, document.body or b"", time.time_ns())
            await asyncio.sleep(pause)
    finally:
        await client.aclose()


async def _until_asked(seconds: float | None) -> None:
    """Wait until the time is over, or Ctrl-C: what was recorded is to be closed properly."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        async with asyncio.timeout(seconds):
            await asked.wait()
    except TimeoutError:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _forget(letter: DeadLetter) -> None:
    """Keep nothing of what cannot be read: it stands in the recording."""
