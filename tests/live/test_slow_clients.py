"""Fifty clients that never read, and one of each transport that only sends PONG, change nothing for fifty good ones."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import websockets
from fakes import eventually
from fakes_api import Cast, create_valuation, publish
from fakes_crowd import connected, stalled_ones
from fakes_live import TRANSPORTS, next_seq, sign_in
from fakes_processes import ApiProcess, open_api_processes

from db.live import LiveStore, create_redis

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
GOOD, STALLED = 50, 50
HZ = (4.0, 10.0, 20.0)
TICKS, TICK_S = 20, 0.05
PAIRS, MOST_PAIRS = 3, 9
STALLED_S = 1.0
ALLOWED = 1.5  # times the p99 of a round without them
JITTER_S = 0.01  # what any machine adds to either
GROWTH_MIB = 24.0


@dataclass
class Good:
    """A client that reads all, and notes how old each change was when it came."""

    transport: str
    connection: websockets.ClientConnection
    ages: list[float] = field(default_factory=list)

    async def read(self) -> None:
        """Read until the connection ends; engine.io's PING is answered."""
        with suppress(websockets.ConnectionClosed):
            async for text in self.connection:
                if text == "2":
                    await self.connection.send("3")
                else:
                    self._note(str(text), time.time_ns())

    def _note(self, text: str, now: int) -> None:
        begin = text.find('"event_ns":')
        if begin > 0 and "delta" in text[:20]:
            self.ages.append((now - int(text[begin + 11 : text.index(",", begin)])) / 1e9)


@asynccontextmanager
async def good_ones(api: ApiProcess, auth: dict[str, str], stream: str) -> AsyncIterator[list[Good]]:
    """Lend clients of both transports and all rates that read."""
    async with AsyncExitStack() as stack:
        found = []
        for _, transport, hz in zip(range(GOOD), itertools.cycle(TRANSPORTS), itertools.cycle(HZ), strict=False):
            found.append(
                Good(transport, await stack.enter_async_context(connected(transport, api.url, auth, [stream], hz)))
            )
        tasks = [asyncio.create_task(one.read()) for one in found]
        stack.callback(lambda: [task.cancel() for task in tasks])
        yield found


@dataclass
class Scene:
    """A real web process, what is followed there, and who reads."""

    api: ApiProcess
    store: LiveStore
    auth: dict[str, str]
    cast: Cast
    good: list[Good]

    async def p99(self) -> float:
        """Tick for a while and return the age that one change in a hundred exceeds as it is read."""
        for one in self.good:
            one.ages.clear()
        for _ in range(TICKS):
            await self.tick(str(self.cast.growth), 40)
            await asyncio.sleep(TICK_S)
        await eventually(lambda: all(one.ages for one in self.good), "everybody has read something")
        ages = [age for one in self.good for age in one.ages]
        return statistics.quantiles(ages, n=100)[98]

    async def tick(self, portfolio: str, rows: int) -> None:
        """Publish a value of now, with every row changed."""
        seq = next_seq()
        values = {f"S{number}": (1000 * number + seq, seq % 100) for number in range(1, rows + 1)}
        valuation = create_valuation(portfolio, values, seq=seq)
        await publish(self.store, msgspec.structs.replace(valuation, event_ns=time.time_ns()))

    async def cut(self) -> float:
        """Return how many clients were cut for being slow."""
        return await self.api.metric("live_clients_cut_total", code="3008")


@pytest.fixture
async def scene(module_postgres_url: str, module_redis_url: str, cast: Cast, tmp_path: Path) -> AsyncIterator[Scene]:
    """Run a web process with its good clients."""
    limits = {"live_connections": 500, "live_stalled_s": STALLED_S, "live_heartbeat_s": 0.5}
    redis = create_redis(module_redis_url, "tests")
    async with open_api_processes(tmp_path, 1, module_postgres_url, module_redis_url, **limits) as [api]:
        auth = await sign_in(api.url, "ana")
        async with good_ones(api, auth, f"portfolio:{cast.growth}") as good:
            yield Scene(api, LiveStore(redis), auth, cast, good)
    await redis.aclose()


async def test_stalled_clients_are_cut_and_change_nothing_for_the_others(scene: Scene) -> None:
    streams = [f"portfolio:{scene.cast.income}", f"portfolio:{scene.cast.growth}"]
    await scene.tick(str(scene.cast.income), 2000)  # more than the network takes from who does not read
    await scene.p99()
    without, beside, resident = [], [], []
    for _ in range(MOST_PAIRS):
        without.append(await scene.p99())
        cut = await scene.cut()
        async with stalled_ones(scene.api.url, scene.auth, streams, STALLED):
            beside.append(await scene.p99())

            async def all_cut(before: float = cut) -> bool:
                return await scene.cut() == before + STALLED + len(TRANSPORTS)

            await eventually(all_cut, "every stalled client is cut, and none besides", 30)
        resident.append(scene.api.resident_mib)
        if len(beside) >= PAIRS and is_as_good(beside, without):
            break
    assert is_as_good(beside, without), (without, beside)
    assert resident[-1] - resident[0] < GROWTH_MIB, resident
    assert all(one.connection.close_code is None for one in scene.good)
    print(f"p99 without {[f'{1000 * one:.1f}' for one in without]} beside {[f'{1000 * one:.1f}' for one in beside]} ms")
    print(f"resident {[f'{one:.0f}' for one in resident]} MiB")


def is_as_good(beside: list[float], without: list[float]) -> bool:
    """Compare medians of rounds that took turns: what else the machine does meets both."""
    return statistics.median(beside) <= ALLOWED * statistics.median(without) + JITTER_S
