"""Lag comes from the broker's end, in records and in seconds, and grows while nobody reads."""

from __future__ import annotations

import math

from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import REGISTRY

from stream.lag import Reading, export_lag

FIRST, SECOND = TopicPartition("market.quotes.v1", 0), TopicPartition("market.quotes.v1", 1)


def record(partition: int, offset: int, timestamp_ms: int) -> ConsumerRecord:
    return ConsumerRecord("market.quotes.v1", partition, offset, timestamp_ms, 0, None, b"", None, 0, 0, ())


def reading() -> Reading:
    """Return a reader that began at 1,000 s and has read one record, of 2,000 s, up to offset 8 of partition 0."""
    found = Reading(began_ms=1_000_000)
    found.begin(0, 5)
    found.begin(1, 5)
    found.take(record(0, 7, 2_000_000))
    return found


def test_where_all_is_read_there_is_no_lag() -> None:
    assert reading().behind({FIRST: 8, SECOND: 5}) == {}
    assert reading().age_s({FIRST: 8, SECOND: 5}, 9_000_000) == 0.0


def test_what_is_not_read_is_as_old_as_the_last_record_that_was() -> None:
    assert reading().behind({FIRST: 10, SECOND: 5}) == {0: 2}
    assert reading().age_s({FIRST: 10, SECOND: 5}, 2_030_000) == 30.0


def test_where_nothing_was_read_it_is_as_old_as_the_reader() -> None:
    assert reading().age_s({FIRST: 8, SECOND: 6}, 1_090_000) == 90.0


def test_lag_grows_while_consumption_stands_still() -> None:
    stopped, ends = reading(), {FIRST: 10, SECOND: 5}
    ages = [stopped.age_s(ends, now_ms) for now_ms in (2_001_000, 2_002_000, 2_003_000)]
    assert ages == [1.0, 2.0, 3.0]


def test_without_the_broker_nobody_knows_the_lag() -> None:
    assert export_lag("test", reading(), {FIRST: 10, SECOND: 5}) == 2
    assert REGISTRY.get_sample_value("alhambra_stream_lag_records", {"topic": "test"}) == 2
    assert export_lag("test", reading(), None) == -1
    assert math.isnan(REGISTRY.get_sample_value("alhambra_stream_lag_seconds", {"topic": "test"}) or 0.0)
