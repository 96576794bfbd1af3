"""Binance: the local book follows the venue's rule, bookTicker stands for itself, and nothing bad stops the decoder."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes_listings import Listing
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.venues.binance import BinanceDecoder, create
from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Gap, Notice, Quote, Refused, Snapshot, Trade
from ingest.venues.session_file import Line, Way, open_session, read_session
from ingest.venues.venue import Fetch, Keys

SECOND = 10**9
SESSION = "ws-recorded/BINANCE.ws.txt.gz"
TOP = {"u": 7, "s": "ABCUSDT", "b": "10.04", "B": "1", "a": "10.06", "A": "2"}
AGGREGATE = {"e": "aggTrade", "s": "ABCUSDT", "a": 70, "p": "10.05", "q": "0.25", "T": 1_700_000_000_399}
TRADE = {"e": "trade", "s": "ABCUSDT", "t": 900, "p": "10.05", "q": "0.25", "T": 1_700_000_000_399}


def depth(first: int, last: int, bids: Any = (), asks: Any = (), **more: Any) -> dict[str, Any]:
    record = {"e": "depthUpdate", "E": 1_700_000_000_090, "s": "ABCUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return record | more


def snapshot(last: int, bids: Any = (("10.03", "1"),), asks: Any = (("10.06", "2"),)) -> bytes:
    return json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}).encode()


class Feed:
    """Hand records of combined streams to a decoder, a millisecond apart."""

    def __init__(self, **options: str) -> None:
        self.decoder: BinanceDecoder = create(options, Keys()).decoder(())
        self.now_ns = 1_700_000_000 * SECOND

    def take(self, stream: str, *records: Any) -> list[Event]:
        told: list[Event] = []
        for record in records:
            told += self.frame(json.dumps({"stream": f"abcusdt@{stream}", "data": record}))
        return told

    def frame(self, frame: str | bytes) -> Sequence[Event]:
        self.now_ns += 10**6
        return self.decoder.decode(frame, self.now_ns)

    def answer(self, body: bytes) -> Sequence[Event]:
        return self.decoder.fetched(Fetch("", "ABCUSDT"), body, self.now_ns)

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)

    def fetches(self) -> list[str]:
        return [wish.url for wish in self.decoder.wishes() if isinstance(wish, Fetch)]


def of(kind: type, told: Sequence[Event]) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


# --- the recorded session ---


@pytest.fixture(scope="module")
def session(shared_data: Path) -> list[Line]:
    with open_session(str(shared_data / SESSION)) as file:
        return [line for line in read_session(file) if isinstance(line, Line) and line.way is Way.RECEIVED]


def test_the_recorded_session_is_understood_wholly(session: list[Line]) -> None:
    decoder = create({}, Keys()).decoder(())
    told = [event for line in session for event in decoder.decode(line.body, line.at_ns)]
    assert len(session) == 265
    assert not of(Refused, told)
    assert not of(Gap, told)  # the numbers of all three symbols' changes are without holes
    assert (len(of(Quote, told)), len(of(Trade, told))) == (84, 2)
    assert all(quote.bid < quote.ask for quote in of(Quote, told))


def test_the_top_of_the_recorded_books_agrees_with_the_changes_beside_it(session: list[Line]) -> None:
    """A record of changes tells levels as they are after its last update.

    So the newest top within its updates must have the sizes that it tells at those prices, and it must tell no better
    one.
    """
    changes, tops = defaultdict(list), defaultdict(list)
    for line in session:
        record = json.loads(line.body)
        kind = record["stream"].partition("@")[2]
        if kind == "depth@100ms":
            changes[record["data"]["s"]].append(record["data"])
        elif kind == "bookTicker":
            tops[record["data"]["s"]].append(record["data"])
    compared = 0
    for symbol, told in tops.items():
        assert [one["u"] for one in told] == sorted(one["u"] for one in told)
        for change in changes[symbol]:
            within = [one for one in told if change["U"] <= one["u"] <= change["u"]]
            if not within:
                continue
            top = within[-1]
            bids, asks = ({float(p): float(q) for p, q in change[side]} for side in "ba")
            bid, ask = float(top["b"]), float(top["a"])
            assert bids.get(bid, float(top["B"])) == float(top["B"])
            assert asks.get(ask, float(top["A"])) == float(top["A"])
            assert not [price for price, size in bids.items() if price > bid and size]
            assert not [price for price, size in asks.items() if price < ask and size]
            compared += bid in bids or ask in asks
    assert compared >= 30


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("agg_trade_stream", [Trade]),
        ("trade_stream", [Trade]),
        ("book_ticker_stream", [Snapshot, Quote]),
        ("depth_update_stream", []),
        ("kline_stream_open", [Notice]),
        ("kline_stream_closed", [Notice]),
        ("liquidation_stream", [Notice]),
        ("mark_price_stream", [Notice]),
        ("ticker_stream", [Notice]),
    ],
)
def test_a_record_of_futures_is_understood(shared_data: Path, name: str, kinds: list[type]) -> None:
    frame = (shared_data / f"ws-docs-fixtures/binance-futures/{name}.json").read_bytes()
    assert [type(event) for event in Feed().frame(frame)] == kinds


# --- the top of the book ---


def test_a_book_ticker_is_a_quote_without_a_time() -> None:
    assert Feed().take("bookTicker", TOP) == [
        Snapshot("ABCUSDT"),
        Quote("ABCUSDT", 10.04, 10.06, 1.0, 2.0, 0),
    ]


def test_an_old_book_ticker_is_passed_over() -> None:
    feed = Feed()
    feed.take("bookTicker", TOP)
    assert [type(one) for one in feed.take("bookTicker", TOP, TOP | {"u": 6})] == [Notice, Notice]
    assert [type(one) for one in feed.take("bookTicker", TOP | {"u": 12})] == [Quote]


def test_an_empty_side_is_absent() -> None:
    [_, quote] = Feed().take("bookTicker", TOP | {"b": "0.00", "B": "0.00"})
    assert math.isnan(quote.bid)
    assert math.isnan(quote.bid_size)
    assert quote.ask == 10.06


def test_a_book_ticker_outside_of_a_combined_stream_is_understood() -> None:
    assert [type(one) for one in Feed().frame(json.dumps(TOP))] == [Snapshot, Quote]


# --- trades ---


@pytest.mark.parametrize(("stream", "record", "number"), [("aggTrade", AGGREGATE, "a"), ("trade", TRADE, "t")])
def test_a_missing_trade_is_counted_and_breaks_nothing(stream: str, record: dict[str, Any], number: str) -> None:
    feed = Feed()
    [trade] = feed.take(stream, record)
    assert trade == Trade("ABCUSDT", 10.05, 0.25, 1_700_000_000_399_000_000)
    gap, _ = feed.take(stream, record | {number: record[number] + 3})
    assert (gap.symbol, gap.detail, gap.broken) == ("ABCUSDT", "2 trades are missing", False)
    assert [type(one) for one in feed.take(stream, record)] == [Notice]
    assert [type(one) for one in feed.take(stream, record | {number: record[number] + 4})] == [Trade]


# --- the local book ---


def test_the_book_is_the_snapshot_and_the_changes_after_it() -> None:
    feed = Feed()
    assert feed.take("depth@100ms", depth(98, 100, [["10.03", "9"]]), depth(101, 103, [["10.04", "0.5"]])) == []
    assert feed.fetches() == ["https://data-api.binance.vision/api/v3/depth?symbol=ABCUSDT&limit=1000"]
    assert feed.answer(snapshot(101)) == [Snapshot("ABCUSDT"), Quote("ABCUSDT", 10.04, 10.06, 0.5, 2.0, 0)]
    [quote] = feed.take("depth@100ms", depth(104, 105, [["10.04", "0"]], [["10.05", "1"]]))
    assert (quote.bid, quote.bid_size, quote.ask, quote.event_ns) == (10.03, 1.0, 10.05, 1_700_000_000_090_000_000)
    assert feed.take("depth@100ms", depth(106, 106, [["9.00", "1"]])) == []


def test_a_snapshot_older_than_the_changes_is_fetched_again() -> None:
    feed = Feed()
    feed.take("depth@100ms", depth(98, 100))
    assert len(feed.fetches()) == 1
    feed.wait(1)
    assert [type(one) for one in feed.answer(snapshot(90))] == [Notice]
    assert len(feed.fetches()) == 1
    assert [type(one) for one in feed.answer(snapshot(97))] == [Snapshot, Quote]


def test_a_snapshot_newer_than_all_changes_is_continued_by_the_first_that_overlaps() -> None:
    feed = Feed()
    feed.take("depth@100ms", depth(98, 100))
    feed.answer(snapshot(104))
    assert [type(one) for one in feed.take("depth@100ms", depth(101, 103, [["10.04", "1"]]))] == [Notice]
    assert [type(one) for one in feed.take("depth@100ms", depth(104, 106, [["10.04", "1"]]))] == [Quote]


def test_changes_that_are_missing_begin_the_book_anew() -> None:
    feed = Feed()
    feed.take("depth@100ms", depth(98, 100))
    feed.answer(snapshot(100))
    feed.fetches()
    feed.wait(2)
    [gap] = feed.take("depth@100ms", depth(103, 104))
    assert gap.broken
    assert len(feed.fetches()) == 1
    assert feed.take("depth@100ms", depth(105, 106, [["10.05", "3"]])) == []
    assert feed.answer(snapshot(104)) == [Snapshot("ABCUSDT"), Quote("ABCUSDT", 10.05, 10.06, 3.0, 2.0, 0)]


def test_changes_of_futures_name_the_record_before() -> None:
    feed = Feed()
    feed.take("depth@100ms", depth(98, 100, pu=90))
    feed.answer(snapshot(99))
    assert feed.take("depth@100ms", depth(150, 160, pu=100)) == []
    assert of(Gap, feed.take("depth@100ms", depth(170, 180, pu=165)))


def test_a_snapshot_that_does_not_come_is_fetched_again_and_no_sooner() -> None:
    feed = Feed()
    feed.take("depth@100ms", *(depth(number, number) for number in range(1, 1_000)))
    assert len(feed.fetches()) == 1
    feed.wait(11)
    feed.take("depth@100ms", depth(1_000, 1_000))
    assert len(feed.fetches()) == 1


def test_a_gap_of_the_changes_breaks_nothing_where_the_top_is_told_whole() -> None:
    feed = Feed()
    feed.take("bookTicker", TOP)
    feed.take("depth@100ms", depth(98, 100))
    [gap] = feed.take("depth@100ms", depth(103, 104))
    assert not gap.broken
    assert [type(one) for one in feed.take("bookTicker", TOP | {"u": 9})] == [Quote]


LEVELS = st.lists(st.tuples(st.integers(90, 110), st.integers(0, 3)), max_size=4)
RECORDS = st.lists(st.tuples(LEVELS, LEVELS), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(RECORDS, st.data())
def test_the_top_is_that_of_a_book_sorted_anew_however_the_snapshot_falls(
    records: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]], data: st.DataObject
) -> None:
    bids, asks = {99: 1}, {101: 1}
    taken = data.draw(st.integers(0, len(records)))
    answered = data.draw(st.integers(max(taken, 1), len(records)))
    feed, shown = Feed(), (math.nan, math.nan)
    body = snapshot(0, [["99", "1"]], [["101", "1"]])
    for number, (bought, sold) in enumerate(records, 1):
        bids.update(bought)
        asks.update(sold)
        bid = max((price for price, size in bids.items() if size), default=math.nan)
        ask = min((price for price, size in asks.items() if size), default=math.nan)
        if bid >= ask:
            return
        told = list(feed.take("depth@100ms", depth(number, number, _texts(bought), _texts(sold))))
        if number == taken:
            body = snapshot(number, _texts(bids.items()), _texts(asks.items()))
        if number == answered:
            told += feed.answer(body)
        for quote in of(Quote, told):
            shown = quote.bid, quote.ask
        if number >= answered:
            assert [str(float(one)) for one in shown] == [str(float(one)) for one in (bid, ask)]


def _texts(levels: Any) -> list[list[str]]:
    return [[str(price), str(size)] for price, size in levels]


# --- bad input, and other records ---

BAD_FRAMES: list[str | bytes] = [
    "",
    "null",
    "[]",
    "{}",
    "\ud800",
    b"\xff\xfe\x00",
    "[" * 100_000,
    '{"stream":"abcusdt@bookTicker","data":' + "[" * 100_000,
    json.dumps(TOP | {"b": "NaN"}),
    json.dumps(TOP | {"a": "Infinity"}),
    json.dumps(TOP | {"A": "-1"}),
    json.dumps(TOP | {"b": "1e999"}),
    json.dumps(TOP | {"u": None}),
    json.dumps(TOP | {"s": 5}),
    json.dumps(TOP | {"s": "A" * 41}),
    json.dumps(AGGREGATE | {"p": "0"}),
    json.dumps(AGGREGATE | {"q": "-1"}),
    json.dumps(AGGREGATE | {"T": 10**30}),
    json.dumps(AGGREGATE | {"a": "many"}),
    json.dumps(TRADE | {"t": None}),
    json.dumps(depth(1, 2) | {"b": [["10.00"]]}),
    json.dumps(depth(1, 2) | {"b": "all"}),
    '{"stream":"abcusdt@bookTicker","data":[]}',
    '{"stream":"abcusdt@bookTicker","data":null}',
    '{"stream":5,"data":{}}',
]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_a_bad_record_is_refused_and_the_next_one_is_read(frame: str | bytes) -> None:
    feed = Feed()
    told = feed.frame(frame)
    assert [type(event) for event in told] == [Refused]
    assert len(told[0].detail) <= 200
    assert of(Quote, feed.take("bookTicker", TOP))


@pytest.mark.parametrize("level", [["-1", "1"], ["NaN", "1"], ["10", "Infinity"], ["0", "1"]])
def test_a_level_that_cannot_stand_in_a_book_loses_it(level: list[str]) -> None:
    feed = Feed()
    feed.take("depth@100ms", depth(98, 100))
    feed.answer(snapshot(100))
    assert [type(one) for one in feed.take("depth@100ms", depth(101, 101, [level]))] == [Refused, Gap]


@pytest.mark.parametrize("body", [b"", b"<html>", snapshot(100, [["NaN", "1"]]), snapshot(100, [["11", "1"]])])
def test_a_snapshot_that_cannot_be_read_is_refused(body: bytes) -> None:
    feed = Feed()
    feed.take("depth@100ms", depth(98, 100))
    assert [type(one) for one in feed.answer(body)] == [Refused]
    feed.wait(11)
    feed.take("depth@100ms", depth(101, 101))
    assert feed.fetches()
    assert of(Snapshot, feed.answer(snapshot(101)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([TOP, AGGREGATE, TRADE, depth(1, 2, [["1", "1"]])]), st.booleans(), st.data())
def test_no_damage_to_a_record_stops_the_decoder(record: dict[str, Any], wrapped: bool, data: st.DataObject) -> None:
    stream = f"abcusdt@{record.get('e', 'bookTicker')}"
    frame = bytearray(json.dumps({"stream": stream, "data": record} if wrapped else record).encode())
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    feed = Feed()
    assert [type(event) for event in feed.frame(bytes(cut))] == [Refused]
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    feed.frame(bytes(frame))
    assert of(Quote, feed.take("bookTicker", TOP | {"s": "XYZUSDT"}))


def test_a_venue_cannot_make_us_remember_symbols_without_bound() -> None:
    feed = Feed()
    told = feed.take("bookTicker", *(TOP | {"s": f"S{number}"} for number in range(5_010)))
    assert len(of(Refused, told)) == 10


def test_what_the_venue_refuses_is_a_complaint() -> None:
    [complaint] = Feed().frame('{"code":3,"msg":"Invalid JSON: expected value"}')
    assert complaint == Complaint("binance: 3 Invalid JSON: expected value", lasting=True)
    [complaint] = Feed().frame('{"error":{"code":-1003,"msg":"Too many requests"},"id":1}')
    assert not complaint.lasting


# --- the venue ---


def test_streams_are_subscribed_to_a_hundred_at_a_time() -> None:
    venue = create({}, Keys())
    sent = [json.loads(send.frame) for send in venue.greeting([f"S{number}USDT" for number in range(120)])]
    assert [len(one["params"]) for one in sent] == [100, 100, 40]
    assert sent[0]["params"][:2] == ["s0usdt@bookTicker", "s0usdt@aggTrade"]
    assert len({one["id"] for one in sent}) == 3
    assert venue.limits.symbols == 512
    assert venue.url([]) == "wss://data-stream.binance.vision/stream"


@pytest.mark.parametrize(
    "options",
    [
        {"channels": "level2"},
        {"channels": ""},
        {"channels": "aggTrade,trade"},
        {"dollar": "BUSD"},
        {"url": "https://example.com"},
        {"url": "ws://127.0.0.1", "channels": "depth"},  # whose snapshots?
        {"rest": "ftp://example.com"},
        {"colour": "red"},
    ],
)
def test_options_that_cannot_be_used_are_said(options: dict[str, str]) -> None:
    with pytest.raises(VenueUnclear):
        create(options, Keys())


def test_dollars_are_tethers_unless_said_otherwise() -> None:
    bitcoin = Listing("BTC/USD", "crypto", "USD", "24/7")
    assert create({}, Keys()).venue_symbol(bitcoin) == "BTCUSDT"
    assert create({"dollar": "USD"}, Keys()).venue_symbol(bitcoin) == "BTCUSD"
    assert create({"dollar": "none"}, Keys()).venue_symbol(bitcoin) is None
    assert create({}, Keys()).venue_symbol(Listing("BTC/EUR", "crypto", "EUR", "24/7")) == "BTCEUR"
    assert create({}, Keys()).venue_symbol(Listing("EUR/USD", "fx", "USD")) is None
