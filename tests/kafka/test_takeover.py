"""Workers that come, go, die and sleep while ticks and bookings go on: the others are right again within half a minute.

Each test has a bank, topics and a group of its own; the workers are real processes.
"""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from uuid import UUID

import pytest
from fakes import eventually
from fakes_kafka import PARTITIONS, Crew
from fakes_load import Load, stale_ones, under_load, watching

from stream.recorder import minute_of
from stream.restore import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
RIGHT_WITHIN_S = 30.0
FIRST, SECOND, THIRD = "stream-1", "stream-2", "stream-3"


async def right_again(crew: Crew, load: Load, *names: str, since: float) -> None:
    """Wait until these workers share the portfolios and, the load paused, value each as the batch does."""
    await eventually(lambda: crew.is_shared(*names), f"{' and '.join(names)} own everything", RIGHT_WITHIN_S)
    async with load.paused():
        await eventually(crew.all_right, "live equals batch", RIGHT_WITHIN_S)
    assert time.monotonic() - since < RIGHT_WITHIN_S


async def test_each_of_three_workers_may_be_killed(crew: Crew) -> None:
    """As under a supervisor: one that was killed is started again, under its name, while it is still missed."""
    everybody = (FIRST, SECOND, THIRD)
    await crew.gather(*everybody)
    async with watching(crew.stage) as published, under_load(crew.stage) as load:
        for name in everybody:
            before, begun = await crew.epochs(), time.monotonic()
            crew.signal(name, signal.SIGKILL)
            crew.join(name)
            await eventually(lambda held=before: crew.all_taken_since(held), "the group has settled", RIGHT_WITHIN_S)
            await right_again(crew, load, *everybody, since=begun)
    assert not stale_ones(published)
    await eventually(lambda: crew.totals_are(*everybody), "their totals together hold every portfolio once")


async def test_workers_come_and_go_under_load(crew: Crew) -> None:
    await crew.gather(FIRST)
    async with watching(crew.stage) as published, under_load(crew.stage) as load:
        begun = time.monotonic()
        crew.join(SECOND)
        await right_again(crew, load, FIRST, SECOND, since=begun)
        begun = time.monotonic()
        crew.signal(FIRST, signal.SIGTERM)
        await right_again(crew, load, SECOND, since=begun)
        assert time.monotonic() - begun < 10.0  # who leaves says so
    assert not stale_ones(published)
    assert load.ticks > 100


async def test_a_worker_that_slept_through_its_session_is_refused_everywhere(crew: Crew) -> None:
    await crew.gather(FIRST, SECOND, THIRD)
    slept = [portfolio for portfolio, owner in (await crew.owners()).items() if owner == SECOND]
    async with watching(crew.stage) as published:
        await late_in_the_minute()
        minute = minute_of(datetime.now(UTC))
        async with under_load(crew.stage) as load:
            begun = time.monotonic()
            crew.signal(SECOND, signal.SIGSTOP)
            await right_again(crew, load, FIRST, THIRD, since=begun)
        epochs = await crew.epochs()
        assert minute_of(datetime.now(UTC)) > minute  # so that it wakes to a minute that it has not written
        published.clear()
        crew.signal(SECOND, signal.SIGCONT)
        await eventually(lambda: crew.is_shared(FIRST, SECOND, THIRD), "it is one of the group again", RIGHT_WITHIN_S)
        await eventually(crew.all_right, "live equals batch")
    late = [one for one in published if one.epoch < epochs[partition_of(one.portfolio_id, PARTITIONS)]]
    assert not late, f"{len(late)} of {len(published)} valuations were published under an epoch that was over"
    assert not stale_ones(published)
    assert await minutes_of(crew, slept, minute) == 0, "it wrote a minute to PostgreSQL that was no longer its own"
    await eventually(lambda: crew.totals_are(FIRST, SECOND, THIRD), "the totals hold every portfolio once")


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
