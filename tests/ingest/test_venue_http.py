"""Any JSON document that quotes prices: paths say where they stand, and nothing in it can hurt."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from fakes_listings import Listing
from hypothesis import given
from hypothesis import strategies as st

from ingest.market.source import parse_feed
from ingest.market.venue_feed import VenueFeed
from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Event, Notice, Quote, Refused, Trade
from ingest.venues.http import HttpVenue, create
from ingest.venues.venue import Keys, Request

BATCH = {
    "url": "https://example.com/stock/market/batch?symbols={symbols}&types=quote",
    "bid": "quote.iexBidPrice",
    "ask": "quote.iexAskPrice",
    "last": "quote.latestPrice",
    "time": "quote.latestUpdate",
    "time_format": "ms",
}
ONE = {"url": "https://example.com/quote/{symbol}", "bid": "bid", "ask": "ask", "last": "last", "time": "at"}


def venue(**options: str) -> HttpVenue:
    return create(options, Keys(http_authorization="Bearer secret"))


def decode(options: dict[str, str], document: Any, *symbols: str) -> list[Event]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(venue(**options).decode(Request("https://example.com", symbols or ("AAPL",)), body, 0))


def test_recorded_replies_of_iex_decode(shared_data: Path) -> None:
    body = (shared_data / "iex-tops-20170710" / "rest" / "batch_quote.json").read_bytes()
    told = decode(BATCH, body, "AAPL", "FB", "MSFT")
    quotes = [one for one in told if isinstance(one, Quote)]
    assert [(one.symbol, math.isnan(one.bid), math.isnan(one.ask)) for one in quotes] == [
        ("AAPL", True, True),
        ("FB", True, True),
    ]
    assert [one for one in told if isinstance(one, Trade)] == [
        Trade("AAPL", 227.99, event_ns=1_538_611_200_000_000_000),
        Trade("FB", 158.85, event_ns=1_538_611_200_000_000_000),
    ]
    assert told[-1] == Notice("nothing about MSFT")


def test_a_recorded_chart_of_iex_is_a_list_whose_places_have_numbers(shared_data: Path) -> None:
    body = (shared_data / "iex-tops-20170710" / "rest" / "chart.json").read_bytes()
    options = {"url": "https://example.com/stock/{symbol}/chart", "last": "2.close"}
    assert decode(options, body, "AAPL") == [Trade("AAPL", 223.1)]


def test_a_document_for_one_symbol_is_the_quote_itself() -> None:
    told = decode(ONE, {"bid": "1.25", "ask": 1.26, "last": 1, "at": "2026-10-30T15:00:00.5Z"})
    assert told == [
        Quote("AAPL", 1.25, 1.26, event_ns=1_793_372_400_500_000_000),
        Trade("AAPL", 1.0, event_ns=1_793_372_400_500_000_000),
    ]


def test_quotes_in_a_list_name_their_symbols_and_strangers_are_left_out() -> None:
    options = {"url": "https://example.com/all", "items": "data.quotes", "symbol": "id.ticker", "last": "p"}
    quotes = [{"id": {"ticker": name}, "p": number} for number, name in enumerate(("AAPL", "OTHER", "MSFT"), 1)]
    told = decode(options, {"data": {"quotes": [*quotes, {"p": 9}, 7]}}, "AAPL", "MSFT")
    assert told == [Trade("AAPL", 1.0), Trade("MSFT", 3.0)]


def test_a_batch_of_one_is_still_a_list_or_an_object() -> None:
    assert decode({"url": "https://example.com/?s={symbols}", "last": "p"}, {"AAPL": {"p": 3}}) == [Trade("AAPL", 3.0)]


@pytest.mark.parametrize(
    ("time_format", "value"),
    [("s", 1_793_372_400.5), ("s", "1793372400.5"), ("ms", 1_793_372_400_500), ("us", "1793372400500000")],
)
def test_times_are_read_in_their_unit(time_format: str, value: Any) -> None:
    (told,) = decode(
        {"url": "https://example.com/{symbol}", "last": "p", "time": "t", "time_format": time_format},
        {"p": 1, "t": value},
    )
    assert isinstance(told, Trade)
    assert told.event_ns == 1_793_372_400_500_000_000


def test_a_quote_without_a_price_is_refused_and_costs_only_itself() -> None:
    options = {"url": "https://example.com/?s={symbols}", "bid": "b", "last": "p"}
    told = decode(options, {"A": {"b": 0}, "B": {"p": "much"}, "C": {"p": True}, "D": None, "E": {"p": 5}}, *"ABCDE")
    refused = {one.symbol: one.reason for one in told if isinstance(one, Refused)}
    assert refused == {"A": "no_price", "B": "unreadable", "C": "unreadable", "D": "no_price"}
    assert [one for one in told if isinstance(one, Trade)] == [Trade("E", 5.0)]


def test_a_price_of_zero_or_below_is_left_to_the_quarantine() -> None:
    options = {"url": "https://example.com/{symbol}", "last": "p"}
    assert decode(options, {"p": 0}) == [Trade("AAPL", 0.0)]
    assert decode(options, {"p": -1}) == [Trade("AAPL", -1.0)]


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "html": b"<html>Bad gateway",
    "cut": b'{"bid": 1.2',
    "nested": b"[" * 200_000,
    "huge number": b'{"last": 1e999}',
    "huge text": b'{"last": "1e999"}',
    "long number": b'{"last": ' + b"9" * 5_000 + b"}",
    "NaN": b'{"last": "NaN"}',
    "Infinity": b'{"last": Infinity}',
    "bytes": b'{"last": "\xff\xfe"}',
    "list": b'{"last": [1]}',
    "bad time": b'{"last": 1, "at": "soon"}',
    "number for a time": b'{"last": 1, "at": 17}',
    "too large": b'"' + b"x" * (9 << 20) + b'"',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_refused_and_never_raises(body: bytes) -> None:
    told = decode(ONE, body)
    assert told
    assert not any(isinstance(one, Trade) and not math.isfinite(one.price) for one in told)
    assert all(isinstance(one, Refused) for one in told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["bid", "ask", "last", "at", "AAPL"]), inner, max_size=4)
    ),
)


@given(JSON)
def test_no_document_whatsoever_raises(document: Any) -> None:
    for options in (
        ONE,
        {"url": "https://example.com/?s={symbols}", "last": "last", "time": "at", "time_format": "ns"},
    ):
        decode(options, document)


def test_requests_are_by_symbol_by_batch_or_one_for_all() -> None:
    assert [one.url for one in venue(**ONE).requests(["BRK.B", "A/B C"])] == [
        "https://example.com/quote/BRK.B",
        "https://example.com/quote/A%2FB%20C",
    ]
    batches = venue(**BATCH, batch="2").requests(["A", "B", "C"])
    assert [one.url for one in batches] == [
        "https://example.com/stock/market/batch?symbols=A,B&types=quote",
        "https://example.com/stock/market/batch?symbols=C&types=quote",
    ]
    assert [one.symbols for one in batches] == [("A", "B"), ("C",)]
    (all_in_one,) = venue(url="https://example.com/all", symbol="s", last="p").requests(["A", "B"])
    assert all_in_one.symbols == ("A", "B")
    assert list(venue(**BATCH).requests([])) == []


def test_the_key_is_sent_only_where_it_is_asked_for_and_over_tls() -> None:
    assert "Authorization" not in venue(**ONE).requests(["A"])[0].headers
    request = venue(**ONE, authorize="yes").requests(["A"])[0]
    assert request.headers["Authorization"] == "Bearer secret"
    assert "secret" not in repr(request)
    local = ONE | {"url": "http://127.0.0.1:8080/{symbol}", "authorize": "yes"}
    assert venue(**local).requests(["A"])[0].headers["Authorization"] == "Bearer secret"
    with pytest.raises(VenueUnclear, match="https only"):
        venue(**ONE | {"url": "http://example.com/{symbol}"}, authorize="yes")
    with pytest.raises(VenueUnclear, match="HTTP_FEED_AUTHORIZATION"):
        create({**ONE, "authorize": "yes"}, Keys())


def test_the_budget_is_that_of_the_options() -> None:
    budget = venue(**ONE, every="2.5", calls_a_minute="60", calls_a_day="500").budget
    assert (budget.every_s, budget.calls_a_minute, budget.calls_a_day) == (2.5, 60, 500)


def test_all_that_has_a_market_price_is_named_as_we_do() -> None:
    one = venue(**ONE)
    assert one.venue_symbol(Listing("ASTP", "etf", "EUR", "XETR")) == "ASTP"
    assert one.venue_symbol(Listing("USD", "cash", exchange=None)) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "file:///etc/passwd"}, "http:// or https://"),
        ({"url": ""}, "http:// or https://"),
        ({"url": "https://{symbol}.example.com/"}, "host"),
        ({"url": "https://example.com/{symbol}?s={symbols}"}, "one of them"),
        ({"time_format": "fortnights"}, "iso, s, ms"),
        ({"last": "a..b"}, "names between dots"),
        ({"every": "0.1"}, "0.5"),
        ({"every": "nan"}, "0.5"),
        ({"calls_a_day": "many"}, "whole number"),
        ({"authorize": "maybe"}, "yes or no"),
        ({"colour": "red"}, "no option 'colour'"),
    ],
)
def test_what_is_unclear_is_said(changes: dict[str, str], why: str) -> None:
    with pytest.raises(VenueUnclear, match=why):
        venue(**{**ONE, **changes})


def test_a_feed_without_prices_is_unclear() -> None:
    with pytest.raises(VenueUnclear, match="bid=, ask= or last="):
        venue(url="https://example.com/{symbol}", time="at")


def test_the_example_of_the_guide_is_understood() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```\n(http\?.*?)```", guide, re.DOTALL)
    feed = parse_feed("".join(line.strip() for line in example.splitlines()))
    assert isinstance(feed, VenueFeed)
    made = create(feed.options, Keys(http_authorization="Bearer secret"))
    (request,) = made.requests(["AAPL", "MSFT"])
    assert request.url == "https://quotes.example.com/v1?symbols=AAPL,MSFT&fields=all"
    quote = {"ticker": "AAPL", "quote": {"bid": 1.25, "ask": 1.26, "last": None, "time": 1_793_372_400_500}}
    told = made.decode(request, json.dumps({"data": {"quotes": [quote]}}).encode(), 0)
    assert told == [Quote("AAPL", 1.25, 1.26, event_ns=1_793_372_400_500_000_000), Notice("nothing about MSFT")]
