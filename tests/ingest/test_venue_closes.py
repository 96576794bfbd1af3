"""Closes of venues: asked for in windows, read by their day, and written as one history of one source."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from fakes import eventually

from db.postgres import open_pool
from ingest.market.closes import HISTORY, keep_closes, seconds_until_next, take_closes
from ingest.market.errors import VenueLost
from ingest.venues.closes import Close, CloseSource, close_source
from ingest.venues.errors import DocumentUnreadable
from ingest.venues.registry import create_venue
from ingest.venues.venue import Keys, Request

TLS = ssl.create_default_context()
KEYS = Keys("the-id", "the-secret", "the-token", "the-header")
TODAY = date(2026, 11, 22)
DAY = timedelta(days=1)


def source_of(name: str, **options: str) -> CloseSource:
    source = close_source(create_venue(name, options, KEYS))
    assert source is not None
    return source


def asked(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def test_coinbase_is_asked_for_three_hundred_days_at_a_time_without_a_hole() -> None:
    requests = source_of("coinbase").requests(["BTC-USD"], TODAY - HISTORY, TODAY)
    assert requests[0].url.startswith("https://api.exchange.coinbase.com/products/BTC-USD/candles?granularity=86400&")
    spans = [
        (date.fromisoformat(asked(one)["start"][:10]), date.fromisoformat(asked(one)["end"][:10])) for one in requests
    ]
    assert spans[0][0] == TODAY - HISTORY
    assert spans[-1][1] == TODAY - DAY
    assert all((last - first).days < 300 for first, last in spans)
    assert all(after[0] - before[1] == DAY for before, after in pairwise(spans))


def test_candles_of_coinbase_close_in_their_fifth_place() -> None:
    body = b"[[1795219200,91000.1,93500,92000,93000.55,1234.5],[1795132800,90000,92500,91000,92000,1000]]"
    page = source_of("coinbase").parse(Request("", ("BTC-USD",)), body)
    assert page.closes == (
        Close("BTC-USD", date(2026, 11, 21), 93000.55),
        Close("BTC-USD", date(2026, 11, 20), 92000.0),
    )
    assert page.more is None


def test_klines_of_binance_are_of_the_address_of_its_documents() -> None:
    source = source_of("binance", rest="https://api.binance.us", url="wss://stream.binance.us:9443")
    (request,) = source.requests(["BTCUSDT"], TODAY - HISTORY, TODAY)
    assert request.url.startswith("https://api.binance.us/api/v3/klines?symbol=BTCUSDT&interval=1d&")
    assert datetime.fromtimestamp(int(asked(request)["endTime"]) / 1000, UTC) == datetime(2026, 11, 21, tzinfo=UTC)
    row = [
        1795219200000,
        "92000.00",
        "93500.00",
        "91000.10",
        "93000.55",
        "12.5",
        1795305599999,
        "1.0",
        7,
        "1",
        "1",
        "0",
    ]
    page = source.parse(request, json.dumps([row]).encode())
    assert page.closes == (Close("BTCUSDT", date(2026, 11, 21), 93000.55),)


def test_bars_of_alpaca_come_in_pages_and_are_of_the_day_in_new_york() -> None:
    source = source_of("alpaca")
    requests = source.requests([f"S{number}" for number in range(60)], TODAY - HISTORY, TODAY)
    assert [len(one.symbols) for one in requests] == [50, 10]
    assert requests[0].headers == {"APCA-API-KEY-ID": "the-id", "APCA-API-SECRET-KEY": "the-secret"}
    assert asked(requests[0]) | {"symbols": ""} == {
        "timeframe": "1Day", "adjustment": "raw", "feed": "sip", "limit": "10000", "sort": "asc",
        "start": "2024-10-23T00:00:00Z", "end": "2026-11-21T12:00:00Z", "symbols": "",
    }  # fmt: skip
    assert "the-secret" not in repr(requests[0])
    body = {"bars": {"AAPL": [{"t": "2026-11-20T05:00:00Z", "o": 1, "h": 1, "l": 1, "c": 231.5, "v": 3}]}}
    first = source.parse(requests[0], json.dumps(body | {"next_page_token": "a/b="}).encode())
    assert first.closes == (Close("AAPL", date(2026, 11, 20), 231.5),)
    assert first.more is not None
    assert asked(first.more)["page_token"] == "a/b="
    assert first.more.headers == requests[0].headers
    second = source.parse(first.more, json.dumps(body | {"next_page_token": "c"}).encode())
    assert second.more is not None
    assert asked(second.more)["page_token"] == "c"
    assert source.parse(second.more, b'{"bars":null,"next_page_token":null}').more is None


def test_the_ecb_tells_its_whole_history_at_once(shared_data: Path) -> None:
    source = source_of("ecb")
    (request,) = source.requests(["EUR/USD", "USD/CHF"], TODAY - HISTORY, TODAY)
    assert request.url == "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
    body = gzip.decompress((shared_data / "fx-ecb" / "eurofxref-hist.csv.gz").read_bytes())
    closes = source.parse(request, body).closes
    assert closes[:2] == (
        Close("EUR/USD", date(2026, 10, 30), 1.1172),
        Close("USD/CHF", date(2026, 10, 30), 0.9194 / 1.1172),
    )
    assert len(closes) > 14_000


def test_who_tells_no_closes_has_none() -> None:
    for name, options in (
        ("finnhub", {}),
        ("alpaca", {"plan": "test"}),
        ("http", {"url": "https://example.com/{symbol}", "last": "p"}),
        ("ecb", {"url": "https://example.com/rates.xml"}),
    ):
        assert close_source(create_venue(name, options, KEYS)) is None


@pytest.mark.parametrize(
    ("address", "documents"),
    [
        ("wss://ws-feed-public.sandbox.exchange.coinbase.com", "https://api-public.sandbox.exchange.coinbase.com/"),
        ("wss://evilcoinbase.com", "https://evilcoinbase.com/"),
        ("ws://127.0.0.1:8080/feed", "http://127.0.0.1:8080/"),
    ],
)
def test_documents_are_where_the_stream_is(address: str, documents: str) -> None:
    (request, *_) = source_of("coinbase", url=address).requests(["BTC-USD"], TODAY - DAY, TODAY)
    assert request.url.startswith(f"{documents}products/")


BROKEN = [b"", b"<html>", b"{}", b"[[1]]", b"[[null,1,1,1,1]]", b'[[1795219200,1,1,1,"much"]]', b'{"message":"no"}']
BROKEN += [b"[[1795219200,1,1,1,0]]", b"[[1795219200,1,1,1,-5]]", b"[[1e300,1,1,1,5]]", b"[" * 100_000]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("name", ["coinbase", "binance", "alpaca"])
def test_what_cannot_be_read_is_said(name: str, body: bytes) -> None:
    if name == "alpaca" and body.startswith(b"{"):
        body = b'{"bars":{"AAPL":[{"t":"yesterday","c":1}]}}'
    with pytest.raises(DocumentUnreadable):
        source_of(name).parse(Request("https://example.com", ("X",)), body)


def test_a_day_is_asked_for_when_it_has_ended() -> None:
    assert seconds_until_next(datetime(2026, 11, 22, 23, 0, tzinfo=UTC)) == 3900.0
    assert seconds_until_next(datetime(2026, 11, 22, 0, 1, tzinfo=UTC)) == 86_640.0


@contextmanager
def serving(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[int]:
    """Answer GET by path; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def candles(path: str) -> tuple[int, bytes]:
    """Answer as Coinbase does: a close of its ordinal each day of the window, and no such product but one."""
    if not path.startswith("/products/BTC-USD/"):
        return 404, b'{"message":"NotFound"}'
    query = parse_qs(urlsplit(path).query)
    first, last = (datetime.fromisoformat(query[name][0]) for name in ("start", "end"))
    days = [last - number * DAY for number in range((last - first).days + 2)]  # one before the window too, as it may
    return 200, json.dumps([[int(day.timestamp()), 1, 1, 1, float(day.toordinal()), 1] for day in days]).encode()


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "tests", size=2) as lent:
        await lent.execute("insert into currencies values ('USD', 'US dollar', 2)")
        await lent.execute(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency, history_source) "
            "select id, symbol, symbol, 'crypto', 'Digital Assets', 'US', 'USD', 'invented' "
            "from unnest(array[1, 2], array['BTC/USD', 'ETH/USD']) as i (id, symbol)"
        )
        await lent.execute(
            "insert into daily_prices (instrument_id, date, close, final) "
            "select id, day, 5, true from unnest(array[1, 2]) id, generate_series($1::date, $2::date, '1 day') day",
            TODAY - 900 * DAY,
            TODAY - DAY,
        )
        yield lent


async def test_an_invented_history_is_replaced_wholly_and_what_is_refused_costs_only_itself(pool: asyncpg.Pool) -> None:
    with serving(candles) as port:
        source = source_of("coinbase", url=f"ws://127.0.0.1:{port}")
        assert await take_closes(pool, source, {"ETH-USD": 2, "BTC-USD": 1}, TODAY, TLS) == HISTORY.days
        assert await take_closes(pool, source, {"BTC-USD": 1}, TODAY, TLS) == 0
        assert await take_closes(pool, source, {"BTC-USD": 1}, TODAY + DAY, TLS) == 1
    rows = await pool.fetch("select date, close from daily_prices where instrument_id = 1 order by date")
    assert rows[0]["date"] == TODAY - HISTORY
    assert [row["close"] for row in rows] == [float(row["date"].toordinal()) for row in rows]
    assert len(rows) == HISTORY.days + 1
    sources = await pool.fetch("select history_source from instruments order by id")
    assert [row[0] for row in sources] == ["Coinbase daily closes", "invented"]
    assert await pool.fetchval("select count(*) from daily_prices where instrument_id = 2 and close = 5") == 900


@pytest.mark.parametrize("status", [429, 503])
async def test_a_venue_that_is_busy_changes_nothing_and_says_how_long(pool: asyncpg.Pool, status: int) -> None:
    with serving(lambda _: (status, b"")) as port, pytest.raises(VenueLost) as loss:
        await take_closes(pool, source_of("coinbase", url=f"ws://127.0.0.1:{port}"), {"BTC-USD": 1}, TODAY, TLS)
    assert loss.value.pause_s == 1.0
    assert await pool.fetchval("select count(*) from daily_prices where close = 5") == 1800


