"""Run servers that a test may kill, freeze, fill up or cut off, and the real processes that must outlive it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from fakes import eventually, open_server
from fakes_api import CHEAP, PASSWORD, SECRET
from fakes_live import Follower, open_live
from fakes_stream import Stage, open_stage

from alhambra.embedded.broker import open_broker
from alhambra.embedded.postgres import PostgresServer
from alhambra.embedded.valkey import ValkeyServer
from alhambra.launch import Launch, python_module
from alhambra.ports import free_port
from db.migrate import migrate

OWNER = "carol@example.com"
DISK_MIB = 256
# A cluster that fits on the small disk, and is found by its clients to be away as quickly as any
SMALL = (("max_wal_size", "48MB"), ("min_wal_size", "32MB"), ("shared_buffers", "32MB"))


class OwnServer:
    """A server of a test's own: real processes, which may be killed or frozen and begun again at the same address."""

    def __init__(self, server: PostgresServer | ValkeyServer) -> None:
        self.server = server
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Begin, and wait until it answers."""
        self.server.prepare()
        log = self.server.folder.with_suffix(".log")
        self._process = self._running.enter_context(open_server(self.server.launch(), log))
        await eventually(self.server.answers, "the server answers", 30)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """End all of it at once, without a word."""
        self.signal(signal.SIGKILL)
        self._running.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold every process of it; its connections stay open, and new ones are accepted by the kernel."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in order."""
        self._running.close()


class Link:
    """A TCP link to a port that can swallow everything, either way, on connections that exist and on new ones.

    Connections that were open when it did never recover, as behind a firewall that has forgotten them; new ones do.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._swallowing = False
        self._age = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Link]:
        """Pass on until the end."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Swallow everything for a while."""
        self._swallowing, self._age = True, self._age + 1
        try:
            yield
        finally:
            self._swallowing = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        dead = -1 if self._swallowing else self._age
        far_writer = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pass(reader, far_writer, dead), self._pass(far_reader, writer, dead))
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or one end is gone: so is the other
        finally:
            self._tasks.discard(task)
            for one in (writer, far_writer):
                if one is not None:
                    one.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, age: int) -> None:
        while data := await source.read(1 << 16):
            if age == self._age:
                sink.write(data)
                await sink.drain()
        if age != self._age:
            await asyncio.Event().wait()  # nobody hears that the other end has gone
        raise ConnectionResetError


@dataclass
class Scene:
    """A bank, its servers on links of their own, and a stream worker and a web process that must outlive all faults."""

    stage: Stage
    postgres: OwnServer
    valkey: OwnServer
    postgres_link: Link
    valkey_link: Link
    web: httpx.AsyncClient
    portfolio: str
    disk: Path | None
    begin: Callable[[], subprocess.Popen[bytes]]
    price: float = 150.0

    def __post_init__(self) -> None:
        self.worker = self.begin()

    async def quote(self, seconds: float = 30.0) -> None:
        """Let a new price come, and wait until every portfolio is valued by it."""
        self.price += 0.5
        await self.stage.feed.quote((3, self.price))
        await eventually(self.stage.all_right, "every portfolio is valued by the newest price", seconds)

    async def health(self) -> dict[str, dict[str, str]]:
        """Return what the web process says of everything, by name."""
        body = (await self.web.get("/api/health")).json()
        found: dict[str, dict[str, str]] = body["services"] | body["workers"]
        return found

    async def says(self, name: str, status: str, part: str = "") -> bool:
        """Say whether health has a status for a name, with `part` in its sentence."""
        found = (await self.health()).get(name, {})
        return found.get("status") == status and part in found["detail"]

    async def is_well(self) -> bool:
        """Say whether everything answers, is persisted, and reads serve the newest value over REST."""
        health = await self.health()
        if any(health.get(one, {}).get("status") != "ok" for one in ("database", "redis", "kafka", "stream")):
            return False
        answer = await self.web.get("/api/portfolio/overview", params={"portfolioId": self.portfolio})
        return answer.status_code == 200

    async def equity(self) -> float:
        """Return what the followed portfolio is worth."""
        found = await self.stage.valuation(self.portfolio)
        assert found is not None
        return found.total_equity

    @asynccontextmanager
    async def follower(self) -> AsyncIterator[Follower]:
        """Follow the portfolio as a client does."""
        stream = f"portfolio:{self.portfolio}"
        token = self.web.headers["Authorization"].removeprefix("Bearer ")
        async with open_live("socketio", str(self.web.base_url), {"token": token}) as client:
            answer = await client.subscribe(stream, max_hz=4)
            assert "error" not in answer, answer
            yield client.follower

    async def is_shown(self, follower: Follower) -> bool:
        """Say whether a client holds the newest value, without having missed a change."""
        shown = follower.totals.get(f"portfolio:{self.portfolio}")
        return follower.gaps == 0 and shown is not None and shown["total_equity"] == await self.equity()


