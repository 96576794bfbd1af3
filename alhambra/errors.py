"""Name what can keep the platform from starting; each message is one sentence for the person at the terminal.

CannotStart
├── DataFolderRefused   it is of another version, in use, or not ours
├── PortInUse           something else listens where the page should be
├── DiskFull            there is no room for the data folder
└── ChildFailed         a supervised process did not come up; carries the tail of its log
"""

from __future__ import annotations


class CannotStart(Exception):
    """Say why the platform cannot start and what to do; printed as it is, with exit status 1."""


class DataFolderRefused(CannotStart):
    """Say that the data folder is of another version, in use, or not a data folder."""


class PortInUse(CannotStart):
    """Say that the wanted port is taken."""


class DiskFull(CannotStart):
    """Say that the disk has no room."""


class ChildFailed(CannotStart):
    """Say that a supervised process did not become ready.

    `name` is the process, `tail` the last lines of its log, which are printed under the sentence.
    """

    def __init__(self, name: str, reason: str, tail: str) -> None:
        super().__init__(f"{name} {reason}.")
        self.name = name
        self.tail = tail
