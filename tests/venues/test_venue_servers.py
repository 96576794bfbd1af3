"""The simulated venues themselves: what they say is true of their books, and each fault is the one it is called."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fakes_books import BookMarket
from fakes_certificates import Authority
from fakes_documents import QuoteDocuments
from fakes_markets import AlpacaMarket, BinanceMarket, CoinbaseMarket, FinnhubMarket
from fakes_venues import Answer, VenueServer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PRICES = {"BTC-USD": 68_900.0, "ETH-USD": 3_500.0}
LEVEL2 = {"type": "subscribe", "product_ids": list(PRICES), "channels": ["level2_batch", "ticker", "heartbeat"]}


@asynccontextmanager
async def meeting(market: BookMarket, path: str = "") -> AsyncIterator[tuple[VenueServer, ClientConnection]]:
    async with VenueServer(market).open() as server, connect(server.ws_url + path, proxy=None) as client:
        yield server, client


class Reader:
    """A book of a symbol as a client of Coinbase keeps it."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[float, float]] = {"buy": {}, "sell": {}}

    def take(self, record: dict) -> None:
        if record["type"] == "snapshot":
            self.sides = {
                "buy": {float(price): float(size) for price, size in record["bids"]},
                "sell": {float(price): float(size) for price, size in record["asks"]},
            }
        for side, price, size in record.get("changes", ()):
            self.sides[side][float(price)] = float(size)

    def top(self) -> tuple[float, float]:
        bids, asks = ([price for price, size in of.items() if size] for of in self.sides.values())
        return max(bids, default=0.0), min(asks, default=0.0)


async def read_to_the_end(client: ClientConnection) -> None:
    while True:
        await client.recv()


async def records(client: ClientConnection) -> AsyncIterator[dict]:
    async with asyncio.timeout(10):
        async for frame in client:
            yield json.loads(frame)


async def test_a_reader_of_coinbases_changes_has_its_top():
    market, reader = CoinbaseMarket(PRICES, moving=False), Reader()
    async with meeting(market) as (_, client):
        await client.send(json.dumps(LEVEL2))
        assert json.loads(await client.recv())["type"] == "subscriptions"
        for _ in range(300):
            await market.move("BTC-USD")
        await market.trade("BTC-USD")
        async for record in records(client):
            if record.get("product_id") == "BTC-USD":
                reader.take(record)
            if record["type"] == "ticker":
                break
    assert reader.top() == market.top("BTC-USD") == (float(record["best_bid"]), float(record["best_ask"]))


async def test_advanced_trade_numbers_its_records():
    market = CoinbaseMarket(PRICES)
    async with meeting(market) as (_, client):
        for channel in ("level2", "heartbeats"):
            await client.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channel": channel}))
        numbers, channels = [], set()
        async for record in records(client):
            numbers.append(record["sequence_num"])
            channels.add(record["channel"])
            if len(numbers) > 20 and channels == {"subscriptions", "l2_data", "heartbeats"}:
                break
    assert numbers == list(range(len(numbers)))


async def test_binances_depth_goes_on_from_its_snapshot():
    market = BinanceMarket({"BTCUSDT": 68_900.0})
    async with meeting(market, "/stream?streams=btcusdt@depth@100ms") as (server, client):
        first = json.loads(await client.recv())["data"]
        async with httpx.AsyncClient(trust_env=False) as rest:
            found = await rest.get(f"{server.http_url}/api/v3/depth?symbol=BTCUSDT&limit=1000")
        last = found.json()["lastUpdateId"]
        sides = [{float(p): float(q) for p, q in found.json()[side]} for side in ("bids", "asks")]
        number = first["u"]
        market.moving = False
        await market.jump("BTCUSDT", 70_000.0)
        while number < market.books["BTCUSDT"].number:
            data = json.loads(await client.recv())["data"]
            assert data["U"] == number + 1
            number = data["u"]
            for side, changes in zip(sides, (data["b"], data["a"]), strict=True):
                side.update({float(p): float(q) for p, q in changes if number > last})
    assert (max(p for p, q in sides[0].items() if q), min(p for p, q in sides[1].items() if q)) == (
        69_999.99,
        70_000.01,
    )


async def test_alpaca_tells_quotes_to_who_has_its_keys_alone():
    market = AlpacaMarket({"AAPL": 190.0})
    async with meeting(market) as (_, client):
        assert json.loads(await client.recv())[0]["msg"] == "connected"
        await client.send(json.dumps({"action": "auth", "key": "wrong", "secret": "wrong"}))
        assert json.loads(await client.recv())[0]["code"] == 402
        await client.send(json.dumps({"action": "auth", "key": market.keys[0], "secret": market.keys[1]}))
        assert json.loads(await client.recv())[0]["msg"] == "authenticated"
        await client.send(json.dumps({"action": "subscribe", "quotes": ["AAPL"], "trades": ["AAPL"]}))
        assert json.loads(await client.recv())[0]["quotes"] == ["AAPL"]
        assert json.loads(await client.recv())[0]["T"] == "q"


