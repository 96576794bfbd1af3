"""Start the embedded servers once for all tests and lend each test a clean part of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from fakes import eventually, open_server
from hypothesis import settings

from alhambra.embedded.broker import open_broker
from alhambra.embedded.postgres import PostgresServer
from alhambra.embedded.valkey import ValkeyServer
from alhambra.ports import free_port
from db.live import create_redis
from db.migrate import migrate

TEMPLATE = "template_migrated"
settings.register_profile("alhambra", deadline=None)  # a first example compiles, and a busy machine is slow
settings.load_profile("alhambra")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public data sets, or skip where it is missing."""
    folder = Path(os.environ.get("ALHAMBRA_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets in {folder} (or ALHAMBRA_SHARED)")
    return folder


@pytest.fixture(scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """Run one PostgreSQL for the session; what it stores need not survive."""
    folder = tmp_path_factory.mktemp("servers") / "postgres"
    quick = (("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "200"))
    server = PostgresServer(folder, free_port(), "test", quick)
    server.prepare()
    with open_server(server.launch(), folder.with_suffix(".log")):
        await eventually(server.answers, "PostgreSQL answers")
        yield server


@pytest.fixture(scope="session")
async def migrated_template(postgres_server: PostgresServer) -> str:
    """Migrate a database once, from which every test's own is copied."""
    await postgres_server.create_database(TEMPLATE)
    await migrate(postgres_server.url(TEMPLATE))
    return TEMPLATE


async def _fresh_database(server: PostgresServer, template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(server.url("postgres"))
    try:
        await admin.execute(f"create database {name} template {template} strategy file_copy")
        yield server.url(name)
        await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer, migrated_template: str) -> AsyncIterator[str]:
    """Lend a freshly migrated database to one test."""
    async for url in _fresh_database(postgres_server, migrated_template):
        yield url


@pytest.fixture(scope="module")
async def module_postgres_url(postgres_server: PostgresServer, migrated_template: str) -> AsyncIterator[str]:
    """Lend a freshly migrated database to the tests of one module."""
    async for url in _fresh_database(postgres_server, migrated_template):
        yield url


@pytest.fixture
async def empty_postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """Lend an empty database to one test."""
    async for url in _fresh_database(postgres_server, "template0"):
        yield url


@pytest.fixture(scope="session")
async def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValkeyServer]:
    """Run one Valkey for the session."""
    folder = tmp_path_factory.mktemp("servers") / "valkey"
    server = ValkeyServer(folder, free_port(), "test")
    server.prepare()
    with open_server(server.launch(), folder.with_suffix(".log")):
        await eventually(server.answers, "Valkey answers")
        yield server


@pytest.fixture
async def redis_url(valkey_server: ValkeyServer) -> str:
    """Lend the session's Valkey, emptied, to one test."""
    client = create_redis(valkey_server.url, "tests")
    await client.flushall()
    await client.aclose()
    return valkey_server.url


@pytest.fixture(scope="module")
async def module_redis_url(valkey_server: ValkeyServer) -> str:
    """Lend the session's Valkey, emptied, to the tests of one module."""
    client = create_redis(valkey_server.url, "tests")
    await client.flushall()
    await client.aclose()
    return valkey_server.url


@pytest.fixture
def kafka_servers() -> Iterator[str]:
    """Lend a broker of its own, with empty topics, to one test."""
    with open_broker() as servers:
        yield servers


@pytest.fixture(scope="module")
def module_kafka_servers() -> Iterator[str]:
    """Lend a broker of its own to the tests of one module."""
    with open_broker() as servers:
        yield servers
