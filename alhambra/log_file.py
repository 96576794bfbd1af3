"""Keep the logs of the children within bounds and read their ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_BYTES = 10 << 20
TAIL_BYTES = 64 << 10


@contextmanager
def open_log(file: Path) -> Iterator[int]:
    """Open a log to be handed to a child, trimmed first; gives a descriptor that appends."""
    trim_log(file)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def trim_log(file: Path, limit: int = MAX_BYTES) -> None:
    """Move what a log holds to `<name>.1` once it passes `limit` bytes, replacing what stood there.

    A child keeps its descriptor, which appends, so the file is copied and emptied, not renamed; what is written
    between the two is lost, which a log can bear and a disk that fills can not.
    """
    if file.exists() and file.stat().st_size > limit:
        shutil.copyfile(file, file.with_name(f"{file.name}.1"))
        os.truncate(file, 0)


def tail(file: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or an empty string where there is none."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
