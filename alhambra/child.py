"""Run one supervised child process: start it, wait until it is ready, end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from alhambra.launch import Launch
from alhambra.log_file import open_log

PROBE_EVERY_S = 0.05
KILL_WAIT_S = 1.0


class State(Enum):
    """Say how a child is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Child:
    """Describe a process to be kept running.

    `launch` is asked at each start, so that it may name what has moved meanwhile; it may block and runs in a
    thread. `answers` says whether the process does its work. `follows` names children that must be ready before
    this one starts and whose restart restarts it. Children of a higher `rank` are stopped first.
    """

    name: str
    launch: Callable[[], Launch]
    answers: Callable[[], Awaitable[bool]]
    follows: tuple[str, ...] = ()
    rank: int = 0
    stop_signal: int = signal.SIGTERM
    start_seconds: float = 60.0


@dataclass(slots=True)
class Running:
    """Hold what is known of a child while it is kept: its state, its process, and how often it was started again."""

    child: Child
    log: Path
    state: State = State.WAITING
    process: Process | None = None
    restarts: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """Return the process's id, which is also its group's, while it runs."""
        alive = self.process is not None and self.process.returncode is None
        return self.process.pid if alive and self.process else None

    async def spawn(self) -> Process:
        """Start the process in a session of its own with its output in the log."""
        launch = await asyncio.to_thread(self.child.launch)
        with open_log(self.log) as output, contextlib.ExitStack() as stack:
            given = stack.enter_context(launch.standard_input.open("rb")) if launch.standard_input else DEVNULL
            self.process = await asyncio.create_subprocess_exec(
                *launch.leashed_command(),
                cwd=launch.folder,
                env=launch.full_environment(),
                stdin=given,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
        self.state, self.gone = State.STARTING, asyncio.Event()
        return self.process

    async def became_ready(self, process: Process) -> bool:
        """Wait until the process does its work; False when it ended or its time is over before."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.child.start_seconds
        while process.returncode is None and loop.time() < deadline:
            if await self.child.answers() and process.returncode is None:
                self.state = State.READY
                self.ready.set()
                return True
            await asyncio.sleep(PROBE_EVERY_S)
        return False

    def lose(self) -> None:
        """Note that the process no longer does its work, so that those who follow it notice."""
        self.ready.clear()
        self.gone.set()

    async def end(self, seconds: float) -> bool:
        """Ask the process to end and kill its whole group after `seconds`; False when even that was in vain."""
        process = self.process
        if process is None:
            return True
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self.child.stop_signal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for, before Python 3.12, can lose a cancellation
                    await process.wait()
        kill_group(process.pid)
        self.process = None  # its number may soon be another's: it is never signalled again
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await process.wait()
        except TimeoutError:  # it hangs inside the kernel, on a dead disk for instance
            return False
        return True


def kill_group(pid: int) -> None:
    """Kill what is left of a process group; nothing left is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
