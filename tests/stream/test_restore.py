"""A worker restores what its partitions hold; what cannot be used is set aside and keeps nobody from starting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from aiokafka import TopicPartition
from fakes import eventually
from fakes_stream import PARTITIONS, FakeProducer, InterruptedPool, SmallBank, open_small_bank

from db.ledger import PositionSet, store
from db.live import LiveStore
from stream.messages import POSITIONS_TOPIC, decode_dead_letter
from stream.outbox import Outbox
from stream.restore import partition_of
from stream.worker import Connections, Worker, restore_worker

pytestmark = pytest.mark.integration
ALL = range(PARTITIONS)


class KnownTopic:
    """A consumer that knows how many partitions the topic has."""

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return set(ALL)


@pytest.fixture
async def bank(postgres_url: str) -> AsyncIterator[SmallBank]:
    async with open_small_bank(postgres_url) as lent:
        yield lent


async def restore(
    bank: SmallBank, partitions: Sequence[int] = ALL, outbox: Outbox | None = None, pool: InterruptedPool | None = None
) -> Worker:
    connections = Connections(pool or bank.pool, LiveStore(None), None, KnownTopic(), outbox or Outbox(FakeProducer()))
    return await restore_worker("test", connections, tuple(TopicPartition(POSITIONS_TOPIC, one) for one in partitions))


async def test_a_worker_restores_the_portfolios_of_its_partitions_at_their_newest_version(bank: SmallBank) -> None:
    portfolios = [await bank.add_booked("USD", (3, "1")) for _ in range(12)]
    await bank.book(portfolios[0], "USD", 2, (3, "5"))
    mine = [one for one in portfolios if partition_of(one, PARTITIONS) in (0, 2)]
    book = (await restore(bank, (0, 2)))._processor.book
    assert sorted(book.by_id) == sorted(mine)
    book = (await restore(bank))._processor.book
    assert sorted(book.by_id) == sorted(portfolios)
    assert book.by_id[portfolios[0]].version == 2


async def test_each_assignment_has_newer_epochs(bank: SmallBank) -> None:
    workers = [await restore(bank), await restore(bank, (1,)), await restore(bank)]
    assert [dict(one._epochs) for one in workers] == [dict.fromkeys(ALL, 1), {1: 2}, {0: 2, 1: 3, 2: 2, 3: 2}]
    assert [one._publisher._epoch for one in workers] == [1, 2, 3]  # of the totals: whatever the partitions were


async def test_what_cannot_be_used_is_set_aside_and_the_rest_is_restored(bank: SmallBank) -> None:
    good, bad, worse = [await bank.add_portfolio() for _ in range(3)]
    await bank.book(good, "USD", 1, (3, "1"))
    await bank.book(bad, "USD", 1, (77, "1"))
    now = datetime.now(UTC)
    async with bank.pool.acquire() as connection:
        await store(connection, None, [PositionSet(UUID(worse), 1, now, now, b'{"no": "positions"}')], [])
    producer = FakeProducer()
    outbox = Outbox(producer)
    worker = await restore(bank, outbox=outbox)
    assert list(worker._processor.book.by_id) == [good]
    sending = asyncio.create_task(outbox.run())
    await eventually(lambda: len(producer.sent) == 2, "both letters are out")
    sending.cancel()
    assert sorted(decode_dead_letter(value).reason for _, _, value in producer.sent) == [
        "unknown_instrument",
        "unreadable",
    ]


async def test_a_question_to_postgresql_waits_until_it_answers(bank: SmallBank) -> None:
    """A new portfolio or instrument must not end a worker that can value everything else without PostgreSQL."""
    pool = InterruptedPool(bank.pool)
    portfolio = await bank.add_portfolio()
    worker = await restore(bank, pool=pool)
    pool.away = True
    asked = [asyncio.create_task(worker._exists(portfolio)), asyncio.create_task(worker._learn())]
    await eventually(lambda: pool.refused >= 2, "both were refused")
    pool.away = False
    assert await asyncio.gather(*asked) == [True, None]
