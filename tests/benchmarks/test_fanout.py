"""What one core delivers beside Node's socket.io: the same messages and clients, in turn on the same core.

As one test among others it only has to work; `make bench-peers` measures. No figure fails a test.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec
import psutil
import pytest
from fakes_node import NODE, install

from alhambra.bench.cores import move_to, reserve_core
from alhambra.bench.fanout import FanoutLoad, FanoutRun, Served, measure_on, measure_served, open_fanout_stage
from alhambra.ports import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
PEERS = Path(__file__).with_name("peers")
SERVERS = NODE_PEER, SOCKETIO, WEBSOCKET = "node socket.io", "alhambra socketio", "alhambra websocket"
ROOMS: tuple[Literal["shared", "own"], ...] = ("shared", "own")
Runs = dict[tuple[str, str], list[FanoutRun]]


@asynccontextmanager
async def open_node(hz: float, core: int | None, port: int) -> AsyncIterator[Served]:
    """Run Node's server on a core."""
    modules = install(PEERS) / "node_modules"
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), str(PEERS / "server.js"), str(port), str(hz)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_PATH": str(modules)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout, watched = process.stdin, process.stdout, psutil.Process(process.pid)

    async def stop() -> int:
        stdin.write(b"stop\n")
        return int(msgspec.json.decode(await stdout.readline())["event_ns"])

    try:
        assert await stdout.readline() == b"ready\n"
        move_to(core, process.pid)
        yield Served(lambda: sum(watched.cpu_times()[:2]), lambda: watched.memory_info().rss, stop)
    finally:
        process.kill()
        await process.wait()


async def measure_node(load: FanoutLoad, seconds: float, core: int | None) -> FanoutRun:
    port = free_port()
    async with open_node(load.hz, core, port) as served:
        return await measure_served(served, load, port, [("", stream) for stream in load.streams], seconds)


async def measure_rounds(load: FanoutLoad, seconds: float, rounds: int) -> Runs:
    """Measure the servers in turn, several times."""
    runs: Runs = {(load.rooms, name): [] for name in SERVERS}
    with reserve_core() as core:
        async with open_fanout_stage(load.clients, core) as stage:
            for _ in range(rounds):
                runs[load.rooms, NODE_PEER].append(await measure_node(load, seconds, core))
                runs[load.rooms, SOCKETIO].append(await measure_on(stage, load, seconds))
                websocket = replace(load, transport="websocket")
                runs[load.rooms, WEBSOCKET].append(await measure_on(stage, websocket, seconds))
    return runs


async def test_one_core_delivers_what_was_sent_as_nodes_does(request: pytest.FixtureRequest) -> None:
    measuring = request.config.getoption("--benchmark-enable")
    clients, seconds, rounds = (2_000, 8.0, 3) if measuring else (20, 1.0, 1)
    runs: Runs = {}
    for rooms in ROOMS:
        runs |= await measure_rounds(FanoutLoad(clients, 4.0, rooms, "socketio"), seconds, rounds)
    for run in (one for some in runs.values() for one in some):
        assert run.figures.lost == 0
        assert run.figures.messages_per_s > 0.2 * clients * 4.0 or measuring
    print_table(runs)


def print_table(runs: Runs) -> None:
    """Say the medians, and by how much ours differ from Node's of the same round."""
    print(f"\n{'rooms':<8}{'server':<20}{'messages/core/s':>16}", end="")
    print(f"{'× node':>8}{'p50 ms':>8}{'p99 ms':>8}{'bytes':>7}{'clients':>9}")
    for (rooms, name), found in runs.items():
        pairs = zip(found, runs[rooms, NODE_PEER], strict=True)
        ratio = median(our.figures.messages_per_core_s / node.figures.messages_per_core_s for our, node in pairs)
        figures = [one.figures for one in found]
        print(
            f"{rooms:<8}{name:<20}{median(one.messages_per_core_s for one in figures):>16,.0f}{ratio:>8.2f}"
            f"{median(one.p50_ms for one in figures):>8.1f}{median(one.p99_ms for one in figures):>8.1f}"
            f"{median(one.circumstances.bytes_per_message for one in found):>7.0f}"
            f"{median(one.circumstances.clients_share for one in found):>9.2f}"
        )
