"""Two real market processes on one venue: the standby is quiet, and takes over from a leader that is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest
from fakes import eventually, open_server
from fakes_markets import CoinbaseMarket
from fakes_stream import Tail, open_tail
from fakes_venues import VenueServer

from alhambra.launch import Launch, python_module
from alhambra.ports import free_port
from stream.messages import QUOTES_TOPIC, QuoteBatch, decode_quotes

TAKEN_OVER_S = 10.0


@pytest.fixture
async def quotes(kafka_servers: str) -> AsyncIterator[Tail]:
    async with open_tail(kafka_servers, QUOTES_TOPIC) as tail:
        yield tail


async def add_bitcoin(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("insert into currencies (code, name, minor_units) values ('USD', 'Dollar', 2)")
    await connection.execute(
        "insert into instruments (id, symbol, name, asset_class, sector, country, currency) "
        "values (1, 'BTC/USD', 'Bitcoin', 'crypto', 'none', 'ZZ', 'USD')"
    )
    await connection.close()


async def batches(tail: Tail) -> list[QuoteBatch]:
    return [decode_quotes(value) for value in await tail.values()]


@pytest.mark.integration
async def test_a_leader_that_is_killed_is_followed_by_the_standby_and_fenced_off(
    postgres_url: str, redis_url: str, kafka_servers: str, quotes: Tail, tmp_path: Path
) -> None:
    await add_bitcoin(postgres_url)
    market = CoinbaseMarket({"BTC-USD": 91_000.0})
    async with VenueServer(market).open() as venue:
        environment = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
            "MARKET_FEED": f"coinbase?url={venue.ws_url}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

        def start(name: str) -> subprocess.Popen[bytes]:
            own = {**environment, "METRICS_PORT": str(free_port())}
            launch = Launch((*python_module("ingest"), "market"), own)
            return running.enter_context(open_server(launch, tmp_path / name))

        async def quoted(after: int) -> int:
            return max((batch.epoch for batch in await batches(quotes) if batch.epoch > after), default=0)

        with ExitStack() as running:
            leader = start("first.log")
            epoch = await eventually(lambda: quoted(0), "the first quotes", 60.0)
            start("second.log")
            standing = tmp_path / "second.log"
            await eventually(lambda: "standby" in standing.read_text(), "the second stands by", 60.0)
            await asyncio.sleep(0.5)
            assert len(venue.wires) == 1, "who stands by does not connect"

            killed = time.monotonic()
            leader.send_signal(signal.SIGKILL)
            await eventually(lambda: quoted(epoch), "the second quotes", TAKEN_OVER_S)
            print(f"quotes again {time.monotonic() - killed:.1f} s after the leader was killed")
            await eventually(lambda: len(venue.wires) == 1, "it alone is connected")
            epochs = [batch.epoch for batch in await batches(quotes)]
            assert epochs == sorted(epochs), "nothing of the old leader comes after the new one has begun"
