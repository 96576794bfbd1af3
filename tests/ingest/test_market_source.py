import pytest

from ingest.market.errors import FeedUnclear
from ingest.market.mapping import parse_mapping
from ingest.market.source import NoFeed, RecordedFeed, SimulatedFeed, check_feeds, parse_feed, parse_feeds
from ingest.market.venue_feed import SessionFeed, VenueFeed
from ingest.venues.venue import Keys


def test_a_simulated_feed_is_named_by_its_rate():
    assert parse_feed("simulated:2500") == SimulatedFeed(2500.0)
    assert parse_feed("simulated") == SimulatedFeed(500.0)
    assert parse_feed("simulated:10?seed=3") == SimulatedFeed(10.0, seed=3)


def test_no_feed_has_a_name_too():
    assert parse_feed("none") == NoFeed()


def test_a_recorded_feed_names_its_file_columns_and_speed():
    feed = parse_feed("recorded:/path/file.csv?speed=10&map=time=ts_utc,bid=BID,ask=OFR,symbol=SYMBOL,symbol.XXX=AAPL")
    assert isinstance(feed, RecordedFeed)
    assert (feed.path, feed.speed, feed.restamp, feed.header) == ("/path/file.csv", 10.0, True, True)
    assert feed.mapping.columns == {"time": "ts_utc", "bid": "BID", "ask": "OFR", "symbol": "SYMBOL"}
    assert feed.mapping.aliases == {"XXX": "AAPL"}


def test_a_file_without_header_is_mapped_by_numbers_and_may_hold_one_symbol():
    feed = parse_feed(
        "recorded:eurusd.csv.gz?map=time=0,bid=1,ask=2&header=no&symbol=EUR/USD&utc_offset=-05:00&speed=max&restamp=off"
    )
    assert isinstance(feed, RecordedFeed)
    assert (feed.header, feed.speed, feed.restamp, feed.utc_offset_minutes) == (False, 0.0, False, -300)
    assert feed.mapping.instrument_ids({"EUR/USD": 61}) == {"EUR/USD": 61, "*": 61}


def test_delimiters_have_names():
    feed = parse_feed("recorded:f.tsv?map=time=t,last=p,symbol=s&delimiter=tab&time_format=ms")
    assert isinstance(feed, RecordedFeed)
    assert (feed.delimiter, feed.time_format) == ("\t", "ms")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reuters", "the feeds are"),
        ("none:500", "the feeds are"),
        ("simulated:fast", "not a number"),
        ("simulated:nan", "can be 1 to 100,000"),
        ("simulated:0", "can be 1 to 100,000"),
        ("simulated:1000000", "can be 1 to 100,000"),
        ("simulated:5?seed=x", "whole number"),
        ("recorded:", "names no file"),
        ("recorded:f.csv", "no column for time"),
        ("recorded:f.csv?map=time=t,symbol=s", "no price"),
        ("recorded:f.csv?map=time=t,bid=b,symbol=s", "no price"),
        ("recorded:f.csv?map=time=t,last=p", "no symbol"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s,colour=red", "not a role"),
        ("recorded:f.csv?map=time=t,last=p,price=q,symbol=s", "mapped twice"),
        ("recorded:f.csv?map=time,last=p,symbol=s", "not role=column"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&speed=quick", "not a number"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&speed=-1", "multiple"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&restamp=maybe", "yes or no"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&delimiter=::", "one character"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&time_format=julian", "time format"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&utc_offset=5", "write it as"),
        ("recorded:f.csv?map=time=t,last=p,symbol=s&loop=yes", "no option"),
    ],
)
def test_nonsense_is_refused_with_what_is_expected(text: str, expected: str):
    with pytest.raises(FeedUnclear, match=expected):
        parse_feed(text)


def test_an_alias_of_an_unknown_symbol_names_nothing():
    mapping = parse_mapping("time=t,last=p,symbol=s,symbol.XXX=NOBODY")
    assert mapping.instrument_ids({"AAPL": 1}) == {"AAPL": 1}


def test_several_feeds_stand_between_semicolons_the_best_first():
    coinbase, ecb, simulated = parse_feeds(" coinbase?symbols=BTC-USD,ETH-USD&url=wss://a/b?c=1 ; ecb;simulated:200;")
    assert isinstance(coinbase, VenueFeed)
    assert (coinbase.kind, coinbase.name, coinbase.wanted.symbols) == ("coinbase", "coinbase", ("BTC-USD", "ETH-USD"))
    assert coinbase.options == {"url": "wss://a/b?c=1"}
    assert isinstance(ecb, VenueFeed)
    assert simulated == SimulatedFeed(200.0)


def test_a_feed_can_have_a_name_an_authority_a_patience_and_names_of_its_own():
    feed = parse_feed("binance?name=second&ca=ca.pem&silent_after=5&symbol.BTCUSDT=BTC/USD&channels=depth")
    assert isinstance(feed, VenueFeed)
    assert (feed.kind, feed.name, feed.ca, feed.silent_after_s) == ("binance", "second", "ca.pem", 5.0)
    assert feed.wanted.aliases == {"BTCUSDT": "BTC/USD"}
    assert feed.options == {"channels": "depth"}


def test_a_recorded_session_names_its_venue():
    feed = parse_feed("recorded:day.txt.gz?venue=coinbase&speed=max&api=advanced")
    assert isinstance(feed, SessionFeed)
    assert (feed.path, feed.speed, feed.venue.kind, feed.venue.options) == (
        "day.txt.gz",
        0.0,
        "coinbase",
        {"api": "advanced"},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no feed is named"),
        (" ; ", "no feed is named"),
        ("none;simulated", "no feed beside others"),
        ("coinbase;coinbase", "two feeds are called coinbase"),
        ("coinbase?name=A", "small letters"),
        ("coinbase?silent_after=never", "0.5 to 86400"),
        (";".join(f"coinbase?name=c{number}" for number in range(9)), "at most 8"),
        ("recorded:x?venue=reuters", "no venue 'reuters'"),
    ],
)
def test_feeds_that_cannot_run_side_by_side_are_refused(text: str, expected: str):
    with pytest.raises(FeedUnclear, match=expected):
        parse_feeds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alpaca", "ALPACA_KEY_ID"),
        ("coinbase?colour=red", "no option 'colour'"),
        ("coinbase?ca=/nowhere.pem", "cannot be read"),
        ("recorded:x?venue=finnhub", "FINNHUB_TOKEN"),
    ],
)
def test_what_a_venue_cannot_use_is_said_before_anything_is_connected(text: str, expected: str):
    with pytest.raises(FeedUnclear, match=expected):
        check_feeds(parse_feeds(text), Keys())


def test_what_can_be_used_passes_and_shows_no_key():
    feeds = parse_feeds("alpaca;http?url=https://host/{symbol}?token=hidden%26a=1&last=p;simulated")
    check_feeds(feeds, Keys("id", "secret"))
    assert "hidden" not in repr(feeds)