@asynccontextmanager
async def open_scene(folder: Path) -> AsyncIterator[Scene]:
    """Set the scene; PostgreSQL is on a small disk of its own where we may mount one."""
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk"))
        own = PostgresServer((disk or folder) / "postgres", free_port(), "test", SMALL)
        postgres, valkey = OwnServer(own), OwnServer(ValkeyServer(folder / "valkey", free_port(), "test"))
        for one in (postgres, valkey):
            stack.callback(one.stop)
            await one.start()
        await own.create_database()
        await migrate(own.url())
        servers = stack.enter_context(open_broker())
        stage = await stack.enter_async_context(open_stage(own.url(), valkey.server.url, servers))
        portfolio = await stage.bank.add_booked("USD", (1, "5000"), (3, "10"))
        await stage.bank.add_booked("CHF", (2, "1234.56"), (3, "7"), (12, "33"))
        await stage.bank.pool.execute("update users set password_hash = $1, status = 'active'", CHEAP.hash(PASSWORD))
        links = [await stack.enter_async_context(Link(one.server.port).open()) for one in (postgres, valkey)]
        environment = addresses(stage, postgres, valkey, *links)

        def begin() -> subprocess.Popen[bytes]:
            launch = Launch(python_module("stream"), environment)
            return stack.enter_context(open_server(launch, folder / "stream.log"))

        web = await stack.enter_async_context(open_web(environment, folder / "web.log"))
        stack.callback(show, folder)
        scene = Scene(stage, postgres, valkey, *links, web, portfolio, disk, begin)
        await scene.quote(60)
        await eventually(scene.is_well, "all is well", 30)
        yield scene


def addresses(
    stage: Stage, postgres: OwnServer, valkey: OwnServer, postgres_link: Link, valkey_link: Link
) -> dict[str, str]:
    """Return the environment of a process that reaches the servers over the links."""
    database, redis = stage.settings.database_url.get_secret_value(), stage.settings.redis_url.get_secret_value()
    return {
        "DATABASE_URL": database.replace(f":{postgres.server.port}/", f":{postgres_link.port}/"),
        "REDIS_URL": redis.replace(f":{valkey.server.port}/", f":{valkey_link.port}/"),
        "KAFKA_BOOTSTRAP_SERVERS": stage.servers,
        "JWT_SECRET": SECRET,
        "REST_REQUESTS": "100000",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@asynccontextmanager
async def open_web(environment: dict[str, str], log: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run a web process; lends a client that is signed in as the owner of the portfolios."""
    port = free_port()
    launch = Launch(python_module("api"), {**environment, "PORT": str(port)})
    with open_server(launch, log) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as web:
            answer = await eventually(lambda: process.poll() or signed_in(web), "the owner can sign in", 30)
            assert isinstance(answer, dict), f"the web process has ended with status {answer}"
            web.headers["Authorization"] = f"Bearer {answer['token']}"
            yield web


async def signed_in(web: httpx.AsyncClient) -> dict[str, Any] | None:
    """Sign in; returns the answer, or nothing while nobody listens."""
    with suppress(httpx.TransportError):
        answer = await web.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
    return None


def show(folder: Path) -> None:
    """Print what the processes have said; pytest shows it where a test has failed."""
    for log in sorted(folder.glob("*.log")):
        print(log.name, log.read_text(errors="replace")[-20_000:], sep="\n")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk of 256 MiB; gives nothing where we may not mount."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0755", "tmpfs", str(folder)]
    if not mount or not umount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a disk to the last byte for a while."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        yield
    finally:
        ballast.unlink()
