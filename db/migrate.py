"""Bring a database to the newest schema: alembic's revisions, each an SQL script beside it.

There is no downgrade: a schema goes forward, and a mistake is mended by the next revision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

SCRIPTS = Path(__file__).with_name("migrations")
CONNECT_TIMEOUT_S = 10.0
_LOCK = "select pg_advisory_xact_lock(hashtext('alhambra.migrate'))"


async def migrate(url: str) -> str:
    """Upgrade the database at `url` (postgresql://…) to the newest revision and return it.

    All of it is one transaction, and a second process that migrates at the same time waits for it.
    Raises `OSError` or `asyncpg.PostgresError` when the server cannot be reached or refuses.
    """
    async with _open_engine(url) as engine, engine.begin() as connection:
        await connection.execute(text(_LOCK))
        await connection.run_sync(_upgrade)
    return head()


async def revision(url: str) -> str | None:
    """Return the revision of the database at `url`, or None where nothing has been migrated."""
    async with _open_engine(url) as engine, engine.connect() as connection:
        return await connection.run_sync(_current)


def head() -> str:
    """Return the newest revision that this version of the program knows."""
    found = ScriptDirectory.from_config(_configuration()).get_current_head()
    if found is None:
        raise FileNotFoundError(f"no migrations in {SCRIPTS}: the installation is incomplete")
    return found


def run_script(revision_file: str) -> None:
    """Execute the SQL script beside a revision's Python file; for use in its `upgrade`.

    The script goes to the driver as it is, because SQLAlchemy prepares statements, and only one can
    be prepared at a time.
    """
    script = Path(revision_file).with_suffix(".sql").read_text(encoding="utf-8")
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection was closed during the migration")
    await_only(driver.execute(script))


@asynccontextmanager
async def _open_engine(url: str) -> AsyncIterator[AsyncEngine]:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(
            url, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "alhambra migrate"}
        )

    # asyncpg reads the URL itself: SQLAlchemy would not know options such as sslmode.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        yield engine
    finally:
        await engine.dispose()


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return configuration


def _upgrade(connection: Connection) -> None:
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
