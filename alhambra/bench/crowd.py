"""Run the swarm of clients beside the platform, and ask it what it saw."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil

from alhambra.bench.swarm import Seen, Settled, Task
from alhambra.launch import python_module
from alhambra.private_file import write_private

READY_S = 300.0
LINE_BYTES = 64 << 20


class Crowd:
    """Speak to the process of the clients."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        return sum(psutil.Process(self._process.pid).cpu_times()[:2])

    def begin(self) -> None:
        """Have it count from now on."""
        self._tell("begin")

    async def end(self) -> Seen:
        """Return what the clients saw since `begin`."""
        self._tell("end")
        return msgspec.json.decode(await _line(self._process), type=Seen)

    async def settle(self, newest_ns: int) -> Settled:
        """Wait until every client holds what happened at `newest_ns`, ten seconds at most; return what is missing."""
        self._tell(f"settle {newest_ns}")
        return msgspec.json.decode(await _line(self._process), type=Settled)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())


@asynccontextmanager
async def open_crowd(task: Task, folder: Path) -> AsyncIterator[Crowd]:
    """Start the clients and wait until each has had an update; they go on leaving."""
    file = folder / "clients.json"
    write_private(file, msgspec.json.encode(task))
    process = await asyncio.create_subprocess_exec(
        *python_module("alhambra.bench.swarm", str(file)), stdin=PIPE, stdout=PIPE, stderr=sys.stderr, limit=LINE_BYTES
    )
    try:
        async with asyncio.timeout(READY_S):
            await _line(process)
        yield Crowd(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def percentile_ms(seen: Seen, share: float) -> float:
    """Return the latency that this share of the updates does not exceed."""
    ordered = sorted(seen.latencies_ms)
    return round(ordered[int(share * (len(ordered) - 1))], 1)


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the clients have ended before their time; their words are above")
    return line
