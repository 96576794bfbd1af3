"""Stream workers on Apache Kafka: what they compute, what comes twice or cannot be read, and a broker that restarts.

Each test has a bank, topics and a group of its own; the workers are real processes.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from books import quotes
from fakes import eventually
from fakes_kafka import ApacheKafka, Crew
from fakes_stream import positions_now

from stream.messages import POSITIONS_TOPIC, QUOTES_TOPIC, encode_quotes

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
TAKEOVER_S = 30.0
FIRST, SECOND = "stream-1", "stream-2"


async def test_one_worker_values_everything_and_live_equals_batch(crew: Crew) -> None:
    await crew.gather(FIRST)
    await crew.stage.feed.quote((3, 157.575), (4, 111.25), (9, 0.8812), (5, 99.125))
    await eventually(crew.all_right, "live equals batch")
    await eventually(lambda: crew.totals_are(FIRST), "its totals hold every portfolio")


async def test_ticks_go_on_after_the_broker_was_away(crew: Crew, own_kafka: ApacheKafka | None) -> None:
    if own_kafka is None:
        pytest.skip("the Kafka that is given is not ours to restart")
    await crew.gather(FIRST, SECOND)
    await asyncio.to_thread(own_kafka.stop)
    quoting = asyncio.create_task(crew.stage.feed.quote((3, 161.5), (9, 0.89)))
    await own_kafka.start()
    begun = time.monotonic()
    await quoting
    await eventually(crew.all_right, "what was sent meanwhile is valued", TAKEOVER_S)
    await crew.stage.feed.quote((3, 162.5), (12, 94.5))
    await eventually(crew.all_right, "and what is sent now", TAKEOVER_S - (time.monotonic() - begun))


async def test_what_comes_twice_or_late_changes_nothing(crew: Crew) -> None:
    await crew.gather(FIRST, SECOND)
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


async def test_poison_becomes_a_dead_letter_and_stops_nothing(crew: Crew) -> None:
    await crew.gather(FIRST, SECOND)
    poison = b"\x00" + encode_quotes(quotes((3, 1.0)))
    for topic in (QUOTES_TOPIC, POSITIONS_TOPIC):  # a compacted topic insists on a key
        place = await crew.stage.feed.send(topic, poison, partition=1, key=b"poison")
        await eventually(lambda here=(topic, 1, place.offset): is_set_aside(crew, here), "it is a dead letter")
    await crew.stage.feed.quote((3, 164.5))
    await eventually(crew.all_right, "the next quote is valued")


async def is_set_aside(crew: Crew, place: tuple[str, int, int]) -> bool:
    letter = await crew.stage.letter("unreadable")
    return letter is not None and (letter.topic, letter.partition, letter.offset) == place
