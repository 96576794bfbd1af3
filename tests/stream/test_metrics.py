"""What a worker exports says what it is meant to say."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from books import NOW_NS, create_prices, positions, quotes
from fakes import eventually
from fakes_stream import FakeProducer, FakeStore
from prometheus_client import REGISTRY

from stream.outbox import Outbox
from stream.processor import Processor
from stream.publisher import Publisher
from stream.roll import Days
from stream.worker import Connections, Worker


class UnfencedStore(FakeStore):
    """A Redis whose writes nobody contests."""

    def fenced(self, _epochs: object) -> FakeStore:
        return self


def exported(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_the_stale_share_is_that_of_the_whole_book_by_value() -> None:
    processor = Processor(create_prices())
    processor.apply_positions(positions("small", "USD", 1, (3, "10", "0")), 0, 1)  # 1,500 dollars, live
    processor.apply_positions(positions("large", "USD", 1, (4, "40", "0")), 0, 1)  # 4,420 dollars at the close
    processor.apply_quotes(quotes((3, 150.0)), NOW_NS)
    processor.revalue(NOW_NS)
    await Publisher(processor, FakeStore(), Outbox(FakeProducer()), "w", 1).publish(NOW_NS)
    assert exported("alhambra_stream_stale_share") == pytest.approx(4420 / 5920)


async def test_a_cycle_counts_the_share_it_revalued_and_the_age_of_its_ticks_once() -> None:
    names = ("alhambra_stream_dirty_share_count", "alhambra_stream_dirty_share_sum")
    valued = "alhambra_tick_age_seconds_count"
    before = [exported(name) for name in names]
    aged = REGISTRY.get_sample_value(valued, {"stage": "valued"}) or 0.0
    processor = Processor(create_prices())
    for instrument in (3, 4, 4, 4):
        processor.apply_positions(positions(str(uuid4()), "USD", 1, (instrument, "10", "0")), 0, 1)
    processor.revalue(NOW_NS)
    processor.apply_quotes(quotes((3, 151.0)), NOW_NS)
    connections = Connections(None, UnfencedStore(), None, None, Outbox(FakeProducer()))
    worker = Worker("w", connections, processor, {0: 1}, 1, Days(processor))
    cycling = asyncio.create_task(worker._cycle())
    await eventually(lambda: exported(names[0]) > before[0])
    cycling.cancel()
    await asyncio.wait([cycling])
    assert exported(names[1]) - before[1] == pytest.approx(0.25)
    assert REGISTRY.get_sample_value(valued, {"stage": "valued"}) == aged + 1
