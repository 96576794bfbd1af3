"""Many stream workers on Apache Kafka: they share the portfolios, take over from each other, and no tick is lost.

Each test has a bank, topics and a group of its own; the workers are real processes.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest
from books import quotes
from fakes import eventually
from fakes_kafka import PARTITIONS, ApacheKafka, Crew
from fakes_stream import positions_now
from redis.asyncio.client import PubSub

from db.live import valuation_key
from stream.messages import POSITIONS_TOPIC, QUOTES_TOPIC, Valuation, decode_valuation, encode_quotes
from stream.recorder import minute_of
from stream.restore import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
TAKEOVER_S = 30.0
FIRST, SECOND = "stream-1", "stream-2"


async def join(crew: Crew, *names: str) -> None:
    """Start workers, and wait until those that there are now share the portfolios and value them all."""
    for name in names:
        crew.join(name)
    await eventually(lambda: share(crew, *crew.workers), f"{' and '.join(crew.workers)} own everything", TAKEOVER_S)


async def share(crew: Crew, *names: str) -> bool:
    """Say whether these workers, each with a part, own all portfolios, and each is valued rightly and newly."""
    return set((await crew.owners()).values()) == set(names) and await crew.all_right()


async def test_one_worker_values_everything_and_live_equals_batch(crew: Crew) -> None:
    await join(crew, FIRST)
    await crew.stage.feed.quote((3, 157.575), (4, 111.25), (9, 0.8812), (5, 99.125))
    await eventually(crew.all_right, "live equals batch")
    await eventually(lambda: crew.totals_are(FIRST), "its totals hold every portfolio")


async def test_a_second_worker_takes_its_share_and_no_portfolio_is_lost(crew: Crew) -> None:
    await join(crew, FIRST)
    before = await crew.epochs()
    await join(crew, SECOND)
    assert all(epoch > before[number] for number, epoch in (await crew.epochs()).items())
    await crew.stage.feed.quote((3, 158.5), (12, 92.25))
    await eventually(crew.all_right, "live equals batch with two workers")
    await eventually(lambda: crew.totals_are(FIRST, SECOND), "their totals together hold every portfolio once")


async def test_a_worker_that_ends_hands_over_and_one_that_is_killed_is_missed(crew: Crew) -> None:
    await join(crew, FIRST, SECOND)
    before = await crew.epochs()
    begun = time.monotonic()
    crew.signal(SECOND, signal.SIGKILL)
    await crew.stage.feed.quote((3, 159.5), (7, 1.13))
    await eventually(lambda: share(crew, FIRST), "the first one has taken over", TAKEOVER_S)
    assert time.monotonic() - begun < TAKEOVER_S
    assert all(epoch > before[number] for number, epoch in (await crew.epochs()).items())
    await eventually(lambda: crew.totals_are(FIRST), "its totals hold every portfolio")

    del crew.workers[SECOND]
    await join(crew, SECOND)
    begun = time.monotonic()
    crew.signal(FIRST, signal.SIGTERM)
    await eventually(lambda: share(crew, SECOND), "the second one has taken over", TAKEOVER_S)
    assert time.monotonic() - begun < 10.0  # who leaves says so


async def test_a_worker_that_slept_through_its_session_is_refused_everywhere(crew: Crew) -> None:
    await join(crew, FIRST, SECOND)
    slept = [portfolio for portfolio, owner in (await crew.owners()).items() if owner == SECOND]
    async with watching(crew) as published:
        await late_in_the_minute()
        minute = minute_of(datetime.now(UTC))
        crew.signal(SECOND, signal.SIGSTOP)
        await eventually(lambda: share(crew, FIRST), "the first one has taken over", TAKEOVER_S)
        epochs = await crew.epochs()
        assert minute_of(datetime.now(UTC)) > minute  # so that it wakes to a minute that it has not written
        await crew.stage.feed.quote((3, 160.5), (12, 93.5))
        await eventually(crew.all_right, "live equals batch")

        published.clear()
        crew.signal(SECOND, signal.SIGCONT)
        await eventually(lambda: share(crew, FIRST, SECOND), "it is one of the group again", TAKEOVER_S)
    late = [one for one in published if one.epoch < epochs[partition_of(one.portfolio_id, PARTITIONS)]]
    assert not late, f"{len(late)} of {len(published)} valuations were published under an epoch that was over"
    assert await minutes_of(crew, slept, minute) == 0, "it wrote a minute to PostgreSQL that was no longer its own"
    await eventually(lambda: crew.totals_are(FIRST, SECOND), "the totals hold every portfolio once")


@asynccontextmanager
async def watching(crew: Crew) -> AsyncIterator[list[Valuation]]:
    """Watch every portfolio as an API node does; gives what is published, once the workers know."""
    stage, published = crew.stage, list[Valuation]()
    async with stage.live.open_subscription() as channel:
        await channel.subscribe(*(valuation_key(one) for one in stage.bank.records))
        listener = asyncio.create_task(listen(channel, published))
        await stage.live.watch(stage.bank.records, 300)

        async def all_are_published() -> bool:
            await stage.feed.quote((7, 1.1 + len(published) / 10_000), (3, 150.0 + len(published) / 100))
            return {one.portfolio_id for one in published} == set(stage.bank.records)

        await eventually(all_are_published, "the workers have seen what is watched")
        try:
            yield published
        finally:
            listener.cancel()
            await asyncio.wait([listener])


async def listen(channel: PubSub, published: list[Valuation]) -> None:
    """Keep every valuation that comes over a channel."""
    async for message in channel.listen():
        if message["channel"].startswith(b"valuation:"):
            published.append(decode_valuation(message["data"]))


async def late_in_the_minute() -> None:
    """Wait until the minute ends in some four seconds: sooner than a session does, later than a test may dawdle."""
    await eventually(lambda: 55 <= datetime.now(UTC).second <= 56, "the minute is nearly over", 62)


async def minutes_of(crew: Crew, portfolios: list[str], minute: datetime) -> int:
    """Return how many of these portfolios have a value of this minute."""
    found: int = await crew.stage.bank.pool.fetchval(
        "select count(*) from minute_valuations where minute = $1 and portfolio_id = any($2::uuid[])",
        minute,
        [UUID(one) for one in portfolios],
    )
    return found


async def test_ticks_go_on_after_the_broker_was_away(crew: Crew, own_kafka: ApacheKafka | None) -> None:
    if own_kafka is None:
        pytest.skip("the Kafka that is given is not ours to restart")
    await join(crew, FIRST, SECOND)
    await asyncio.to_thread(own_kafka.stop)
    quoting = asyncio.create_task(crew.stage.feed.quote((3, 161.5), (9, 0.89)))
    await own_kafka.start()
    begun = time.monotonic()
    await quoting
    await eventually(crew.all_right, "what was sent meanwhile is valued", TAKEOVER_S)
    await crew.stage.feed.quote((3, 162.5), (12, 94.5))
    await eventually(crew.all_right, "and what is sent now", TAKEOVER_S - (time.monotonic() - begun))


async def test_what_comes_twice_or_late_changes_nothing(crew: Crew) -> None:
    await join(crew, FIRST, SECOND)
    feed, portfolio = crew.stage.feed, next(iter(crew.stage.bank.records))
    newest, older = time.time_ns(), time.time_ns() - 5_000_000_000
    batch = quotes((3, 163.5), (4, 112.5), event_ns=newest)
    feed.prices.apply(batch, newest)
    for one in (batch, quotes((3, 99.0), (4, 99.0), event_ns=older), batch, batch):
        await feed.send_batch(one)
    record = await crew.stage.bank.book(portfolio, "USD", 7, (3, "25"), (12, "4"))
    for sent in (record, positions_now(portfolio, "USD", 6, (3, "99")), record):
        await feed.send_positions(sent)
    await eventually(crew.all_right, "the newest price and the newest version are valued")
    epochs = await crew.epochs()
    await feed.quote((7, 1.14))  # read after all of the above
    await eventually(crew.all_right, "and still are")
    assert await crew.epochs() == epochs


@pytest.mark.parametrize("topic", [QUOTES_TOPIC, POSITIONS_TOPIC])
async def test_poison_becomes_a_dead_letter_and_stops_nothing(crew: Crew, topic: str) -> None:
    await join(crew, FIRST, SECOND)
    poison = b"\x00" + encode_quotes(quotes((3, 1.0)))
    place = await crew.stage.feed.send(topic, poison, partition=1, key=b"poison")  # a compacted topic insists on a key

    async def is_set_aside() -> bool:
        letter = await crew.stage.letter("unreadable")
        return letter is not None and (letter.topic, letter.partition, letter.offset) == (topic, 1, place.offset)

    await eventually(is_set_aside, "the poison is a dead letter")
    await crew.stage.feed.quote((3, 164.5))
    await eventually(crew.all_right, "the next quote is valued")
