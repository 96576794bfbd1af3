"""Own the data folder: its version, its lock, its secrets and the places in it.

| place | content |
|---|---|
| `VERSION` | number of this layout |
| `lock` | held while `alhambra up` runs, gone afterwards |
| `secrets.json` | passwords and keys, made once, mode 0600 |
| `bank.json` | what was seeded and who may sign in, mode 0600 |
| `postgres/`, `valkey/`, `iboss/` | what the servers keep |
| `logs/` | one log a process |
| `run/` | what is true only while it runs: addresses, process ids |
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs

from alhambra.errors import CannotStart, DataFolderRefused, DiskFull
from alhambra.private_file import write_private

LAYOUT_VERSION = "1"
NEEDED_BYTES = 300 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


class Secrets(msgspec.Struct, frozen=True):
    """Hold the passwords and keys of this data folder; shown by nobody."""

    postgres_password: str
    valkey_password: str
    jwt_secret: str
    iboss_api_key: str

    def __repr__(self) -> str:
        return "Secrets(***)"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Name the places in a data folder."""

    path: Path

    @property
    def version_file(self) -> Path:
        """Return where the number of the layout stands."""
        return self.path / "VERSION"

    @property
    def lock_file(self) -> Path:
        """Return what is locked while the platform runs."""
        return self.path / "lock"

    @property
    def bank_file(self) -> Path:
        """Return where it stands what was seeded."""
        return self.path / "bank.json"

    @property
    def logs(self) -> Path:
        """Return the folder of the logs."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Return the folder of what is true only while the platform runs."""
        return self.path / "run"

    def secrets(self) -> Secrets:
        """Return the secrets of this folder, made at the first call."""
        file = self.path / "secrets.json"
        if file.exists():
            return msgspec.json.decode(file.read_bytes(), type=Secrets)
        made = Secrets(*(secrets.token_urlsafe(32) for _ in Secrets.__struct_fields__))
        write_private(file, msgspec.json.encode(made))
        return made


def default_data_folder() -> Path:
    """Return the folder in the user's state directory that is used where none is named."""
    return Path(platformdirs.user_state_dir("alhambra"))


@contextmanager
def open_data_folder(path: Path) -> Iterator[DataFolder]:
    """Make the folder ready and hold its lock; the lock is gone on leaving.

    Raises `DataFolderRefused` when it is of another version, not ours or in use, and `DiskFull`.
    """
    folder = DataFolder(path.expanduser().absolute())
    with full_disk_said(folder.path):
        _make(folder)
        with _locked(folder):
            _finish(folder)
            yield folder


@contextmanager
def full_disk_said(path: Path) -> Iterator[None]:
    """Turn an error of a full disk, whoever met it, into the sentence that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            sentence = f"The disk of {path} is full: free some space, or choose another folder with --data."
            raise DiskFull(sentence) from error
        raise


def refusal(folder: DataFolder) -> str | None:
    """Return why a folder cannot be used, for people, or None where it can; changes nothing."""
    if not folder.path.exists():
        return None
    if not folder.path.is_dir():
        return f"{folder.path} is not a folder: choose another with --data."
    if folder.version_file.exists():
        found = folder.version_file.read_text(errors="replace").strip()[:40]
        if found == LAYOUT_VERSION:
            return None
        return (
            f"The data folder {folder.path} is of version {found!r}, this program reads version {LAYOUT_VERSION!r}: "
            "choose another with --data, or remove it to start afresh."
        )
    if {entry.name for entry in folder.path.iterdir()} - {folder.lock_file.name, "lost+found"}:
        return f"{folder.path} holds something else than Alhambra's data: choose an empty or a new folder with --data."
    return None


def free_bytes(path: Path) -> int:
    """Return the free space on the disk where `path` is or will be."""
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(place).free


def _make(folder: DataFolder) -> None:
    if reason := refusal(folder):
        raise DataFolderRefused(reason)
    free = free_bytes(folder.path)
    if free < NEEDED_BYTES:
        raise DiskFull(
            f"The disk of {folder.path} is full: {free >> 20} MB are free and {NEEDED_BYTES >> 20} MB are needed; "
            "free some space, or choose another folder with --data."
        )
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (PermissionError, NotADirectoryError) as error:
        sentence = f"{folder.path} cannot be made ({error.strerror}): choose another with --data."
        raise DataFolderRefused(sentence) from error


def _finish(folder: DataFolder) -> None:
    for place in (folder.logs, folder.run):
        place.mkdir(mode=0o700, exist_ok=True)
    if not folder.version_file.exists():
        write_private(folder.version_file, f"{LAYOUT_VERSION}\n".encode())


@contextmanager
def _locked(folder: DataFolder) -> Iterator[None]:
    try:
        descriptor = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise DataFolderRefused(f"{folder.path} may not be written: choose another with --data.") from error
    try:
        _take(descriptor, folder)
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        try:
            yield
        finally:
            folder.lock_file.unlink()
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: DataFolder) -> None:
    """Take the lock; one that vanished between opening and taking belonged to somebody who was just leaving."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        vanished = not os.path.samestat(os.fstat(descriptor), folder.lock_file.stat())
    except BlockingIOError as error:
        holder = folder.lock_file.read_text(errors="replace") or "unknown"
        raise DataFolderRefused(
            f"The data folder {folder.path} is in use by process {holder}: stop it, or choose another with --data."
        ) from error
    except FileNotFoundError:
        vanished = True
    if vanished:
        raise CannotStart(f"The data folder {folder.path} was just released: start again.")
