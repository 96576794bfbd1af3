"""Become another program that ends with the process that started it.

Run by path, isolated (`python -I -S leash.py PARENT SIGNAL ACCOUNT -- PROGRAM ...`), so that it needs
nothing but the standard library, and starts in some 15 ms. It exists because the alternative, a function
between fork and exec in the parent, is unsafe beside threads, and because the kernel forgets the death
signal when the user changes: so privileges go first, then the leash is tied, then the program begins.
The kernel does this on Linux only; elsewhere a killed supervisor leaves its children running.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
NO_ACCOUNT = "-"


def drop_privileges(account: str) -> None:
    """Become the account written `uid:gid`, without supplementary groups; `-` changes nothing."""
    if account == NO_ACCOUNT:
        return
    uid, gid = (int(number) for number in account.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with(parent: int, number: int) -> None:
    """Ask the kernel to send signal `number` when `parent` ends; exits at once where it already has."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Read the arguments and become the program."""
    parent, number, account, separator, *command = sys.argv[1:]
    if separator != "--" or not command:
        sys.exit("usage: leash.py PARENT SIGNAL UID:GID|- -- PROGRAM ARGUMENTS")
    os.umask(0o077)
    drop_privileges(account)
    die_with(int(parent), int(number))
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted here


if __name__ == "__main__":
    main()
