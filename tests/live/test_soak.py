"""Ten minutes of everything that can happen, with two hundred clients: `make soak`.

The whole pipeline runs: prices and bookings through the broker, a stream worker, two web processes, and clients of
both transports. One fault after the other is made; after each, with the load held, every client must hold what the bank
holds. Memory is drawn, and must not grow.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fakes import eventually, open_server
from fakes_api import CHEAP, PASSWORD, SECRET
from fakes_crowd import stalled_ones
from fakes_faults import OWNER, OwnServer, show
from fakes_live import TRANSPORTS, Wanderer, adds_up, holds, wandering
from fakes_load import Load, under_load
from fakes_processes import ApiProcess
from fakes_soak import OURSELVES, Memory, draw
from fakes_stream import Stage, open_stage
from redis.exceptions import RedisError

from alhambra.embedded.valkey import ValkeyServer
from alhambra.launch import Launch, python_module
from alhambra.ports import free_port

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
CLIENTS = int(os.environ.get("SOAK_CLIENTS", "200"))
FOLDER = Path(os.environ.get("SOAK_DIR", Path(__file__).parents[2] / ".soak"))
PORTFOLIOS = 12
TURN_S = 10.0
RIGHT_S = 90.0
STALLED = 20
WARM_UP_S = min(90.0, SECONDS / 4)
SLOPE_MIB_A_MINUTE, GROWTH_MIB = 1.0, 12.0  # memory grows only where it does both: faster than this, and by so much

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not SECONDS, reason="takes ten minutes: make soak"),
    pytest.mark.timeout(3 * SECONDS + 300),
]


@dataclass
class Platform:
    """Everything that runs, and the faults that can be made."""

    stage: Stage
    load: Load
    valkey: OwnServer
    apis: list[ApiProcess]
    begin_worker: Callable[[], subprocess.Popen[bytes]]
    auth: dict[str, str]
    clients: list[Wanderer] = field(default_factory=list)
    worker: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.worker = self.begin_worker()

    async def kill_valkey(self) -> None:
        self.valkey.kill()
        await asyncio.sleep(2.0)
        await self.valkey.start()

    async def replace_a_web_process(self) -> None:
        await self.apis[1].stop()
        await self.apis[1].start()

    async def cut_half_of_the_clients(self) -> None:
        """Have them go to the other web process."""
        for one in self.clients[::2]:
            if one.client is not None:
                await one.client.close()

    async def stall_clients(self) -> None:
        streams = [f"portfolio:{one}" for one in self.stage.bank.records]
        async with stalled_ones(self.apis[0].url, self.auth, streams, STALLED):
            await asyncio.sleep(5.0)

    async def kill_the_stream_worker(self) -> None:
        self.worker.kill()
        await asyncio.sleep(1.0)
        self.worker = self.begin_worker()

    async def kill_a_web_process(self) -> None:
        self.apis[1].kill()
        await asyncio.sleep(1.0)
        await self.apis[1].start()

    def faults(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the faults in turn; the other web process lives through all of them."""
        return [
            self.kill_valkey,
            self.replace_a_web_process,
            self.cut_half_of_the_clients,
            self.kill_a_web_process,
            self.stall_clients,
            self.kill_the_stream_worker,
            self.cut_half_of_the_clients,
        ]

    async def all_hold_what_the_bank_holds(self) -> None:
        """Hold the load, and compare every client with Redis, and Redis with a recomputation."""
        async with self.load.paused():
            await eventually(self._is_right, "every portfolio is valued by the newest prices", RIGHT_S)
            for one in self.clients:
                await eventually(lambda one=one: self._is_equal(one), f"{one.transport} holds the newest", RIGHT_S)

    async def _is_right(self) -> bool:
        try:
            return await self.stage.all_right()
        except (RedisError, OSError):
            return False

    async def _is_equal(self, client: Wanderer) -> bool:
        if not all(one in client.positions for one in client.streams):
            return False
        for stream in client.streams:
            kind, _, key = stream.partition(":")
            if kind == "portfolio":
                newest = await self.stage.valuation(key)
                if newest is None or not holds(client, newest):
                    return False
            elif kind in ("client", "demo"):
                adds_up(client, stream)
        return True


