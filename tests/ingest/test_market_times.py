from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ingest.market.times import NO_TIME, detect_time_format, find_time_format, parse_times

MOMENT = int(datetime(2020, 1, 1, 22, 0, 0, 65_000, tzinfo=UTC).timestamp()) * 10**9 + 65_000_000


@pytest.mark.parametrize(
    ("text", "time_format", "offset"),
    [
        ("2020-01-01T22:00:00.065Z", "iso", 0),
        ("2020-01-01 22:00:00.065000+00:00", "iso", 0),
        ("2020-01-02T03:30:00.065+0530", "iso", 0),
        ("2020-01-01 22:00:00.065", "iso", 0),
        ("2020-01-01 17:00:00.065", "iso", -300),
        ("2020-01-01T22:00:00.065000000Z", "iso", -300),  # a zone in the text wins over the offset
        ("20200101 170000065", "compact", -300),
        ("1577916000.065", "s", 0),
        ("1577916000065", "ms", 0),
        ("1577916000065000", "us", 0),
        ("1577916000065000000", "ns", 0),
        (" 1577916000065 ", "ms", 0),
    ],
)
def test_every_format_is_found_and_names_the_same_moment(text: str, time_format: str, offset: int):
    column = pa.array([text.encode()], pa.binary())
    assert detect_time_format(text.strip()) == time_format == find_time_format(column)
    assert abs(int(parse_times(column, time_format, offset)[0]) - MOMENT) <= 250


def test_nanoseconds_are_exact():
    assert parse_times(pa.array([b"1499697155788781087"], pa.binary()), "ns").tolist() == [1499697155788781087]
    assert parse_times(pa.array([b"2017-07-10T14:32:35.788781087Z"], pa.binary()), "iso").tolist() == [
        1499697155788781087
    ]


@pytest.mark.parametrize("time_format", ["iso", "compact", "s", "ms", "us", "ns"])
def test_unreadable_times_are_told_apart_from_good_ones(time_format: str):
    bad = [None, b"", b"yesterday", b"2020-13-45T00:00:00Z", b"20201345 990000065", b"\xff\xfe", b"1e400"]
    assert (parse_times(pa.array(bad, pa.binary()), time_format) == NO_TIME).all()


def test_the_format_is_that_of_the_first_readable_time():
    assert find_time_format(pa.array([None, b"soon", b"1577916000065"], pa.binary())) == "ms"
    assert find_time_format(pa.array([None, b"soon"], pa.binary())) is None


def test_parquet_columns_keep_their_own_types():
    moment = datetime(2020, 1, 1, 22, 0, 0, 65_000, tzinfo=UTC)
    assert parse_times(pa.array([moment], pa.timestamp("us", "UTC")), "iso").tolist() == [MOMENT]
    naive = pa.array([moment.replace(tzinfo=None), None], pa.timestamp("ms"))
    assert parse_times(naive, "iso", -300).tolist() == [MOMENT + 300 * 60 * 10**9, NO_TIME]
    assert parse_times(pa.array([1577916000065]), "ms").tolist() == [MOMENT]
