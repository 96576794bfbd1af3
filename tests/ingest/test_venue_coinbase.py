"""Coinbase: the book's top is exactly that of the venue, gaps are told where something is missing and nowhere else."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes_listings import Listing
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.venues.book import MAX_LEVELS, Book
from ingest.venues.coinbase import CoinbaseDecoder, create
from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Gap, Heartbeat, Notice, Quote, Refused, Snapshot, Trade
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.session_file import Line, Way, open_session, read_session
from ingest.venues.venue import Keys, Send

SECOND = 10**9
SESSION = "ws-recorded/COINBASE.ws.head2500.txt.gz"
TIME = "2023-11-14T22:13:20.{:06d}Z"
SNAPSHOT = {"type": "snapshot", "product_id": "ABC-USD", "bids": [["10.04", "1"]], "asks": [["10.06", "2"]]}
MATCH = {
    "type": "match",
    "product_id": "ABC-USD",
    "trade_id": 500,
    "price": "10.05",
    "size": "0.5",
    "time": TIME.format(0),
}
TICKER = {
    "type": "ticker",
    "product_id": "ABC-USD",
    "sequence": 9,
    "price": "10.05",
    "trade_id": 500,
    "last_size": "1",
} | {
    "best_bid": "10.04",
    "best_ask": "10.06",
    "time": TIME.format(0),
}
BEAT = {"type": "heartbeat", "product_id": "ABC-USD", "last_trade_id": 500, "time": TIME.format(0)}


def changes(*levels: tuple[str, str, str], at: int = 0, product: str = "ABC-USD") -> dict[str, Any]:
    return {"type": "l2update", "product_id": product, "changes": levels, "time": TIME.format(at)}


class Feed:
    """Hand records to a decoder, a millisecond apart."""

    def __init__(self, symbols: Sequence[str] = (), **options: str) -> None:
        self.venue = create(options, Keys())
        self.decoder: CoinbaseDecoder = self.venue.decoder(symbols)
        self.now_ns = 1_700_000_000 * SECOND

    def take(self, *records: Any) -> list[Event]:
        told: list[Event] = []
        for record in records:
            self.now_ns += 10**6
            frame = record if isinstance(record, str | bytes) else json.dumps(record)
            told += self.decoder.decode(frame, self.now_ns)
        return told

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)

    def sent(self) -> list[Any]:
        return [json.loads(wish.frame) for wish in self.decoder.wishes() if isinstance(wish, Send)]


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
    assert len(session) == 2_496
    assert not of(Refused, told)
    assert not of(Gap, told)
    assert len(of(Snapshot, told)) == 10
    assert all(quote.bid < quote.ask for quote in of(Quote, told))
    # 10 last_match and 20 match; each ticker repeats one of them.
    assert len(of(Trade, told)) == 30


def test_the_book_shows_at_each_ticker_the_top_that_the_ticker_names(session: list[Line]) -> None:
    """The ticker is of the moment of its trade; the book has that top at the same time, to the microsecond."""
    decoder = create({}, Keys()).decoder(())
    tops: dict[tuple[str, int], set[tuple[float, float]]] = {}
    begun: dict[str, int] = {}
    newest: dict[str, tuple[float, float]] = {}
    tickers = []
    for line in session:
        record = json.loads(line.body)
        if record["type"] == "ticker":
            tickers.append(record)
        for quote in of(Quote, decoder.decode(line.body, line.at_ns)):
            newest[quote.symbol] = quote.bid, quote.ask
        if record["type"] == "l2update":
            symbol, at_ns = record["product_id"], parse_rfc3339(record["time"])
            begun.setdefault(symbol, at_ns)
            tops.setdefault((symbol, at_ns), set()).add(newest[symbol])
    compared = [one for one in tickers if parse_rfc3339(one["time"]) >= begun.get(one["product_id"], 2**63)]
    assert len(compared) >= 20
    for one in compared:
        shown = tops[one["product_id"], parse_rfc3339(one["time"])]
        assert (float(one["best_bid"]), float(one["best_ask"])) in shown


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("ws_l2_data_snapshot", [Snapshot, Quote]),
        ("ws_ticker", [Snapshot, Quote, Trade]),
        ("ws_market_trades", [Snapshot, Trade, Trade]),
        ("ws_heartbeats", [Heartbeat]),
        ("ws_subscriptions", [Notice]),
        ("ws_candles", [Notice]),
        ("ws_user", [Notice]),
        ("ws_l2_data_update", [Gap]),  # there is no snapshot before it
    ],
)
def test_a_record_of_advanced_trade_is_understood(shared_data: Path, name: str, kinds: list[type]) -> None:
    frame = (shared_data / f"ws-docs-fixtures/coinbase-advanced/{name}.json").read_bytes()
    assert [type(event) for event in Feed().take(frame)] == kinds


# --- the book ---

LEVELS = st.tuples(st.sampled_from(["buy", "sell"]), st.integers(90, 110), st.integers(0, 3))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(LEVELS, min_size=1, max_size=6), max_size=40))
def test_the_top_is_that_of_a_book_sorted_anew_each_time(records: list[list[tuple[str, int, int]]]) -> None:
    feed = Feed()
    sides: dict[str, dict[int, int]] = {"buy": {99: 1}, "sell": {101: 1}}
    feed.take(SNAPSHOT | {"bids": [["99", "1"]], "asks": [["101", "1"]]})
    shown: tuple[float, ...] = (99, 1, 101, 1)
    for number, record in enumerate(records):
        for side, price, size in record:
            sides[side][price] = size
        bids, asks = (sorted((p, s) for p, s in sides[side].items() if s) for side in ("buy", "sell"))
        told = feed.take(changes(*((side, str(price), str(size)) for side, price, size in record), at=number))
        if bids and asks and bids[-1][0] >= asks[0][0]:
            assert [type(event) for event in told] == [Gap]
            return
        expected = (*(bids[-1] if bids else (math.nan,) * 2), *(asks[0] if asks else (math.nan,) * 2))
        for quote in told:
            assert isinstance(quote, Quote)
            shown = (quote.bid, quote.bid_size, quote.ask, quote.ask_size)
        assert [str(float(one)) for one in shown] == [str(float(one)) for one in expected]


def test_a_quote_comes_only_when_the_top_changes() -> None:
    feed = Feed()
    feed.take(SNAPSHOT)
    assert feed.take(changes(("buy", "10.00", "5"))) == []
    assert feed.take(changes(("buy", "10.04", "1"))) == []
    [quote] = feed.take(changes(("buy", "10.04", "3"), at=7))
    assert quote == Quote("ABC-USD", 10.04, 10.06, 3.0, 2.0, parse_rfc3339(TIME.format(7)))


def test_a_level_that_comes_and_goes_far_below_the_top_costs_no_memory() -> None:
    book = Book()
    book.bids.load([(10.04, 1.0)])
    tracemalloc.start()
    for _ in range(20_000):
        book.bids.put(1.0, 5.0)
        book.bids.put(1.0, 0.0)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    assert book.top() == (10.04, 1.0, 0.0, 0.0)


def test_a_book_of_more_levels_than_a_venue_has_is_refused() -> None:
    levels = ",".join(f'["{number}.5","1"]' for number in range(1, MAX_LEVELS + 2))
    [refused, gap] = Feed().take(f'{{"type":"snapshot","product_id":"ABC-USD","bids":[{levels}],"asks":[]}}')
    assert (type(refused), type(gap)) == (Refused, Gap)


# --- gaps, and what follows from them ---


def test_a_crossed_book_is_lost_and_subscribed_to_anew_and_whole_with_the_next_snapshot() -> None:
    feed = Feed()
    feed.take(SNAPSHOT)
    [gap] = feed.take(changes(("buy", "10.07", "1")))
    assert gap == Gap("ABC-USD", gap.detail)
    assert gap.broken
    assert [(one["type"], one["product_ids"], one["channels"]) for one in feed.sent()] == [
        ("unsubscribe", ["ABC-USD"], ["level2_batch"]),
        ("subscribe", ["ABC-USD"], ["level2_batch"]),
    ]
    assert feed.take(changes(("buy", "10.01", "1"), at=5)) == []
    assert [type(event) for event in feed.take(SNAPSHOT)] == [Snapshot, Quote]


def test_changes_before_the_snapshot_are_a_gap_once() -> None:
    feed = Feed()
    told = feed.take(*(changes(("buy", "10.01", "1"), at=number) for number in range(5)))
    assert [type(event) for event in told] == [Gap]


def test_a_change_older_than_the_one_before_breaks_the_book() -> None:
    feed = Feed()
    feed.take(SNAPSHOT, changes(("buy", "10.01", "1"), at=5), changes(("buy", "10.02", "1"), at=5))
    assert [type(event) for event in feed.take(changes(("buy", "10.02", "2"), at=4))] == [Gap]


def test_snapshots_that_do_not_help_are_asked_for_less_and_less_often() -> None:
    feed = Feed()
    asked = 0
    for _ in range(600):  # ten minutes, a second apart
        feed.take(SNAPSHOT, changes(("buy", "10.07", "1")))
        feed.wait(1.0)
        asked += bool(feed.sent())
    assert 5 <= asked <= 20


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    feed = Feed(["ABC-USD", "XYZ-USD"])
    feed.take(BEAT, SNAPSHOT)
    assert feed.sent() == []
    feed.wait(11)
    feed.take(BEAT)
    assert [one["product_ids"] for one in feed.sent()] == [["XYZ-USD"], ["XYZ-USD"]]


def test_what_cannot_be_read_breaks_the_book_that_it_is_of() -> None:
    feed = Feed()
    feed.take(SNAPSHOT, SNAPSHOT | {"product_id": "XYZ-USD"})
    told = feed.take(changes(("buy", "ten", "1"), product="XYZ-USD"))
    assert [(type(event), getattr(event, "symbol", "")) for event in told] == [(Refused, "XYZ-USD"), (Gap, "XYZ-USD")]
    # Of a record that is cut nobody knows whose it was.
    told = feed.take(json.dumps(changes(("buy", "10.01", "1")))[:50])
    assert [(type(event), event.symbol) for event in told] == [(Refused, None), (Gap, "ABC-USD")]


# --- trades and heartbeats ---


def test_a_missing_trade_is_counted_and_breaks_nothing() -> None:
    feed = Feed()
    feed.take(MATCH)
    gap, trade = feed.take(MATCH | {"trade_id": 503})
    assert (gap.symbol, gap.broken) == ("ABC-USD", False)
    assert trade == Trade("ABC-USD", 10.05, 0.5, parse_rfc3339(TIME.format(0)))


def test_a_trade_is_told_once() -> None:
    told = Feed().take(TICKER, MATCH | {"type": "last_match"}, MATCH, MATCH | {"trade_id": 501}, TICKER)
    assert [trade.price for trade in of(Trade, told)] == [10.05, 10.05]
    assert not of(Gap, told)


def test_a_heartbeat_notices_a_trade_that_has_not_come_until_the_next_one() -> None:
    feed = Feed()
    assert not of(Gap, feed.take(MATCH, BEAT | {"last_trade_id": 502}))  # it can still be on its way
    told = feed.take(BEAT | {"last_trade_id": 502})
    assert [gap.broken for gap in of(Gap, told)] == [False]
    assert not of(Gap, feed.take(BEAT | {"last_trade_id": 502}, MATCH | {"trade_id": 503}))


def test_the_numbers_of_tickers_may_skip() -> None:
    assert not of(Gap, Feed().take(TICKER, TICKER | {"sequence": 900, "trade_id": 700}))


def test_a_ticker_is_a_quote_where_there_is_no_book() -> None:
    feed = Feed()
    snapshot, quote, trade = feed.take(TICKER)
    assert (snapshot.symbol, quote.bid, quote.ask, trade.price) == ("ABC-USD", 10.04, 10.06, 10.05)
    feed.take(SNAPSHOT)
    assert feed.take(TICKER | {"sequence": 10, "trade_id": 501, "best_bid": "1"}) == [
        Trade("ABC-USD", 10.05, 1.0, parse_rfc3339(TIME.format(0)))
    ]


# --- Advanced Trade ---


def advanced(number: int, **levels: str) -> dict[str, Any]:
    side = {"side": "bid", "price_level": "10.04", "new_quantity": "1"} | levels
    events = [{"type": "update", "product_id": "ABC-USD", "updates": [side]}]
    return {"channel": "l2_data", "timestamp": TIME.format(number), "sequence_num": number, "events": events}


def advanced_snapshot(number: int) -> dict[str, Any]:
    record = advanced(number)
    record["events"][0]["type"] = "snapshot"
    return record


def test_a_number_of_advanced_trade_that_is_missing_breaks_all_books() -> None:
    feed = Feed(api="advanced")
    assert not of(Gap, feed.take(advanced_snapshot(5), advanced(6)))
    told = feed.take(advanced(8))
    assert [(event.symbol, event.broken) for event in told] == [(None, True), ("ABC-USD", True)]
    assert [one["channel"] for one in feed.sent()] == ["level2", "level2"]
    assert [type(event) for event in feed.take(advanced_snapshot(9))] == [Snapshot, Quote]


def test_a_record_of_advanced_trade_that_comes_twice_changes_nothing() -> None:
    feed = Feed(api="advanced")
    feed.take(advanced_snapshot(5), advanced(6))
    assert [type(event) for event in feed.take(advanced(6, new_quantity="9"))] == [Notice]
    assert not of(Gap, feed.take(advanced(7)))


def test_a_record_that_cannot_be_read_is_one_gap_and_not_two() -> None:
    feed = Feed(api="advanced")
    told = feed.take(advanced_snapshot(5), '{"channel":"l2_data","seq', advanced_snapshot(7), advanced(8))
    assert [event.symbol for event in of(Gap, told)] == ["ABC-USD"]


def test_candles_are_counted_too() -> None:
    feed = Feed(api="advanced")
    candles = {"channel": "candles", "sequence_num": 6, "timestamp": TIME.format(0), "events": []}
    assert not of(Gap, feed.take(advanced_snapshot(5), candles, advanced(7)))


# --- bad input ---

BAD_FRAMES: list[str | bytes] = [
    "",
    "null",
    "[]",
    '"l2update"',
    "\ud800",
    b"\xff\xfe\x00",
    b'{"type":"ticker","product_id":"\xff"}',
    "[" * 100_000,
    '{"type":"ticker","x":' + "[" * 100_000,
    '{"type":"ticker","x":' + "[" * 100_000 + "]" * 100_000 + "}",
    json.dumps(TICKER | {"price": "NaN"}),
    json.dumps(TICKER | {"best_bid": "Infinity"}),
    json.dumps(TICKER | {"best_ask": "-1"}),
    json.dumps(TICKER | {"price": "1e999"}),
    json.dumps(TICKER | {"price": None}),
    json.dumps(TICKER | {"time": "yesterday"}),
    json.dumps(TICKER | {"trade_id": "many"}),
    json.dumps(MATCH | {"size": "-1"}),
    json.dumps(MATCH | {"price": "0"}),
    json.dumps(MATCH | {"price": "9" * 400}),
    json.dumps(MATCH | {"product_id": 7}),
    json.dumps(SNAPSHOT | {"bids": [["NaN", "1"]]}),
    json.dumps(SNAPSHOT | {"bids": [["1", "Infinity"]]}),
    json.dumps(SNAPSHOT | {"bids": [["0", "1"]]}),
    json.dumps(SNAPSHOT | {"asks": [["10", "-1"]]}),
    json.dumps(SNAPSHOT | {"bids": [["10.06", "1"]]}),  # crossed
    json.dumps(SNAPSHOT | {"bids": {"10": "1"}}),
    json.dumps(changes(("buy", "10", "1"))).replace('"buy"', '"hold"'),
    json.dumps(BEAT | {"time": 5}),
    json.dumps(MATCH | {"product_id": "A" * 41}),
    json.dumps(advanced(1)).replace('"bid"', '"middle"'),
    json.dumps(advanced(1, price_level="-3")),
]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_a_bad_record_is_refused_and_the_next_one_is_read(frame: str | bytes) -> None:
    feed = Feed()
    if isinstance(frame, str) and '"l2_data"' in frame:
        feed.take(advanced_snapshot(0))
    told = feed.take(frame)
    assert of(Refused, told)
    assert all(len(event.detail) <= 200 for event in of(Refused, told))
    assert of(Snapshot, feed.take(SNAPSHOT))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([SNAPSHOT, MATCH, TICKER, BEAT, changes(("buy", "1", "1")), advanced(1)]), st.data())
def test_a_record_that_is_cut_is_refused(record: dict[str, Any], data: st.DataObject) -> None:
    frame = json.dumps(record).encode()
    assert of(Refused, Feed().take(frame[: data.draw(st.integers(0, len(frame) - 1))]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([SNAPSHOT, MATCH, TICKER, BEAT, changes(("buy", "1", "1")), advanced(1)]), st.data())
def test_no_damage_to_a_record_stops_the_decoder(record: dict[str, Any], data: st.DataObject) -> None:
    frame = bytearray(json.dumps(record).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    feed = Feed()
    feed.take(bytes(frame))
    assert of(Quote, feed.take(SNAPSHOT | {"product_id": "XYZ-USD"}))


def test_a_venue_cannot_make_us_remember_products_without_bound() -> None:
    feed = Feed()
    told = feed.take(*(SNAPSHOT | {"product_id": f"P{number}"} for number in range(5_010)))
    assert len(of(Refused, told)) == 10


def test_kinds_that_the_venue_adds_are_passed_over() -> None:
    [notice] = Feed().take({"type": "auction", "product_id": "ABC-USD"})
    assert isinstance(notice, Notice)


# --- the venue ---


def test_one_product_that_the_venue_does_not_know_leaves_the_others() -> None:
    [complaint] = Feed().take(
        {"type": "error", "message": "Failed to subscribe", "reason": "A-B is not a valid product"}
    )
    assert isinstance(complaint, Complaint)
    assert not complaint.lasting


def test_a_channel_that_needs_a_key_is_a_lasting_complaint() -> None:
    reason = "level2, level3, and full channels now require authentication."
    [complaint] = Feed().take({"type": "error", "message": "Failed to subscribe", "reason": reason})
    assert complaint.lasting


def test_each_product_is_subscribed_to_by_itself_with_its_heartbeat() -> None:
    sent = [json.loads(send.frame) for send in create({}, Keys()).greeting(["ABC-USD", "XYZ-USD"])]
    assert [one["product_ids"] for one in sent] == [["ABC-USD"], ["XYZ-USD"]]
    assert sent[0]["channels"] == ["level2_batch", "matches", "heartbeat"]


def test_advanced_trade_is_subscribed_to_a_channel_at_a_time() -> None:
    venue = create({"api": "advanced"}, Keys())
    sent = [json.loads(send.frame) for send in venue.greeting(["ABC-USD"])]
    assert [one["channel"] for one in sent] == ["heartbeats", "level2", "market_trades"]
    assert venue.url(["ABC-USD"]) == "wss://advanced-trade-ws.coinbase.com"


@pytest.mark.parametrize(
    "options",
    [
        {"api": "prime"},
        {"channels": "level2"},
        {"channels": ","},
        {"channels": "level2_batch,candles"},
        {"url": "http://127.0.0.1"},
        {"colour": "red"},
    ],
)
def test_options_that_cannot_be_used_are_said(options: dict[str, str]) -> None:
    with pytest.raises(VenueUnclear):
        create(options, Keys())


def test_crypto_in_its_own_currency_is_what_the_venue_quotes() -> None:
    venue = create({}, Keys())
    assert venue.venue_symbol(Listing("BTC/USD", "crypto", "USD", "24/7")) == "BTC-USD"
    assert venue.venue_symbol(Listing("ETH/EUR", "crypto", "EUR", "24/7")) == "ETH-EUR"
    assert venue.venue_symbol(Listing("BTC/USD", "crypto", "EUR", "24/7")) is None
    assert venue.venue_symbol(Listing("EUR/USD", "fx", "USD")) is None
    assert venue.venue_symbol(Listing("AAPL")) is None
