"""Quotes that come behind those of a newer leader do not count, and everything else does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from books import create_prices, quotes
from fakes import eventually
from fakes_stream import open_feed
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from stream.consumer import QuoteReader
from stream.kafka import open_consumer, open_producer
from stream.messages import decode_quotes, encode_quotes, partition_quotes, select_quotes
from stream.outbox import Outbox
from stream.processor import Processor
from stream.quote_epochs import QuoteEpochs

AAPL, XOM = 3, 4


def test_an_older_epoch_does_not_count_behind_a_newer_one_of_its_partition() -> None:
    epochs = QuoteEpochs()
    told = [epochs.admits(*one) for one in ((0, 7), (0, 9), (0, 7), (1, 7), (0, 9), (1, 9), (1, 7))]
    assert told == [True, True, False, True, True, True, False]


def test_what_no_leader_sent_is_never_fenced() -> None:
    epochs = QuoteEpochs()
    assert epochs.admits(0, 9)
    assert epochs.admits(0, 0)
    assert not epochs.admits(0, 8)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5))), st.data())
def test_a_reader_that_begins_later_drops_nothing_that_counts(
    records: list[tuple[int, int]], data: st.DataObject
) -> None:
    """So a worker that starts in the middle holds no older price than one that has read everything."""
    begin = data.draw(st.integers(0, len(records)))
    early, late = QuoteEpochs(), QuoteEpochs()
    by_early = [early.admits(*one) for one in records]
    by_late = [late.admits(*one) for one in records[begin:]]
    assert all(also for counts, also in zip(by_early[begin:], by_late, strict=True) if counts)


def test_the_epoch_travels_with_the_quotes_and_their_parts() -> None:
    batch = replace(quotes((1, 10.0), (2, 11.0), (3, 12.0)), epoch=1_764_000_000_123)
    parts = [part for _, part in partition_quotes(batch, 2)]
    assert {decode_quotes(encode_quotes(part)).epoch for part in parts} == {1_764_000_000_123}
    assert select_quotes(batch, np.array([0])).epoch == batch.epoch


def test_records_from_before_there_were_epochs_are_read() -> None:
    columns = msgspec.msgpack.decode(encode_quotes(quotes((1, 10.0))))
    older = msgspec.msgpack.encode(columns[:-1])
    assert decode_quotes(older).epoch == 0
    assert decode_quotes(older).last.tolist() == [10.0]


@pytest.mark.integration
async def test_a_reader_keeps_the_prices_of_the_newer_leader_and_counts_what_it_drops(kafka_servers: str) -> None:
    def fenced() -> float:
        return REGISTRY.get_sample_value("alhambra_stream_fenced_quotes_total") or 0.0

    before = fenced()
    processor = Processor(create_prices())
    async with (
        open_feed(kafka_servers) as feed,
        open_consumer(kafka_servers, "tests") as consumer,
        open_producer(kafka_servers, "tests") as producer,
    ):
        for epoch, price, later_ns in ((1, 100.0, 0), (2, 101.0, 1), (1, 999.0, 2), (2, 102.0, 3), (0, 103.0, 4)):
            batch = quotes((AAPL, price), event_ns=quotes().received_ns + later_ns)
            await feed.send_batch(replace(batch, epoch=epoch))
        await feed.send_batch(replace(quotes((XOM, 55.0)), epoch=1))  # of another partition: nobody newer spoke there
        reader = QuoteReader(consumer, processor, Outbox(producer), asyncio.Event())
        await reader.catch_up()
        marks = processor.prices.mark[processor.prices.index_of[[AAPL, XOM]]]
        assert marks.tolist() == [103.0, 55.0]
        assert fenced() == before + 1
        following = asyncio.create_task(reader.run())
        await feed.send_batch(replace(quotes((AAPL, 888.0), event_ns=quotes().received_ns + 5), epoch=1))
        await feed.send_batch(replace(quotes((AAPL, 104.0), event_ns=quotes().received_ns + 6), epoch=3))
        aapl = processor.prices.index_of[AAPL]
        await eventually(lambda: processor.prices.mark[aapl] == 104.0, "the newest leader's price counts")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert fenced() == before + 2
