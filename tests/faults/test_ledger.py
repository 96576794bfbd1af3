"""Bookings while PostgreSQL dies again and again: each is in the ledger once, and on its topic."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from fakes import eventually, open_server
from fakes_faults import SMALL, OwnServer, show
from fakes_iboss import API_KEY, SERVICE, Simulator, open_simulator, seed_tiny_bank, tiny_bank
from fakes_stream import open_tail

from alhambra.embedded.postgres import PostgresServer
from alhambra.launch import Launch, python_module
from alhambra.ports import free_port
from db.migrate import migrate
from stream.messages import TRANSACTIONS_TOPIC, decode_booking

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
RIGHT_WITHIN_S = 30.0


@asynccontextmanager
async def open_postgres(folder: Path) -> AsyncIterator[OwnServer]:
    """Run a PostgreSQL of this test's own with the tiny bank in it."""
    server = PostgresServer(folder, free_port(), "test", SMALL)
    own = OwnServer(server)
    try:
        await own.start()
        await server.create_database()
        await migrate(server.url())
        connection = await asyncpg.connect(server.url())
        await seed_tiny_bank(connection, tiny_bank())
        await connection.close()
        yield own
    finally:
        own.stop()


async def kept(url: str) -> dict[str, tuple[int, bool]]:
    """Return by reference how often a booking is in the ledger, and whether it is published."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows = await connection.fetch(
            "select reference_id, count(*), bool_and(published_at is not null) from transactions group by reference_id"
        )
    finally:
        await connection.close()
    return {row[0]: (row[1], row[2]) for row in rows}


async def trade(simulator: Simulator, references: set[str], count: int) -> None:
    for _ in range(count):
        references.add(await simulator.trade("IB1", "IBM", "1", "100"))
        await asyncio.sleep(0.05)  # so that they come while something is going on, and not all before it


async def test_every_booking_is_kept_once_and_published_whatever_happens_to_postgresql(
    tmp_path: Path, redis_url: str, kafka_servers: str
) -> None:
    references = {one.reference for one in tiny_bank().bookings}
    async with (
        AsyncExitStack() as closing,
        open_postgres(tmp_path / "postgres") as postgres,
        open_simulator(tmp_path) as simulator,
        open_tail(kafka_servers, TRANSACTIONS_TOPIC) as tail,
    ):
        environment = {
            "DATABASE_URL": postgres.server.url(),
            "REDIS_URL": redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
            "IBOSS_API_URL": f"{simulator.url}/soap",
            "IBOSS_USERNAME": SERVICE.username,
            "IBOSS_PASSWORD": SERVICE.password,
            "IBOSS_API_KEY": API_KEY,
            "IBOSS_POLL_SECONDS": "0.2",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

        closing.callback(show, tmp_path)

        async def all_are_kept() -> bool:
            return await kept(postgres.server.url()) == dict.fromkeys(references, (1, True))

        log = tmp_path / "ingest.log"
        with open_server(Launch(python_module("ingest", "iboss"), environment), log) as process:
            await eventually(all_are_kept, "what there was is kept", RIGHT_WITHIN_S)
            for _ in range(2):
                some = len(references) + 5
                trading = asyncio.create_task(trade(simulator, references, 20))
                await eventually(lambda enough=some: len(references) > enough, "trades come in")
                postgres.kill()
                await trading
                await postgres.start()
                await eventually(all_are_kept, "what came meanwhile is kept, once, and published", RIGHT_WITHIN_S)
            with postgres.frozen():
                await trade(simulator, references, 20)
            await eventually(all_are_kept, "what came while it was frozen too", RIGHT_WITHIN_S)
            assert process.poll() is None, "the ingest process has ended"

        async def all_are_published() -> bool:
            return {decode_booking(value).reference for value in await tail.values()} == references

        await eventually(all_are_published, "each stands in the topic")
