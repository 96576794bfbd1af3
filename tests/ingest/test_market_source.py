import pytest

from ingest.market.errors import FeedUnclear
from ingest.market.mapping import parse_mapping
from ingest.market.source import NoFeed, RecordedFeed, SimulatedFeed, parse_feed


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
