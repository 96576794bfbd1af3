"""Two real ingest processes: one leads, and the other takes over when it is killed, stopped for a while, or ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fakes import eventually, open_server
from fakes_faults import show
from fakes_iboss import API_KEY, INSTRUMENTS, SERVICE, Simulator, open_simulator, seed_tiny_bank, tiny_bank
from fakes_stream import Tail, open_tail
from prometheus_client.parser import text_string_to_metric_families

from alhambra.launch import Launch, python_module
from alhambra.ports import free_port
from ingest.leadership import LeaseTimes
from stream.messages import QUOTES_TOPIC, decode_quotes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
SOURCES = ("iboss", "market")


@dataclass
class Ingest:
    """A real ingest process, `python -m ingest`, of both sources."""

    log: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    running: ExitStack = field(default_factory=ExitStack)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        launch = Launch(python_module("ingest"), {**self.environment, "METRICS_PORT": str(self.port)})
        self.process = self.running.enter_context(open_server(launch, self.log))

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
        self.running.close()

    async def led(self) -> dict[str, int]:
        """Return the epoch of each source that it leads; raises where it does not answer."""
        async with httpx.AsyncClient(timeout=2) as web:
            text = (await web.get(f"http://127.0.0.1:{self.port}/metrics")).text
        samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
        held = {one.labels["source"]: int(one.value) for one in samples if one.name == "alhambra_lease_epoch"}
        return {source: epoch for source, epoch in held.items() if epoch}

    async def leads(self) -> dict[str, int] | None:
        """Return the epochs where it leads all sources."""
        try:
            found = await self.led()
        except httpx.TransportError:
            return None
        return found if set(found) == set(SOURCES) else None

    async def stands_by(self) -> bool:
        """Say whether it waits for all sources: its metrics are there, and none is led."""
        try:
            return await self.led() == {} and "standby" in self.log.read_text()
        except httpx.TransportError:
            return False


@dataclass
class Pair:
    """Two processes, what they read from and what they write to."""

    first: Ingest
    second: Ingest
    simulator: Simulator
    database: asyncpg.Pool
    quotes: Tail
    references: set[str]

    async def trade(self) -> None:
        self.references.add(await self.simulator.trade("IB1", "IBM", "1", "100"))

    async def all_is_kept(self) -> bool:
        """Say whether every booking is in the ledger once, and published."""
        rows = await self.database.fetch(
            "select reference_id, count(*), bool_and(published_at is not null) from transactions group by reference_id"
        )
        return {row[0]: (row[1], row[2]) for row in rows} == dict.fromkeys(self.references, (1, True))

    async def quoted_by(self, epoch: int) -> bool:
        """Say whether quotes of the leader of that epoch have come."""
        return any(decode_quotes(one).epoch == epoch for one in await self.quotes.values())


async def fill(database: asyncpg.Pool) -> None:
    await seed_tiny_bank(database, tiny_bank())
    today = datetime.now(UTC).date()
    closes = [(one.id, today - timedelta(days), 100.0 + days % 3) for one in INSTRUMENTS for days in range(1, 31)]
    await database.executemany("insert into daily_prices (instrument_id, date, close) values ($1, $2, $3)", closes)


@asynccontextmanager
async def open_pair(folder: Path, postgres_url: str, redis_url: str, kafka_servers: str) -> AsyncIterator[Pair]:
    async with (
        AsyncExitStack() as closing,
        asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as database,
        open_simulator(folder) as simulator,
        open_tail(kafka_servers, QUOTES_TOPIC) as quotes,
    ):
        await fill(database)
        environment = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
            "IBOSS_API_URL": f"{simulator.url}/soap",
            "IBOSS_USERNAME": SERVICE.username,
            "IBOSS_PASSWORD": SERVICE.password,
            "IBOSS_API_KEY": API_KEY,
            "IBOSS_POLL_SECONDS": "0.2",
            "MARKET_FEED": "simulated:100",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        first, second = (Ingest(folder / f"ingest-{number}.log", environment) for number in (1, 2))
        closing.callback(show, folder)
        closing.callback(second.stop)
        closing.callback(first.stop)
        references = {one.reference for one in tiny_bank().bookings}
        pair = Pair(first, second, simulator, database, quotes, references)
        first.start()
        epochs = await eventually(first.leads, "the first leads", 60)
        second.start()
        await eventually(second.stands_by, "the second stands by", 60)
        await eventually(pair.all_is_kept, "what there was is kept", 30)
        await eventually(lambda: pair.quoted_by(epochs["market"]), "the first quotes", 30)
        yield pair


async def seconds_until(condition: Callable[[], Coroutine[Any, Any, Any]], what: str) -> tuple[float, Any]:
    """Wait, and return how long that took and what it gave."""
    began_s = time.monotonic()
    found = await eventually(condition, what, 60)
    return time.monotonic() - began_s, found


@pytest.mark.parametrize(
    ("number", "within_s"),
    # Killed, it is found dead by who runs on the same machine; held, its lease must end; ended, it gives it up.
    [(signal.SIGKILL, 7.0), (signal.SIGSTOP, 7.0), (signal.SIGTERM, LeaseTimes().lasts_s - 1.0)],
)
async def test_a_standby_takes_over_and_what_comes_meanwhile_is_kept_once(
    tmp_path: Path, postgres_url: str, redis_url: str, kafka_servers: str, number: signal.Signals, within_s: float
) -> None:
    async with open_pair(tmp_path, postgres_url, redis_url, kafka_servers) as pair:
        before = await pair.first.led()
        trading = asyncio.create_task(_trade_on(pair))
        await asyncio.sleep(0.3)  # so that it happens in the middle of something
        pair.first.signal(number)
        held_ns = time.time_ns()
        took_s, epochs = await seconds_until(pair.second.leads, "the second leads")
        quoted_s, _ = await seconds_until(lambda: pair.quoted_by(epochs["market"]), "the second quotes")
        print(f"{number.name}: led after {took_s:.2f} s, quoted {quoted_s:.2f} s later")
        assert all(epochs[source] > before[source] for source in SOURCES)
        assert took_s < within_s
        await trading
        await eventually(pair.all_is_kept, "what came meanwhile is kept, once, and published", 30)
        if number == signal.SIGSTOP:
            await _comes_back(pair, before, epochs, held_ns)


async def _trade_on(pair: Pair) -> None:
    for _ in range(20):
        await pair.trade()
        await asyncio.sleep(0.05)  # so that they come while something is going on, and not all before it


async def _comes_back(pair: Pair, before: dict[str, int], epochs: dict[str, int], held_ns: int) -> None:
    """See that who was held for a while finds itself a standby, and has sent nothing of what it did since."""
    pair.first.signal(signal.SIGCONT)
    await eventually(pair.first.stands_by, "who was held finds that another leads", 30)
    await pair.trade()
    await eventually(pair.all_is_kept, "bookings go on", 30)
    back_ns = time.time_ns()

    async def made_ns(epoch: int) -> int:
        batches = [decode_quotes(one) for one in await pair.quotes.values()]
        return max(one.received_ns for one in batches if one.epoch == epoch)

    async def is_read() -> bool:
        return await made_ns(epochs["market"]) > back_ns + 500_000_000

    await eventually(is_read, "quotes go on")
    assert await made_ns(before["market"]) <= held_ns
    assert await pair.second.leads() == epochs
