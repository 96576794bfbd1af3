"""Help tests wait, and start real servers for them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alhambra.launch import Launch


async def eventually(condition: Callable[[], Any], what: str = "the condition holds", seconds: float = 15.0) -> Any:
    """Wait until `condition()` (plain or async) is true and return what it gave; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        await asyncio.sleep(0.02)


def soon(condition: Callable[[], Any], what: str = "the condition holds", seconds: float = 15.0) -> Any:
    """Wait, without an event loop, until `condition()` is true and return what it gave; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.02)
    return found


@contextmanager
def open_server(launch: Launch, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server with its output in `log`; it is asked to end, and has five seconds to do so."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            launch.leashed_command(),
            cwd=launch.folder,
            env=launch.full_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
