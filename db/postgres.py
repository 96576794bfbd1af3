"""Make PostgreSQL connections: one pool a process, named after it, that never waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec

ACQUIRE_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 3.0
# What holds rows in a transaction and does nothing, for longer than Kafka is waited for, was stopped or is lost: others
# must not wait for those rows for ever.
IDLE_IN_TRANSACTION_MS = 15_000
# What asyncpg and the network raise when PostgreSQL is away; a commit that was under way may have happened.
DATABASE_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


@asynccontextmanager
async def open_pool(url: str, name: str, size: int = 8) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool whose connections carry the process's name and a statement timeout of ten seconds.

    A transaction in which nothing happens for fifteen seconds is ended by the server.

    Rows' `jsonb` columns come and go as Python values. Use `acquire(pool)`, which bounds the wait.
    """
    pool = await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        timeout=5.0,
        command_timeout=10.0,
        server_settings={
            "application_name": name,
            "statement_timeout": "10000",
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            "timezone": "UTC",
        },
        init=_register_json,
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def acquire(pool: asyncpg.Pool, within_s: float | None = None) -> AsyncIterator[asyncpg.Connection]:
    """Take a connection from the pool within two seconds, to be used for `within_s`; raises `TimeoutError` after it.

    A connection on which something timed out or was cancelled is dropped: a server that is frozen, or behind a link
    that swallows everything, acknowledges no cancellation. After a time-out the idle ones are not trusted either.
    """
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        try:
            async with asyncio.timeout(within_s):
                yield connection
        except (TimeoutError, asyncio.CancelledError) as error:
            connection.terminate()
            if isinstance(error, TimeoutError):
                await pool.expire_connections()
            raise


async def _register_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
    )