async def test_a_venue_that_is_away_changes_nothing(pool: asyncpg.Pool) -> None:
    with serving(candles) as port:
        pass
    with pytest.raises(VenueLost):
        await take_closes(pool, source_of("coinbase", url=f"ws://127.0.0.1:{port}"), {"BTC-USD": 1}, TODAY, TLS)
    assert await pool.fetchval("select count(*) from daily_prices where close = 5") == 1800


async def test_a_venue_cannot_make_us_turn_pages_for_ever(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.market.closes.MOST_PAGES", 2)
    asked: list[str] = []

    def page(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b'{"bars":{"BTC":[{"t":"2026-11-20T05:00:00Z","c":1}]},"next_page_token":"more"}'

    with serving(page) as port, pytest.raises(DocumentUnreadable, match="pages"):
        await take_closes(pool, source_of("alpaca", url=f"ws://127.0.0.1:{port}"), {"BTC": 1}, TODAY, TLS)
    assert len(asked) == 2
    assert await pool.fetchval("select count(*) from daily_prices where close = 5") == 1800


async def test_a_venue_without_closes_is_done_at_once(pool: asyncpg.Pool) -> None:
    said: list[str] = []
    await keep_closes(pool, create_venue("finnhub", {}, KEYS), {"AAPL": 1}, TLS, said.append)
    await keep_closes(pool, create_venue("coinbase", {}, KEYS), {}, TLS, said.append)
    assert said == []


async def test_what_fails_is_said_and_taken_back_when_it_is_over(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.market.closes.FIRST_PAUSE_S", 0.05)
    answers = iter([(503, b""), (200, b"<html>"), *[(200, b"[]")] * 10])
    said: list[str] = []
    with serving(lambda _: next(answers)) as port:
        venue = create_venue("coinbase", {"url": f"ws://127.0.0.1:{port}"}, KEYS)
        keeping = asyncio.create_task(keep_closes(pool, venue, {"BTC-USD": 1}, TLS, said.append))
        await eventually(lambda: "" in said, "the closes were taken")
        keeping.cancel()
        await asyncio.wait([keeping])
    assert said[0].startswith("daily closes could not be taken: it answers 503")
    assert said[1].startswith("daily closes could not be taken: JSON is malformed")
    assert said[2:] == [""]
