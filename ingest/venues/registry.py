"""Know the venues by name; a venue's module is read when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ingest.venues.errors import VenueUnclear
from ingest.venues.venue import Keys, PolledVenue, StreamVenue

STREAMS = ("coinbase", "binance", "alpaca", "finnhub")
POLLED = ("http", "ecb")
VENUES = (*STREAMS, *POLLED)


def create_venue(name: str, options: Mapping[str, str], keys: Keys) -> StreamVenue | PolledVenue:
    """Make a venue by its name; raises `VenueUnclear`, with what is expected, where that cannot be done."""
    if name not in VENUES:
        raise VenueUnclear(f"there is no venue {name!r}; the venues are {', '.join(VENUES)}")
    made: StreamVenue | PolledVenue = import_module(f"ingest.venues.{name}").create(options, keys)
    return made
