"""Give the process that is measured a processor core of its own, where the system lets us and has two."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def reserve_core() -> Iterator[int | None]:
    """Leave one core, until the end: neither this process nor what it starts uses it. None where that cannot be."""
    if sys.platform != "linux" or len(ours := sorted(os.sched_getaffinity(0))) < 2:
        yield None
        return
    first, *others = ours
    os.sched_setaffinity(0, others)
    try:
        yield first
    finally:
        os.sched_setaffinity(0, ours)


def move_to(core: int | None, pid: int) -> None:
    """Have every thread of a process, and those it starts from now on, run on this core only."""
    if sys.platform == "linux" and core is not None:
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, {core})
