"""PostgreSQL is killed, frozen, full, or behind a black hole: values stay live, say so, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from fakes import eventually
from fakes_faults import Scene, full
from fakes_live import Follower

from db.postgres import acquire, open_pool
from stream.recorder import minute_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]
AT_ONCE_S = 6.0  # a tick's way to every portfolio, and to a client, while PostgreSQL is away
WELL_AGAIN_S = 30.0
FROZEN_S = 15.0
ENDS_WITHIN_S = 14.0  # containers are given 15


async def goes_on(scene: Scene, follower: Follower, seconds: float) -> None:
    """Watch ticks being valued and shown while PostgreSQL is away, for so long; health says that it is."""
    ends = time.monotonic() + seconds
    await tick(scene, follower)
    await eventually(lambda: scene.says("database", "failed"), "health says that PostgreSQL is away", AT_ONCE_S)
    await eventually(lambda: scene.says("stream", "failed", "not persisted"), "and that values are not kept", 15)
    await eventually(lambda: says_unsaved(follower), "and clients are told so", 15)
    while time.monotonic() < ends:
        await tick(scene, follower)


def says_unsaved(follower: Follower) -> bool:
    heartbeats = follower.events("heartbeat")  # none yet where updates came one after the other
    return bool(heartbeats) and heartbeats[-1]["persisted"] is False


async def tick(scene: Scene, follower: Follower) -> None:
    await scene.quote(AT_ONCE_S)
    await eventually(lambda: scene.is_shown(follower), "a client sees it", AT_ONCE_S)


async def test_values_go_on_while_postgresql_is_killed_and_say_that_they_are_not_kept(scene: Scene) -> None:
    async with scene.follower() as follower:
        scene.postgres.kill()
        await goes_on(scene, follower, 2.0)
        await scene.postgres.start()
        await eventually(scene.is_well, "all is well again", WELL_AGAIN_S)
        await tick(scene, follower)


async def test_values_go_on_while_postgresql_is_frozen(scene: Scene) -> None:
    async with scene.follower() as follower:
        with scene.postgres.frozen():
            await goes_on(scene, follower, FROZEN_S)
        await eventually(scene.is_well, "all is well again", WELL_AGAIN_S)
        await tick(scene, follower)


async def test_values_go_on_while_everything_sent_to_postgresql_vanishes(scene: Scene) -> None:
    async with scene.follower() as follower:
        with scene.postgres_link.black_hole():
            await goes_on(scene, follower, 5.0)
        await eventually(scene.is_well, "all is well again", WELL_AGAIN_S)
        await tick(scene, follower)


async def test_a_question_to_a_frozen_server_ends_in_time_and_the_pool_is_good_again_at_once(scene: Scene) -> None:
    async with open_pool(scene.postgres.server.url(), "tests", size=2) as pool:
        async with acquire(pool) as connection, acquire(pool) as another:
            assert [await one.fetchval("select 1") for one in (connection, another)] == [1, 1]
        with scene.postgres.frozen():
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                async with acquire(pool, 1.0) as connection:
                    await connection.fetchval("select 1")
            assert time.monotonic() - begun < 2.0
        begun = time.monotonic()
        async with acquire(pool, 2.0) as connection:
            assert await connection.fetchval("select 1") == 1
        assert time.monotonic() - begun < 1.0


async def test_a_worker_ends_in_time_when_it_is_asked_to_while_postgresql_is_frozen(scene: Scene) -> None:
    with scene.postgres.frozen():
        await eventually(lambda: scene.says("stream", "failed", "not persisted"), "the worker has noticed", 15)
        begun = time.monotonic()
        scene.worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(scene.worker.wait, 30) == 0
        assert time.monotonic() - begun < ENDS_WITHIN_S
    scene.worker = scene.begin()
    await eventually(scene.is_well, "its successor does all of its work", WELL_AGAIN_S)


async def test_a_minute_that_met_a_full_disk_and_then_a_killed_server_is_written_soon_after(scene: Scene) -> None:
    if scene.disk is None:
        pytest.skip("needs the right to mount a small disk")
    await eventually(lambda: datetime.now(UTC).second >= 52, "the minute is nearly over", 60)
    minute = minute_of(datetime.now(UTC))
    await scene.stage.bank.pool.execute("drop table if exists " + f"minute_valuations_{minute:%Y%m%d}")
    with full(scene.disk):
        await scene.quote()
        equity = await scene.equity()
        await eventually(lambda: datetime.now(UTC) > minute + timedelta(minutes=1), "the minute is over")
        await eventually(lambda: scene.says("stream", "failed", "PostgreSQL: 1"), "it waits", 10)
        scene.postgres.kill()
    await scene.postgres.start()
    await eventually(scene.is_well, "all is well again", WELL_AGAIN_S)
    cents = await scene.stage.bank.pool.fetchval(
        "select total_equity from minute_valuations where minute = $1 and portfolio_id = $2::uuid",
        minute,
        scene.portfolio,
    )
    assert cents == round(100 * equity)
