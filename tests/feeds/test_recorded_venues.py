"""Real recorded sessions, told again over real WebSockets: the feed ends with the top that the session ends with."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import eventually
from fakes_feeds import Followed, following, symbol_map
from fakes_market import Letters
from fakes_sessions import RecordedMarket, binance_tops, coinbase_tops, received_frames
from fakes_venues import VenueServer

from ingest.market.quarantine import Quarantine
from ingest.market.venue_source import VenueSource
from ingest.venues.registry import create_venue
from ingest.venues.venue import Keys

Tops = dict[str, tuple[float, float]]
SESSIONS = (
    ("coinbase", "COINBASE.ws.head2500.txt.gz", coinbase_tops),
    ("binance", "BINANCE.ws.txt.gz", binance_tops),
)


def ends_with(feed: Followed, tops: Tops) -> bool:
    newest = {symbol: feed.newest(symbol) for symbol in tops}
    return all(row is not None and row.top == tops[symbol] for symbol, row in newest.items())


@pytest.mark.parametrize(("name", "file", "read"), SESSIONS, ids=["coinbase", "binance"])
async def test_a_day_on_the_wire_ends_with_its_top_and_after_a_loss_again(
    name: str, file: str, read: Callable[[list[str]], Tops], shared_data: Path
) -> None:
    frames = received_frames(shared_data / "ws-recorded" / file)
    tops, market, letters = read(frames), RecordedMarket(frames, waits=True), Letters()
    assert len(tops) >= 3
    async with VenueServer(market).open() as server:
        venue = create_venue(name, {"url": server.ws_url}, Keys())
        quarantine = Quarantine(name, letters.refuse)
        source = VenueSource(name, venue, quarantine, ssl.create_default_context(), 30.0)  # type: ignore[arg-type]
        async with following(source, letters, symbol_map(*tops)) as feed:
            for times in (1, 2):
                await eventually(lambda times=times: market.times_told == times, "the session is told")
                await eventually(lambda: ends_with(feed, tops), "the feed ends with its top")
                feed.rows.clear()
                server.break_off()
            assert quarantine.reasons == {}
