"""Name a process so that another one on the same machine can tell whether it is still there.

Without that, who starts again after a crash would wait until the lease of the process before it ends. A name holds the
start of the machine and the space in which process numbers count (a container has its own), so a number is only looked
up where it means that process. Whoever cannot know takes it for alive.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessName:
    """Hold what tells a process from every other: `since` is its start in ticks of the machine's clock.

    `machine` is the machine's start, `space` that of its process numbers; both are empty where the system does not say.
    """

    host: str
    pid: int
    since: str = ""
    machine: str = ""
    space: str = ""

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"{self.host}:{self.pid}"

    def __str__(self) -> str:
        return " ".join((self.host, str(self.pid), self.since, self.machine, self.space)).rstrip()


def own_name() -> ProcessName:
    """Return the name of this process."""
    pid = os.getpid()
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")
        _, since = _state_and_start(pid)
    except OSError:
        return ProcessName(socket.gethostname(), pid)
    return ProcessName(socket.gethostname(), pid, since, machine, space)


def parse_name(text: str) -> ProcessName | None:
    """Read what a name looks like as text; None where it is no name of a process."""
    host, pid, *rest = [*text.split(" "), ""]
    return ProcessName(host, int(pid), *rest[:-1]) if pid.isdigit() and len(rest) <= 4 else None


def is_dead(name: ProcessName, observer: ProcessName) -> bool:
    """Say whether a process has surely ended, as another one on the same machine sees it."""
    place = (name.host, name.machine, name.space)
    if not all(place) or place != (observer.host, observer.machine, observer.space):
        return False
    try:
        os.kill(name.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # it is there, and another user's
    try:
        state, since = _state_and_start(name.pid)
    except OSError:
        return False  # it ended just now, or is hidden from us
    return state in "ZX" or since != name.since


def _state_and_start(pid: int) -> tuple[str, str]:
    """Return a process's state, a letter, and its start; no setting of the clock moves that one."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return fields[0], fields[19]
