"""Run real web processes, write to Redis as the stream worker does, and stand between clients and servers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import psutil
from fakes import eventually, open_server
from fakes_api import SECRET, Cast, create_valuation, publish, publish_totals
from fakes_faults import OwnServer, show
from fakes_live import Follower, cents, holds
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import RedisError

from alhambra.launch import Launch, python_module
from alhambra.ports import free_port
from db.live import LiveStore, StoredQuote
from stream.messages import Valuation

SIGNED_IN_OFTEN = {"SIGN_IN_ATTEMPTS": "100000", "SIGN_IN_ADDRESS_FAILURES": "100000", "REST_REQUESTS": "1000000"}


class ApiProcess:
    """A real web process, `python -m api`, that may be ended and begun again at the same address."""

    def __init__(self, log: Path, postgres_url: str, redis_url: str, **more: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._environment = {
            "PORT": str(self.port),
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis_url,
            "DATABASE_POOL": "4",
            "JWT_SECRET": SECRET,
            "PYTHONPATH": os.pathsep.join(sys.path),
            **SIGNED_IN_OFTEN,
            **{name.upper(): str(value) for name, value in more.items()},
        }
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def resident_mib(self) -> float:
        """Return how much memory it holds."""
        assert self._process is not None
        return float(psutil.Process(self._process.pid).memory_info().rss) / 2**20

    async def start(self) -> None:
        """Begin, and wait until it serves."""
        launch = Launch(python_module("api"), self._environment)
        self._process = self._running.enter_context(open_server(launch, self._log))
        await eventually(self._serves, f"the web process serves; see {self._log.name}", 60)

    async def stop(self) -> None:
        """Ask it to end as a rolling restart does, and wait until it has."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.poll() is not None, "the web process has ended", 15)
        self._running.close()
        assert process.returncode in (0, -signal.SIGTERM), process.returncode

    def kill(self) -> None:
        """End it at once, without a word."""
        assert self._process is not None
        self._process.kill()
        self._running.close()

    def close(self) -> None:
        """End it, where it runs."""
        self._running.close()

    async def metric(self, name: str, **labels: str) -> float:
        """Return a metric as Prometheus reads it, 0 where it was never counted."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as web:
            text = (await web.get("/metrics")).text
        samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())

    async def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the web process has ended: {self._log.read_text()[-4000:]}"
        with suppress(httpx.TransportError):
            async with httpx.AsyncClient(base_url=self.url, timeout=5) as web:
                return (await web.get("/metrics")).status_code == 200
        return False


@asynccontextmanager
async def open_api_processes(
    folder: Path, count: int, postgres_url: str, redis_url: str, **more: object
) -> AsyncIterator[list[ApiProcess]]:
    """Lend web processes that serve; what they have said is shown where a test has failed."""
    processes = [ApiProcess(folder / f"api-{number}.log", postgres_url, redis_url, **more) for number in range(count)]
    try:
        await asyncio.gather(*(one.start() for one in processes))
        yield processes
    finally:
        for one in processes:
            one.close()
        show(folder)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Several web processes on one PostgreSQL, and on a Valkey that may be killed."""

    apis: list[ApiProcess]
    valkey: OwnServer
    store: LiveStore
    cast: Cast

    @property
    def urls(self) -> list[str]:
        """Return where they serve."""
        return [one.url for one in self.apis]


class Ticker:
    """Value the portfolios of the small bank again and again, as the stream worker does, through outages of Redis."""

    def __init__(self, store: LiveStore, cast: Cast, hz: float, rows: int = 3, epoch: int = 1) -> None:
        self.newest: dict[str, Valuation] = {}
        self.epoch = epoch
        self.seq = 1_000_000 * epoch  # a floor's totals are all of one epoch: newer by their seq alone
        self._store = store
        self._portfolios = {cast.growth: "EUR", cast.income: "USD", cast.bens: "USD"}
        self._of_ana = (cast.growth, cast.income)
        self._step_s = 1.0 / hz
        self._symbols = [f"S{number}" for number in range(rows)]
        self._going = asyncio.Event()
        self._turn = asyncio.Lock()
        self._going.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tick until the end; that it has failed by itself is the test's failure."""
        task = asyncio.create_task(self._run(), name="ticker")
        try:
            yield
        finally:
            task.cancel()
            [outcome] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), f"the ticker has ended: {outcome!r}"

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Hold it, with the newest values written; only its beat goes on."""
        self._going.clear()
        try:
            async with self._turn:
                await eventually(self._tick, "the newest values are written", 30)
            yield
        finally:
            self._going.set()

    def is_held_by(self, follower: Follower, streams: Iterable[str]) -> bool:
        """Say whether a client holds the newest of each of these streams, and holds what is consistent in itself."""
        return all(self._is_held(follower, stream) for stream in streams)

    def _is_held(self, follower: Follower, stream: str) -> bool:
        kind, _, key = stream.partition(":")
        if kind == "portfolio":
            return holds(follower, self.newest[key])
        if stream not in follower.totals:
            return False
        shown = cents([follower.totals[stream]["total_equity"]])
        expected = sum(cents([self.newest[str(one)].total_equity]) for one in self._of_ana)
        return shown == (2 * expected if kind == "floor" else expected)

    async def _run(self) -> None:
        beaten = 0.0
        while True:
            if self._going.is_set():
                async with self._turn:
                    await self._tick()
            if time.monotonic() - beaten > 0.3:
                with suppress(RedisError):
                    await self._store.beat()
                beaten = time.monotonic()
            await asyncio.sleep(self._step_s)

    async def _tick(self) -> bool:
        """Write the next values; returns False where Redis is away."""
        self.seq += 1
        newest = [
            create_valuation(one, self._values(number), self.epoch, self.seq, currency)
            for number, (one, currency) in enumerate(self._portfolios.items())
        ]
        self.newest = {one.portfolio_id: one for one in newest}
        amounts = {
            one: (cents([self.newest[str(one)].total_equity]), cents([self.newest[str(one)].day_pnl]))
            for one in self._of_ana
        }
        rate = StoredQuote("EUR/USD", 1.0, 1.0, time.time_ns(), "test")
        try:
            await self._store.write_quotes({rate.symbol: msgspec.json.encode(rate)})
            await self._store.publish_quotes([rate])
            await publish(self._store, *newest)
            await publish_totals(self._store, amounts, self.seq, self.epoch)
        except (RedisError, OSError):
            return False
        return True

    def _values(self, number: int) -> dict[str, tuple[int, int]]:
        """Return what is held: most of it changes at each tick, and a row comes and goes."""
        shown = self._symbols[: len(self._symbols) - self.seq // 7 % 2]
        return {symbol: (1000 * place + self.seq + number, self.seq % 17) for place, symbol in enumerate(shown, 1)}


class Relay:
    """A TCP relay in front of a server: it can cut all connections, or hold everything that comes from the server."""

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._target = httpx.URL(target).port
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Relay until the end."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield
        finally:
            listener.close()
            self._open.set()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection; what was on its way is lost."""
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        """Keep back what comes from the server."""
        self._open.clear()

    def release(self) -> None:
        """Let it through again."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_writer = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, far_writer}
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer, held=True))
        except OSError:
            pass  # one end is gone, or was cut: so is the other
        finally:
            self._tasks.discard(task)
            for one in (writer, far_writer):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, held: bool = False) -> None:
        while data := await source.read(1 << 16):
            if held:
                await self._open.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError
