"""Valkey is killed, emptied, frozen, or behind a black hole: clients hear nothing wrong, and soon the newest again."""

from __future__ import annotations

import asyncio
import time

import pytest
from fakes import eventually
from fakes_faults import Scene
from fakes_live import Follower

from db.fence import EPOCHS_KEY

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]
NOTICED_S = 6.0
WELL_AGAIN_S = 30.0


async def is_right_again(scene: Scene, follower: Follower) -> None:
    """Wait until everything is written, served and shown, and a tick is on its way as fast as ever."""
    await eventually(scene.stage.all_right, "everything is written again", WELL_AGAIN_S)
    await eventually(lambda: scene.is_shown(follower), "a client that stayed sees it", WELL_AGAIN_S)
    await eventually(scene.is_well, "all is well again", WELL_AGAIN_S)
    begun = time.monotonic()
    await scene.quote()
    await eventually(lambda: scene.is_shown(follower), "a client sees the next tick")
    assert time.monotonic() - begun < 3.0


async def miss_ticks(scene: Scene) -> None:
    """Let prices come that cannot be written, and wait until health says so."""
    for _ in range(5):
        scene.price += 0.5
        await scene.stage.feed.quote((3, scene.price))
    await eventually(lambda: scene.says("redis", "failed"), "health says that Redis is away", NOTICED_S)


async def test_clients_see_what_came_while_valkey_was_killed(scene: Scene) -> None:
    async with scene.follower() as follower:
        scene.valkey.kill()
        await miss_ticks(scene)
        await scene.valkey.start()
        await is_right_again(scene, follower)


async def test_clients_notice_nothing_of_a_flush_and_older_workers_stay_refused(scene: Scene) -> None:
    async with scene.follower() as follower:
        known = await scene.stage.redis.hgetall(EPOCHS_KEY)
        await scene.stage.redis.flushall()
        await is_right_again(scene, follower)
        assert await scene.stage.redis.hgetall(EPOCHS_KEY) == known


async def test_clients_see_what_came_while_valkey_was_frozen(scene: Scene) -> None:
    async with scene.follower() as follower:
        with scene.valkey.frozen():
            await miss_ticks(scene)
        await is_right_again(scene, follower)


async def test_clients_see_what_came_while_everything_sent_to_valkey_vanished(scene: Scene) -> None:
    async with scene.follower() as follower:
        with scene.valkey_link.black_hole():
            await miss_ticks(scene)
            await asyncio.sleep(4.0)  # the fault lasts longer than any time-out of a command
        await is_right_again(scene, follower)


async def test_all_is_well_after_everything_sent_to_both_servers_vanished(scene: Scene) -> None:
    async with scene.follower() as follower:
        with scene.valkey_link.black_hole(), scene.postgres_link.black_hole():
            await miss_ticks(scene)
            await eventually(lambda: scene.says("database", "failed"), "health says it of PostgreSQL too", NOTICED_S)
        await is_right_again(scene, follower)
