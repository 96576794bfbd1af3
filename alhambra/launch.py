"""Describe how a child process is started: its command, its environment, and whose it is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alhambra import leash

_LEASH = str(Path(leash.__file__).resolve())


@dataclass(frozen=True, slots=True)
class Account:
    """Name the user and group a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Launch:
    """Hold what is needed to start one process.

    `environment` is added to ours. `death_signal` reaches it when we are killed. `account` is who it
    runs as, where that is not us; `standard_input` a file it reads, else nothing.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    account: Account | None = None
    death_signal: int = signal.SIGKILL
    standard_input: Path | None = None

    def leashed_command(self) -> tuple[str, ...]:
        """Return the command that starts the process tied to the life of this one."""
        account = f"{self.account.uid}:{self.account.gid}" if self.account else leash.NO_ACCOUNT
        tie = (str(os.getpid()), str(int(self.death_signal)), account)
        return (sys.executable, "-I", "-S", _LEASH, *tie, "--", *self.command)

    def full_environment(self) -> dict[str, str]:
        """Return our environment with this launch's names added."""
        return {**os.environ, **self.environment}


def own_environment(without: Collection[str] = ()) -> dict[str, str]:
    """Return our environment without some names, for a process that is to choose for itself."""
    return {name: value for name, value in os.environ.items() if name not in without}


def python_module(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours with the interpreter that runs us."""
    return (sys.executable, "-m", name, *arguments)
