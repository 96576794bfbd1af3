"""Venues that say no: a wrong key, a symbol that there is not, a snapshot that does not come, a false certificate.

A feed says what it was told, keeps its keys to itself, and never runs into the same wall again and again.
"""

import asyncio
from pathlib import Path

import pytest
from fakes import eventually
from fakes_books import BookMarket
from fakes_certificates import Authority
from fakes_feeds import KEYS, KINDS, SECRETS, STOCKS, Scene, scene
from fakes_markets import AlpacaMarket, BinanceMarket, FinnhubMarket
from fakes_venues import Answer, VenueServer

from ingest.market.tops import FeedStatus
from ingest.venues.registry import STREAMS
from ingest.venues.venue import Keys

A_WHILE_S = 2.5  # long enough for a feed that does not wait to try again


async def stays_away(of: Scene) -> None:
    """Check that it does not try again soon."""
    tried = len(of.server.handshakes)
    await asyncio.sleep(A_WHILE_S)
    assert len(of.server.handshakes) == tried


@pytest.mark.parametrize(
    ("kind", "market", "keys", "said"),
    [
        ("alpaca", AlpacaMarket(STOCKS), Keys("PKTEST", "not-the-secret"), "402 auth failed"),
        ("finnhub", FinnhubMarket({f"S{number}": 10.0 for number in range(60)}), KEYS, "too many symbols"),
    ],
    ids=["a wrong key", "too many symbols"],
)
async def test_what_lasts_is_said_and_not_tried_again_soon(
    kind: str, market: BookMarket, keys: Keys, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    market.symbols = 40  # type: ignore[attr-defined] # fewer than the plan that the feed knows
    async with scene(kind, market=market, keys=keys) as of:
        await eventually(lambda: said in of.feed.source.trouble, "the feed says what it was told")
        await stays_away(of)
        assert of.feed.source.losses == 1
        assert of.feed.states == {FeedStatus.RESYNC}
    logged = "".join(capsys.readouterr())
    assert "lost" in logged
    assert not any(secret in logged + of.feed.source.trouble for secret in (*SECRETS, "not-the-secret"))


async def test_a_key_that_is_refused_at_the_door_is_said_and_not_tried_again_soon() -> None:
    async with scene("finnhub") as of:
        await of.first_prices()
        of.server.faults.handshakes.append(Answer(b"Invalid API key", 401))
        of.server.break_off()
        await eventually(lambda: "401" in of.feed.source.trouble, "the feed says that it was refused")
        await stays_away(of)


@pytest.mark.parametrize("kind", ["coinbase", "binance"])
async def test_a_symbol_that_there_is_not_costs_only_itself(kind: str) -> None:
    market = KINDS[kind].market()
    async with scene(kind, market=market, symbols=("NOSUCH-USD", *market.books)) as of:
        await eventually(lambda: all(of.feed.rows[symbol] for symbol in market.books), "the others have prices")
        await of.is_right()
        assert of.feed.source.losses == 0
        assert of.feed.state_of("NOSUCH-USD") is not FeedStatus.LIVE


async def without_a_snapshot(kind: str) -> None:
    market = KINDS[kind].market()
    market.withholds = True
    async with scene(kind, market=market, silent_after_s=60.0) as of:
        await eventually(lambda: of.server.wires, "it is connected")
        await asyncio.sleep(1.0)
        assert of.feed.states <= {FeedStatus.GAP, FeedStatus.RESYNC}
        assert not any(of.feed.rows.values())
        market.withholds = False
        await of.live(45.0)
        await of.is_right()
        of.check_published()


async def test_without_a_snapshot_nothing_is_live_and_it_is_asked_for_again() -> None:
    async with asyncio.TaskGroup() as group:
        for kind in ("coinbase", "coinbase, advanced", "binance, depth"):
            group.create_task(without_a_snapshot(kind), name=kind)


async def test_a_snapshot_that_is_refused_for_now_is_asked_for_again() -> None:
    async with scene("binance, depth") as of:
        await of.first_prices()
        of.server.faults.documents += [
            Answer(status=429, headers={"Retry-After": "1"}),
            Answer(status=503),
            Answer(b"not a book"),
            Answer(b'{"lastUpdateId":1,"bids":[],"asks":[]}'),
        ]
        of.server.break_off()
        await of.lost()
        await eventually(lambda: not of.server.faults.documents, "it asks again", 30)
        await of.live(30.0)
        await of.is_right()
        of.check_published()
        times = [at for at, _ in of.server.answered]
        busy = next(number for number, (_, status) in enumerate(of.server.answered) if status == 429)
        assert times[busy + 1] - times[busy] >= 1.0, "what the venue asked for is kept"
        assert set(of.feed.reasons) == {"unreadable"}


async def test_a_change_that_coinbase_lost_is_found_when_the_book_is_crossed() -> None:
    async with scene("coinbase") as of:
        await of.first_prices()
        of.market.moving = False
        of.server.faults.drop = 1
        await of.market.jump("BTC-USD", 69_000.0)
        await of.market.jump("BTC-USD", 68_000.0)
        await of.is_right()
        assert of.feed.source.tops.counts.gaps >= 1
        assert of.feed.source.tops.counts.resyncs >= 1


async def test_a_gap_shows_as_one_and_what_follows_is_not_published_before_the_snapshot() -> None:
    async with scene("coinbase, advanced") as of:
        await of.first_prices()
        of.market.withholds, of.market.moving = True, False
        published = of.feed.batches
        of.server.faults.drop = 1
        for price in (69_000.0, 69_100.0, 69_200.0):
            await of.market.jump("BTC-USD", price)
        await eventually(lambda: of.feed.state_of("BTC-USD") in (FeedStatus.GAP, FeedStatus.RESYNC), "the gap is seen")
        await asyncio.sleep(0.5)
        newest = of.feed.newest("BTC-USD")
        assert newest is not None
        assert newest.bid < 68_950.0, "nothing after the gap is believed"
        assert of.feed.batches <= published + 2
        of.market.withholds = False
        of.server.break_off()
        await of.live()
        await of.is_right()


@pytest.mark.parametrize("kind", list(KINDS))
async def test_every_venue_is_followed_over_tls_and_compressed(kind: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(kind, tls=authority.server(), trust=authority.path, compress=True) as of:
        await of.first_prices()
        await of.is_right()
        of.check_published()
        assert of.feed.source.losses == 0


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("expired", "certificate has expired"),
        ("another host's", "mismatch"),
        ("a stranger's", "unable to get local issuer"),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_said_and_nothing_is_told_to_its_owner(
    made: str, said: str, tmp_path: Path
) -> None:
    ours, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    tls = {
        "expired": ours.server(expired=True),
        "another host's": ours.server("127.0.0.2"),
        "a stranger's": stranger.server(),
    }[made]
    async with scene("alpaca", tls=tls, trust=ours.path) as of:
        await eventually(lambda: said in of.feed.source.trouble, f"the feed says {said!r}")
        assert "certificate is refused" in of.feed.source.trouble
        assert not of.server.requests


async def test_a_venue_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    async with scene("coinbase") as of:
        await of.first_prices()
        of.server.faults.alive.clear()
        await eventually(lambda: "does not answer in time" in of.feed.source.trouble, "the handshake is given up", 25.0)
        of.server.faults.alive.set()
        await of.live()
        await of.is_right()


async def test_a_handshake_is_not_carried_to_another_host() -> None:
    async with VenueServer(FinnhubMarket(STOCKS)).open() as stranger, scene("finnhub") as of:
        await of.first_prices()
        of.server.faults.handshakes.append(Answer(status=302, headers={"Location": stranger.ws_url + "/"}))
        of.server.break_off()
        await eventually(lambda: "302" in of.feed.source.trouble, "the feed says so")
        await of.first_prices()
        assert not stranger.requests
        assert not any(secret in one for one in of.feed.troubles for secret in SECRETS)


async def test_a_frame_that_is_huge_when_unpacked_is_refused() -> None:
    async with scene("coinbase", compress=True, limits={"frame_bytes": 1 << 20}) as of:
        await of.first_prices()
        for wire in tuple(of.server.wires):
            await wire.frame('{"type":"' + "x" * (40 << 20) + '"}')  # some forty kilobytes on the wire
        await of.lost()
        assert any("larger than is allowed" in one for one in of.feed.troubles)
        await of.live()
        await of.is_right()


async def test_no_more_connections_are_made_in_a_minute_than_the_venue_allows() -> None:
    async with scene("binance", limits={"connects_a_minute": 3}) as of:
        await of.first_prices()
        for count in (1, 2, 3):
            of.server.break_off()
            await of.lost(count)
            if count < 3:
                await eventually(lambda: of.server.wires, "it is back")
        await stays_away(of)
        assert len(of.server.handshakes) == 3


async def test_symbols_beyond_what_a_connection_takes_go_over_another() -> None:
    market = BinanceMarket({f"S{number}USDT": 100.0 + number for number in range(5)})
    async with scene("binance", market=market, limits={"symbols": 2}) as of:
        await of.first_prices()
        await of.is_right()
        assert len(of.server.wires) == 3


def test_the_kinds_cover_every_venue_that_streams() -> None:
    assert {kind.name for kind in KINDS.values()} == set(STREAMS)
