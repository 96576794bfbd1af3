from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from ingest.market.recording import RawRows, open_recording
from ingest.market.rows import ParsedRows, parse_rows
from ingest.market.source import RecordedFeed, parse_feed

FAULTS = Path(__file__).parents[1] / "data" / "quotes_with_faults.csv"
MAPPING = "map=time=time,symbol=symbol,bid=bid,ask=ask,last=last,volume=size"
IDS = {"ALHA": 1, "ALHB": 2}


@pytest.fixture(scope="module")
def parsed() -> ParsedRows:
    feed = parse_feed(f"recorded:{FAULTS}?{MAPPING}")
    assert isinstance(feed, RecordedFeed)
    raw = open_recording(feed).read()
    assert raw is not None
    return parse_rows(raw, IDS, "iso")


def test_good_rows_become_quotes_in_the_order_of_the_file(parsed: ParsedRows):
    assert parsed.instrument.tolist() == [1, 2, 1, 2]
    assert np.array_equal(parsed.last, [101.12, np.nan, 101.15, 55.04], equal_nan=True)
    assert ((parsed.event_ns - parsed.event_ns[0]) // 10**6).tolist() == [0, 250, 2000, 2500]


def test_a_bid_of_zero_is_an_absent_side_and_a_negative_volume_none(parsed: ParsedRows):
    assert np.array_equal(parsed.bid, [101.10, 55.00, np.nan, 55.02], equal_nan=True)
    assert np.array_equal(parsed.volume, [100.0, 40.0, np.nan, 30.0], equal_nan=True)


def test_every_refused_row_is_counted_under_its_reason(parsed: ParsedRows):
    assert {rows.reason: rows.count for rows in parsed.refused} == {
        "unreadable_row": 1,
        "no_price": 2,  # nothing at all; and a lone ask, of which no mark can be made
        "not_positive": 2,
        "crossed": 1,
        "unreadable_price": 2,  # a letter in a number; the word NaN
        "unreadable_time": 1,
        "unknown_symbol": 1,
    }


def test_a_sample_shows_people_the_rows_as_they_stand_in_the_file(parsed: ParsedRows):
    (crossed,) = [rows for rows in parsed.refused if rows.reason == "crossed"]
    assert crossed.first_row == 5
    assert msgspec.json.decode(crossed.sample)[0] == {
        "row": "5",
        "time": "2026-03-02T14:30:01.250000Z",
        "symbol": "ALHB",
        "bid": "55.10",
        "ask": "55.05",
        "last": None,
        "volume": "40",
    }


def test_bytes_that_are_no_text_cost_their_row_only():
    raw = RawRows(
        0,
        {
            "time": pa.array([b"1", b"\xff", b"3", b"4"], pa.binary()),
            "symbol": pa.array([b"ALHA", b"ALHA", b"\xfe", b"ALHB"], pa.binary()),
            "last": pa.array([b"\xfd", b"1", b"1", b" 2.5 "], pa.binary()),
        },
        (),
    )
    parsed = parse_rows(raw, IDS, "s")
    assert parsed.instrument.tolist() == [2]
    assert parsed.last.tolist() == [2.5]
    assert {rows.reason for rows in parsed.refused} == {"unreadable_price", "unreadable_time", "unknown_symbol"}


def test_an_alias_for_any_symbol_needs_no_column():
    raw = RawRows(0, {"time": pa.array([b"1"], pa.binary()), "last": pa.array([b"9"], pa.binary())}, ())
    assert parse_rows(raw, {"*": 7}, "s").instrument.tolist() == [7]
    assert [rows.reason for rows in parse_rows(raw, IDS, "s").refused] == ["unknown_symbol"]
