"""Keep child processes running: start them, start them again when they die, stop them in order."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from alhambra.child import Child, Running, State
from alhambra.errors import ChildFailed, DiskFull
from alhambra.log_file import tail, trim_log

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0  # who has lived this long starts again with the first delay
STOP_S = 9.0  # for all; those who ask wait ten
RESERVE_PER_RANK_S = 1.5  # what the ranks that come later keep of it
FOLLOW_S = 3.0
TRIM_EVERY_S = 10.0


class Supervisor:
    """Keep children running until `stop`. `told` receives one sentence for people at each notable event."""

    def __init__(self, logs: Path, told: Callable[[str], None]) -> None:
        self._logs = logs
        self._told = told
        self._running: dict[str, Running] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    @property
    def states(self) -> dict[str, State]:
        """Return how each child is, in the order of their start."""
        return {name: one.state for name, one in self._running.items()}

    @property
    def pids(self) -> dict[str, int]:
        """Return the process id of each child that runs."""
        return {name: one.pid for name, one in self._running.items() if one.pid is not None}

    async def start(self, *children: Child) -> None:
        """Start children side by side and wait until all are ready.

        Raises `ChildFailed` or `DiskFull` when one does not come up; afterwards the caller is to `stop`.
        """
        for child in children:
            one = Running(child, self._logs / f"{child.name}.log")
            self._running[child.name] = one
            self._keepers[child.name] = asyncio.create_task(self._keep(one), name=f"keep {child.name}")
        await asyncio.gather(*(self._first_ready(self._running[child.name]) for child in children))

    async def watch(self) -> None:
        """Keep the logs within bounds until cancelled; raises what made a keeper give up, which none should."""
        while True:
            done, _ = await asyncio.wait(self._keepers.values(), timeout=TRIM_EVERY_S, return_when="FIRST_EXCEPTION")
            for keeper in done:
                keeper.result()
            for one in self._running.values():
                await asyncio.to_thread(trim_log, one.log)

    async def stop(self) -> None:
        """Stop all children, highest rank first, within ten seconds."""
        await self._dismiss_keepers()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_S
        ranks = sorted({one.child.rank for one in self._running.values()}, reverse=True)
        for left, rank in zip(range(len(ranks) - 1, -1, -1), ranks, strict=True):
            seconds = max(0.5, deadline - loop.time() - left * RESERVE_PER_RANK_S)
            ending = [one for one in self._running.values() if one.child.rank == rank]
            for one, ended in zip(ending, await asyncio.gather(*(one.end(seconds) for one in ending)), strict=True):
                one.state = State.STOPPED
                if not ended:
                    self._told(f"{one.child.name} could not be killed.")

    async def _dismiss_keepers(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    async def _first_ready(self, one: Running) -> None:
        keeper = self._keepers[one.child.name]
        ready = asyncio.create_task(one.ready.wait(), name=f"ready {one.child.name}")
        try:
            await asyncio.wait({keeper, ready}, return_when="FIRST_COMPLETED")
            if keeper.done():
                keeper.result()
        finally:
            ready.cancel()

    async def _keep(self, one: Running) -> None:
        delay = FIRST_DELAY_S
        loop = asyncio.get_running_loop()
        while True:
            await self._followed_ready(one)
            began, process = loop.time(), await one.spawn()
            if await one.became_ready(process):
                if one.restarts:
                    self._told(f"{one.child.name} is back.")
                followed = await self._until_lost(one, process)
            elif one.restarts:
                followed = False
                await one.end(FOLLOW_S)
            else:
                await self._give_up(one, process)
            one.restarts += 1
            one.state = State.RESTARTING
            delay = FIRST_DELAY_S if loop.time() - began > STEADY_S else delay
            if not followed:
                self._told(f"{one.child.name} {_ending(process)}; it is started again in {delay:g} s.")
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY_S)

    async def _give_up(self, one: Running, process: Process) -> None:
        reason = _ending(process) if process.returncode is not None else "did not become ready"
        await one.end(FOLLOW_S)
        text = tail(one.log)
        if "No space left on device" in text:
            raise DiskFull(f"The disk is full: {one.child.name} could not start; free some space and start again.")
        raise ChildFailed(one.child.name, f"{reason} before it was ready", text)

    async def _followed_ready(self, one: Running) -> None:
        for name in one.child.follows:
            await self._running[name].ready.wait()

    async def _until_lost(self, one: Running, process: Process) -> bool:
        """Wait until the process ends, or one that it follows does; say whether it was the latter."""
        ended = asyncio.create_task(process.wait(), name=f"end of {one.child.name}")
        gone = [asyncio.create_task(self._running[name].gone.wait()) for name in one.child.follows]
        try:
            await asyncio.wait({ended, *gone}, return_when="FIRST_COMPLETED")
        finally:
            for task in (ended, *gone):
                task.cancel()
        one.lose()
        followed = process.returncode is None
        await one.end(FOLLOW_S)
        return followed


def _ending(process: Process) -> str:
    code = process.returncode
    if code is None:
        return "did not become ready"
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


@asynccontextmanager
async def open_supervisor(logs: Path, told: Callable[[str], None]) -> AsyncIterator[Supervisor]:
    """Open a supervisor; on leaving, also after a start that failed half way, all its children are stopped."""
    supervisor = Supervisor(logs, told)
    try:
        yield supervisor
    finally:
        stopping = asyncio.create_task(supervisor.stop(), name="stop children")
        while not stopping.done():
            with contextlib.suppress(asyncio.CancelledError):  # a second Ctrl-C does not leave orphans
                await asyncio.shield(stopping)
        stopping.result()