@asynccontextmanager
async def open_platform(postgres_url: str, servers: str, folder: Path) -> AsyncIterator[Platform]:
    """Run everything."""
    async with AsyncExitStack() as stack:
        valkey = OwnServer(ValkeyServer(folder / "valkey", free_port(), "test"))
        stack.callback(valkey.stop)
        await valkey.start()
        stage = await stack.enter_async_context(open_stage(postgres_url, valkey.server.url, servers))
        for number in range(PORTFOLIOS):
            await stage.bank.add_booked("USD" if number % 3 else "CHF", (1, "5000"), (3, "10"), (12, str(number + 1)))
        await stage.bank.pool.execute("update users set password_hash = $1, status = 'active'", CHEAP.hash(PASSWORD))
        limits = {"live_connections": 10 * CLIENTS, "live_stalled_s": 3.0}
        apis = [ApiProcess(folder / f"api-{n}.log", postgres_url, valkey.server.url, **limits) for n in range(2)]
        stack.callback(show, folder)
        for one in apis:
            stack.callback(one.close)
        await asyncio.gather(*(one.start() for one in apis))
        environment = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": valkey.server.url,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "JWT_SECRET": SECRET,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        workers = stack.enter_context(ExitStack())

        def begin_worker() -> subprocess.Popen[bytes]:
            return workers.enter_context(
                open_server(Launch(python_module("stream"), environment), folder / "stream.log")
            )

        await stage.feed.quote((9, 0.88))  # the load never quotes it, and francs are to be shown in dollars
        load = await stack.enter_async_context(under_load(stage))
        yield Platform(stage, load, valkey, apis, begin_worker, await owner(apis[0].url))


async def owner(url: str) -> dict[str, str]:
    """Sign in as the owner of the portfolios."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as web:
        answer = await web.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
    return {"token": answer.raise_for_status().json()["token"]}


def crowd_of(platform: Platform) -> list[Wanderer]:
    """Return clients of both transports, half of them beginning at either web process."""
    portfolios = itertools.cycle(platform.stage.bank.records)
    urls = [one.url for one in platform.apis]
    found = []
    for number in range(CLIENTS):
        streams = [f"portfolio:{next(portfolios)}", f"portfolio:{next(portfolios)}", "demo"]
        if number % 4 == 0:
            streams.append(f"client:{platform.stage.bank.client}")
        order = urls if number // 2 % 2 else urls[::-1]
        found.append(Wanderer(TRANSPORTS[number % 2], order, platform.auth, streams, max_hz=4))
    return found


async def test_nothing_is_wrong_and_memory_does_not_grow_through_every_fault(
    postgres_url: str, kafka_servers: str, tmp_path: Path
) -> None:
    memory = Memory()
    turns: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    async with memory.watched(), open_platform(postgres_url, kafka_servers, tmp_path) as platform:
        platform.clients = clients = crowd_of(platform)
        try:
            async with wandering(clients):
                await platform.all_hold_what_the_bank_holds()
                begun = loop.time()
                for fault in itertools.cycle(platform.faults()):
                    if loop.time() - begun > SECONDS:
                        break
                    if fault == platform.kill_the_stream_worker and loop.time() - begun > SECONDS / 2:
                        continue  # so that the memory of one that lives on is seen too
                    turns.append(await take_turn(platform, memory, fault))
        finally:
            report(memory, turns, clients)
    growing = {
        name: f"{slope:.2f} MiB a minute, {grown:.1f} MiB in all"
        for name, (slope, grown) in memory.growth(WARM_UP_S).items()
        if name != OURSELVES and slope > SLOPE_MIB_A_MINUTE and grown > GROWTH_MIB
    }
    assert growing == {}, f"memory grows; see {FOLDER / 'memory.svg'}"
    assert sum(one.gaps for one in clients) == 0


async def take_turn(platform: Platform, memory: Memory, fault: Callable[[], Awaitable[None]]) -> dict[str, object]:
    """Make a fault, wait until the turn is over, and compare everything."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    name = getattr(fault, "__name__", "").replace("_", " ")
    memory.mark(name)
    await fault()
    await asyncio.sleep(max(0.0, TURN_S - (loop.time() - begun)))
    over = loop.time()
    await platform.all_hold_what_the_bank_holds()
    turn = {"at_s": round(begun - memory.began), "fault": name, "equal_after_s": round(loop.time() - over, 1)}
    print(json.dumps(turn), flush=True)
    return turn


def report(memory: Memory, turns: list[dict[str, object]], clients: list[Wanderer]) -> None:
    """Write the graph, and what was counted."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "memory.svg").write_text(draw(memory, f"Memory of each process, {len(clients)} clients"), "utf-8")
    growth = {
        name: {"mib_a_minute": round(slope, 2), "mib": round(grown, 1)}
        for name, (slope, grown) in memory.growth(WARM_UP_S).items()
    }
    counted = {
        "clients": len(clients),
        "connections": sum(one.connections for one in clients),
        "snapshots": sum(one.snapshots for one in clients),
        "gaps": sum(one.gaps for one in clients),
        "goodbyes": sum(len(one.goodbyes) for one in clients),
        "turns": turns,
        "growth_after_warm_up": growth,
        "allowed": {"mib_a_minute": SLOPE_MIB_A_MINUTE, "mib": GROWTH_MIB},
    }
    (FOLDER / "soak.json").write_text(json.dumps(counted, indent=1) + "\n", "utf-8")
    print(json.dumps({name: value for name, value in counted.items() if name != "turns"}), flush=True)
