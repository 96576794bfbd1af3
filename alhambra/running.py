"""Say, in the data folder, where the platform runs, so that the other commands find it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from alhambra.data_folder import DataFolder
from alhambra.private_file import write_private


class Address(msgspec.Struct, frozen=True):
    """Hold where everything is and who may sign in; the line that `--ready-json` prints."""

    url: str
    logins: list[dict[str, str]]
    iboss_logins: list[dict[str, str]]
    kafka: str
    database: str
    redis: str
    iboss: str
    pids: dict[str, int]


def _file(folder: DataFolder) -> Path:
    return folder.run / "up.json"


def write_running(folder: DataFolder, address: Address) -> None:
    """Write where everything is, readable by us alone."""
    write_private(_file(folder), msgspec.json.encode(address))


def forget_running(folder: DataFolder) -> None:
    """Remove what `write_running` wrote."""
    _file(folder).unlink(missing_ok=True)


def read_running(data: Path) -> Address | None:
    """Return where the platform of this data folder runs, or None where it does not."""
    folder = DataFolder(data)
    if not (folder.lock_file.exists() and _file(folder).exists()):
        return None
    return msgspec.json.decode(_file(folder).read_bytes(), type=Address)
