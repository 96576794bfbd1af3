"""Read the lines of a recorded session as the live feed reads records: the same decoders, and nothing is connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from ingest.venues.events import Event, Notice
from ingest.venues.registry import STREAMS
from ingest.venues.session_file import Line, Way
from ingest.venues.venue import Decoder, Fetch, PolledVenue, Request, StreamVenue

MOST_FETCHES = 10_000  # different documents that one connection can ask for


class StreamReader:
    """Read the session of a connection; each that is opened begins with a decoder of its own."""

    def __init__(self, venue: StreamVenue, symbols: Sequence[str]) -> None:
        self._venue = venue
        self._symbols = symbols
        self._decoder: Decoder = venue.decoder(symbols)
        self._fetches: dict[str, Fetch] = {}

    def read(self, line: Line) -> Sequence[Event]:
        """Return what one line says."""
        if line.way is Way.OPENED:
            self._decoder = self._venue.decoder(self._symbols)
            self._fetches.clear()
            return ()
        if line.way is Way.SENT:
            return ()
        if line.way is Way.FETCHED:
            wish = self._fetches.get(_path(line.url))
            if wish is None:
                return [Notice("a document that this decoder did not ask for")]
            told = self._decoder.fetched(wish, line.body, line.at_ns)
        else:
            told = self._decoder.decode(line.body, line.at_ns)
        for wanted in self._decoder.wishes():
            if isinstance(wanted, Fetch) and len(self._fetches) < MOST_FETCHES:
                self._fetches[_path(wanted.url)] = wanted
        return told


class PolledReader:
    """Read the session of a venue that answers requests."""

    def __init__(self, venue: PolledVenue, symbols: Sequence[str]) -> None:
        self._venue = venue
        self._symbols = tuple(symbols)
        self._requests = {_path(request.url): request for request in venue.requests(symbols)}

    def read(self, line: Line) -> Sequence[Event]:
        """Return what one line says; a document from another address is read as one about all the symbols."""
        if line.way is not Way.FETCHED:
            return ()
        request = self._requests.get(_path(line.url)) or Request(line.url, self._symbols)
        return self._venue.decode(request, line.body, line.at_ns)


def create_reader(venue: StreamVenue | PolledVenue, symbols: Sequence[str]) -> StreamReader | PolledReader:
    """Make what reads the sessions of a venue."""
    if venue.name in STREAMS:
        return StreamReader(cast(StreamVenue, venue), symbols)
    return PolledReader(cast(PolledVenue, venue), symbols)


def _path(url: str) -> str:
    """Return an address without its host, so that a session recorded elsewhere answers the same requests."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a damaged line; it is the address of no request
        return url
    return f"{parts.path}?{parts.query}"
