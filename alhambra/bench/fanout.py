"""Measure what one core of the web process delivers: quotes through Redis to thousands of sockets."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from alhambra.bench.bank import BankSize, issue_tokens
from alhambra.bench.cores import move_to, reserve_core
from alhambra.bench.crowd import Crowd, open_crowd, percentile_ms
from alhambra.bench.quote_driver import QuoteDriver, driving
from alhambra.bench.stage import Stage, open_stage
from alhambra.bench.swarm import Task
from alhambra.ports import LOOPBACK
from api.live.protocol import MAX_HZ

CONNECTIONS_A_USER = 10  # half of what a process allows, so that a crowd may come before the last one is forgotten
INSTRUMENTS = 5_000
WARM_UP_S = 2.0
OTHER_FILES = 500
CLOCK_TICK_S = 0.01  # finer no kernel counts processor time
SAMPLED_CLIENTS = 1_000  # of whom latencies are kept


@dataclass(frozen=True, slots=True)
class FanoutLoad:
    """Say what to deliver: `hz` quotes a second to each client, of one symbol for all or of one for each."""

    clients: int
    hz: float
    rooms: Literal["shared", "own"]
    transport: Literal["socketio", "websocket"]

    @property
    def symbols(self) -> list[str]:
        """Return what is followed."""
        return [f"I{number}" for number in range(1 if self.rooms == "shared" else self.clients)]

    @property
    def streams(self) -> list[str]:
        """Return the stream of each client."""
        symbols = self.symbols
        return [f"quote:{symbols[number % len(symbols)]}" for number in range(self.clients)]


class FanoutFigures(msgspec.Struct, frozen=True):
    """Hold what was delivered.

    `messages_per_core_s` is messages by the processor time of the server's process. Latencies are from the driver's
    stamp, before Redis, to the arrival at a client. `kb_per_client` is by how much the server's resident memory grew
    while the clients came, by client. `lost` counts connections that ended, deltas that did not follow what the client
    held, and clients that did not have the last quote ten seconds after it was sent.
    """

    clients: int
    hz: float
    rooms: str
    transport: str
    messages_per_s: float
    messages_per_core_s: float
    p50_ms: float
    p99_ms: float
    kb_per_client: float
    lost: int


class Circumstances(msgspec.Struct, frozen=True):
    """Hold what tells how far to trust the figures: shares of a core, and the bytes of a message on the wire."""

    server_share: float
    clients_share: float
    bytes_per_message: float


class FanoutRun(msgspec.Struct, frozen=True):
    """Hold the figures and their circumstances."""

    figures: FanoutFigures
    circumstances: Circumstances


@dataclass(frozen=True, slots=True)
class Served:
    """Say how to read the server that is measured: its processor time, its memory; `stop` ends what it sends.

    `stop` returns the event time of what came last.
    """

    cpu_seconds: Callable[[], float]
    resident_bytes: Callable[[], int]
    stop: Callable[[], Awaitable[int]]


async def measure_fanout(load: FanoutLoad, seconds: float) -> FanoutRun:
    """Start PostgreSQL, Valkey and one web process on a core of its own, and measure it."""
    with reserve_core() as core:
        async with open_fanout_stage(load.clients, core) as stage:
            return await measure_on(stage, load, seconds)


@asynccontextmanager
async def open_fanout_stage(clients: int, core: int | None) -> AsyncIterator[Stage]:
    """Start what delivers, with users enough for so many clients; the web process runs on this core."""
    _allow_files(clients + OTHER_FILES)
    users = _users(clients)
    size = BankSize(users, max(INSTRUMENTS, clients))
    with tempfile.TemporaryDirectory(prefix="alhambra-bench-") as folder:
        async with open_stage(Path(folder) / "data", size, users, "", workers=("api",)) as stage:
            move_to(core, stage.supervisor.pids["api"])
            yield stage


async def measure_on(stage: Stage, load: FanoutLoad, seconds: float) -> FanoutRun:
    """Deliver a load and measure it; several may follow each other on one stage."""
    tokens = issue_tokens(stage.plan.secrets.jwt_secret, _users(load.clients))
    clients = [(tokens[number // CONNECTIONS_A_USER], stream) for number, stream in enumerate(load.streams)]
    driver = QuoteDriver(stage.store, load.symbols, load.hz)
    await driver.store_first()
    async with driving(driver) as running:

        async def stop() -> int:
            driver.stop()
            await running
            return driver.newest_ns

        served = Served(lambda: stage.cpu_seconds()["api"], lambda: stage.resident_bytes("api"), stop)
        return await measure_served(served, load, stage.plan.options.port, clients, seconds)


async def measure_served(
    served: Served, load: FanoutLoad, port: int, clients: list[tuple[str, str]], seconds: float
) -> FanoutRun:
    """Bring the clients, each a (token, stream), count what they get, and wait until each has what came last."""
    task = Task(LOOPBACK, port, MAX_HZ, clients, load.transport, -(-load.clients // SAMPLED_CLIENTS))
    before = served.resident_bytes()
    with tempfile.TemporaryDirectory(prefix="alhambra-bench-") as folder:
        async with open_crowd(task, Path(folder)) as crowd:
            await asyncio.sleep(WARM_UP_S)
            grown = served.resident_bytes() - before
            return await _measure(served, crowd, load, seconds, grown)


async def _measure(served: Served, crowd: Crowd, load: FanoutLoad, seconds: float, grown: int) -> FanoutRun:
    began, used, clients_used = time.monotonic(), served.cpu_seconds(), crowd.cpu_seconds()
    crowd.begin()
    await asyncio.sleep(seconds)
    elapsed = time.monotonic() - began
    spent, clients_spent = served.cpu_seconds() - used, crowd.cpu_seconds() - clients_used
    seen = await crowd.end()
    settled = await crowd.settle(await served.stop())
    figures = FanoutFigures(
        clients=load.clients,
        hz=load.hz,
        rooms=load.rooms,
        transport=load.transport,
        messages_per_s=round(seen.updates / seen.seconds, 1),
        messages_per_core_s=round(seen.updates / max(spent, CLOCK_TICK_S), 1),
        p50_ms=percentile_ms(seen, 0.50),
        p99_ms=percentile_ms(seen, 0.99),
        kb_per_client=round(grown / load.clients / 1000, 1),
        lost=settled.lost + settled.gaps + settled.behind,
    )
    shares = round(spent / elapsed, 3), round(clients_spent / elapsed, 3)
    return FanoutRun(figures, Circumstances(*shares, round(seen.bytes / max(1, seen.updates), 1)))


def _users(clients: int) -> int:
    return -(-clients // CONNECTIONS_A_USER)


def _allow_files(wanted: int) -> None:
    """Let this process, and so its children, open so many files, as far as the system lets us: a socket is one."""
    if sys.platform != "win32":
        import resource

        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        if allowed != resource.RLIM_INFINITY and allowed < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
