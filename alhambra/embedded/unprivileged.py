"""Find the unprivileged user for servers that refuse to run as root, and what that user can reach."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from alhambra.errors import CannotStart
from alhambra.launch import Account

CANDIDATES = ("nobody", "daemon")


def unprivileged_account() -> Account | None:
    """Return who such a server runs as: None (us) unless we are root, then an existing plain user."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise CannotStart(f"PostgreSQL will not run as root, and there is none of the users {', '.join(CANDIDATES)}.")


def can_reach(path: Path, account: Account) -> bool:
    """Say whether `account` may walk to `path` through all folders above it."""
    return all(_may_enter(folder, account) for folder in path.resolve().parents)


def _may_enter(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def give(path: Path, account: Account | None) -> None:
    """Make `path` the property of `account`; None changes nothing."""
    if account is not None:
        os.chown(path, account.uid, account.gid)
