"""`alhambra bench feeds`: the traffic it makes is whole, so what it measures is decoding and not refusing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alhambra.bench.feed_traffic import TRAFFIC, create_traffic
from alhambra.bench.feeds import measure_feeds
from alhambra.errors import CannotStart
from alhambra.feed.decode import NO_KEYS
from ingest.venues.events import Gap, Quote, Refused, Snapshot
from ingest.venues.registry import STREAMS, create_venue
from ingest.venues.venue import Fetch, StreamVenue


@pytest.mark.parametrize("name", STREAMS)
def test_made_traffic_is_understood_without_a_gap(name: str) -> None:
    venue: StreamVenue = create_venue(name, {}, NO_KEYS)  # type: ignore[assignment]  # these stream
    traffic, decoder, told = create_traffic(name, 3_000), venue.decoder(()), []
    for number, frame in enumerate(traffic.frames):
        told += decoder.decode(frame, number * 100_000)
        for wish in decoder.wishes():
            if isinstance(wish, Fetch):
                told += decoder.fetched(wish, traffic.documents[wish.symbol], number * 100_000)
    assert len(traffic.frames) == 3_000
    assert not [event for event in told if isinstance(event, Gap | Refused)]
    assert all(quote.bid < quote.ask for quote in told if isinstance(quote, Quote))
    if name in ("coinbase", "binance"):
        assert len([event for event in told if isinstance(event, Snapshot)]) == 20


def test_made_traffic_is_the_same_each_time() -> None:
    assert create_traffic("binance", 500).frames == create_traffic("binance", 500).frames
    assert create_traffic("binance", 500).frames != create_traffic("binance", 500, seed=2).frames


def test_each_venue_that_streams_is_measured() -> None:
    assert set(TRAFFIC) == set(STREAMS)
    found = measure_feeds(STREAMS, messages=1_000, rounds=1)
    assert [one.venue for one in found.venues] == list(STREAMS)
    for one in found.venues:
        assert (one.messages, one.refusals, one.traffic) == (1_000, 0, "generated")
        assert one.messages_per_core_s >= found.slowest_messages_per_core_s > 0
        assert one.microseconds_a_message == pytest.approx(1e6 / one.messages_per_core_s, rel=0.01)
    assert msgspec.json.decode(msgspec.json.encode(found))["venues"][0]["venue"] == STREAMS[0]


def test_a_recorded_session_is_measured(shared_data: Path) -> None:
    [one] = measure_feeds(["coinbase"], str(shared_data / "ws-recorded/COINBASE.ws.head2500.txt.gz"), rounds=1).venues
    assert (one.messages, one.quotes, one.trades, one.refusals) == (2_496, 419, 30, 0)


@pytest.mark.parametrize(
    ("venues", "file"), [(["ecb"], None), (["nasdaq"], None), (STREAMS, "some.txt"), (["coinbase"], "no/such/file")]
)
def test_what_cannot_be_measured_is_said(venues: list[str], file: str | None) -> None:
    with pytest.raises(CannotStart):
        measure_feeds(venues, file)
