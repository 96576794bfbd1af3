"""A worker stops before its partitions are somebody else's, and starts with those it then has."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from aiokafka import TopicPartition
from fakes import eventually

from stream.membership import Membership


def partitions(*numbers: int) -> list[TopicPartition]:
    return [TopicPartition("positions", number) for number in numbers]


class Served:
    """Work that says what it serves, and that it has ended."""

    def __init__(self) -> None:
        self.now: tuple[int, ...] = ()
        self.ended: list[tuple[int, ...]] = []

    async def work(self, assigned: tuple[TopicPartition, ...]) -> None:
        self.now = tuple(one.partition for one in assigned)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # an ending that takes its time
            self.ended.append(self.now)
            self.now = ()


async def serve_for_ever(membership: Membership, served: Served) -> None:
    while True:
        await membership.serve(served.work(await membership.assignment()))


async def test_it_stops_before_partitions_go_and_starts_with_the_new_ones() -> None:
    membership, served = Membership(), Served()
    task = asyncio.create_task(serve_for_ever(membership, served))
    await membership.on_partitions_assigned(partitions(2, 0, 1))
    await eventually(lambda: served.now == (0, 1, 2))
    await membership.on_partitions_revoked(partitions(0, 1, 2))
    assert (served.now, served.ended) == ((), [(0, 1, 2)])  # the group goes on only now
    await membership.on_partitions_assigned(partitions(1))
    await eventually(lambda: served.now == (1,))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert served.ended == [(0, 1, 2), (1,)]


async def test_partitions_that_are_gone_again_before_it_wakes_are_not_served() -> None:
    membership = Membership()
    waiting = asyncio.create_task(membership.assignment())
    await asyncio.sleep(0)
    await membership.on_partitions_assigned(partitions(0))
    await membership.on_partitions_revoked(partitions(0))
    await membership.on_partitions_assigned([])
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    await membership.on_partitions_assigned(partitions(3))
    assert await waiting == (TopicPartition("positions", 3),)


async def test_a_failure_of_the_work_is_not_hidden() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Membership().serve(fail())