async def test_finnhub_pings_and_tells_deals():
    market = FinnhubMarket({"AAPL": 190.0})
    async with meeting(market) as (_, client):
        await client.send('{"type":"subscribe","symbol":"AAPL"}')
        assert json.loads(await client.recv()) == {"type": "ping"}
        await market.trade("AAPL")
        assert json.loads(await client.recv())["data"][0]["s"] == "AAPL"


async def test_a_document_that_has_not_changed_is_not_sent_again():
    market = QuoteDocuments({"A": (1.0, 2.0)})
    async with VenueServer(market).open() as server, httpx.AsyncClient(trust_env=False) as client:
        found = await client.get(f"{server.http_url}/quotes?symbols=A")
        again = await client.get(
            f"{server.http_url}/quotes?symbols=A", headers={"If-None-Match": found.headers["ETag"]}
        )
        market.quote("A", 1.5, 2.0)
        anew = await client.get(f"{server.http_url}/quotes?symbols=A", headers={"If-None-Match": found.headers["ETag"]})
    assert (found.status_code, again.status_code, anew.status_code) == (200, 304, 200)
    assert anew.json()["data"]["quotes"][0]["quote"] == {"bid": 1.5, "ask": 2.0}


@pytest.fixture
async def heard() -> AsyncIterator[tuple[VenueServer, ClientConnection]]:
    """Lend a connection to Coinbase on which a heartbeat comes every half second, and nothing else."""
    async with meeting(CoinbaseMarket(PRICES, moving=False)) as (server, client):
        await client.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["heartbeat"]}))
        assert json.loads(await client.recv())["type"] == "subscriptions"
        yield server, client


async def wire_of(server: VenueServer):
    (wire,) = server.wires
    return wire


async def test_a_frame_is_cut_in_its_middle(heard: tuple[VenueServer, ClientConnection]):
    server, client = heard
    await (await wire_of(server)).cut('{"type":"heartbeat"}')
    with pytest.raises(ConnectionClosed):
        await read_to_the_end(client)
    assert client.close_code == 1006


async def test_text_that_is_none_ends_the_connection_in_a_client(heard: tuple[VenueServer, ClientConnection]):
    server, client = heard
    await (await wire_of(server)).not_utf8(b'{"type":"\xff\xfe"}')
    with pytest.raises((ConnectionClosed, UnicodeDecodeError)):
        await read_to_the_end(client)


async def test_records_are_dropped_doubled_and_swapped(heard: tuple[VenueServer, ClientConnection]):
    server, client = heard
    wire = await wire_of(server)
    server.faults.drop = 1
    await wire.say('"dropped"')
    server.faults.double = 1
    await wire.say('"twice"')
    server.faults.swap = 1
    await wire.say('"second"')
    await wire.say('"first"')
    assert [json.loads(await client.recv()) for _ in range(4)] == ["twice", "twice", "first", "second"]


async def test_a_slow_venue_sends_a_byte_at_a_time(heard: tuple[VenueServer, ClientConnection]):
    server, client = heard
    server.faults.byte_pause_s = 0.001
    await (await wire_of(server)).say('"slow"')
    assert json.loads(await client.recv()) == "slow"


async def test_a_dead_venue_answers_no_ping_and_a_silent_one_does(heard: tuple[VenueServer, ClientConnection]):
    server, client = heard
    server.faults.silent = True
    await asyncio.wait_for(await client.ping(), 5)
    server.faults.alive.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(await client.ping(), 0.2)
    server.faults.alive.set()


async def test_a_closed_connection_has_its_code(heard: tuple[VenueServer, ClientConnection]):
    server, client = heard
    await server.close_all(1012, "service restart")
    with pytest.raises(ConnectionClosed):
        await read_to_the_end(client)
    assert (client.close_code, client.close_reason) == (1012, "service restart")


async def test_a_handshake_is_refused_as_told_and_the_next_is_not():
    async with VenueServer(CoinbaseMarket(PRICES)).open() as server:
        server.faults.handshakes.append(Answer(b"slow down", 429, {"Retry-After": "1"}))
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url, proxy=None)
        assert refused.value.response.headers["Retry-After"] == "1"
        async with connect(server.ws_url, proxy=None):
            assert len(server.handshakes) == 2


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_is_right_expired_or_of_somebody_else(authority: Authority, tmp_path: Path):
    ours = ssl.create_default_context(cafile=authority.path)
    stranger = Authority(tmp_path, "stranger")
    for context, refusal in (
        (authority.server(), None),
        (authority.server(expired=True), "expired"),
        (authority.server("127.0.0.2"), "mismatch"),
        (stranger.server(), "unable to get local issuer|self-signed"),
    ):
        async with VenueServer(CoinbaseMarket(PRICES), context).open() as server:
            if refusal is None:
                async with connect(server.ws_url, ssl=ours, proxy=None):
                    continue
            with pytest.raises(ssl.SSLCertVerificationError, match=refusal):
                await connect(server.ws_url, ssl=ours, proxy=None)
