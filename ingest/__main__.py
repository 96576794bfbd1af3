"""Run the ingest process: `python -m ingest [iboss] [market]`, all sources by default.

Of several such processes one leads each source; the others stand by.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import asyncpg
import structlog
from pydantic import ValidationError

from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.iboss.client import IbossAddress
from ingest.iboss.worker import run_iboss
from ingest.leadership import Lease, Work, lead
from ingest.market.errors import MarketError
from ingest.market.source import check_feeds, parse_feeds
from ingest.market.worker import run_market
from ingest.settings import IngestSettings
from stream.runtime import configure_logging, explain_settings, run_worker, serve_metrics

SOURCES = ("iboss", "market")
RETRY_S = 2.0

log = structlog.get_logger()


class Misconfigured(Exception):
    """Say in one sentence what must be corrected before the process can start."""


def main() -> None:
    """Read the command line and the environment, then run until SIGTERM or SIGINT."""
    try:
        sources = parse_sources(sys.argv[1:])
        settings = read_settings(sources)
        check_feeds(parse_feeds(settings.market_feed) if "market" in sources else (), settings.venue_keys())
    except (Misconfigured, MarketError) as error:
        sys.exit(f"ingest: {error}")
    configure_logging("ingest", settings.log_level)
    serve_metrics(settings.metrics_port, settings.metrics_host)
    run_worker(ingest(settings, sources))


def parse_sources(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the sources named, or all; raises `Misconfigured` for an unknown one."""
    unknown = [one for one in arguments if one not in SOURCES]
    if unknown:
        raise Misconfigured(f"no source is called {unknown[0]}; there are {' and '.join(SOURCES)}")
    return tuple(dict.fromkeys(arguments)) or SOURCES


def read_settings(sources: Sequence[str]) -> IngestSettings:
    """Read the environment; raises `Misconfigured` naming what is missing or wrong, never its value."""
    try:
        settings = IngestSettings()
    except ValidationError as error:
        raise Misconfigured(explain_settings(error)) from None
    if "iboss" in sources:
        needed = {
            "IBOSS_API_URL": settings.iboss_api_url,
            "IBOSS_USERNAME": settings.iboss_username,
            "IBOSS_PASSWORD": settings.iboss_password.get_secret_value(),
        }
        absent = [name for name, value in needed.items() if not value]
        if absent:
            raise Misconfigured(f"the source iboss needs {', '.join(absent)}")
    return settings


async def ingest(settings: IngestSettings, sources: Sequence[str]) -> None:
    """Lead the sources, or stand by, in one task group until cancelled, beginning when PostgreSQL is there."""
    await _wait_for_database(settings.database_url)
    redis = create_redis(settings.redis_url, "ingest")
    try:
        async with open_pool(settings.database_url, "ingest") as pool, asyncio.TaskGroup() as tasks:
            live = LiveStore(redis)
            for name in sources:
                tasks.create_task(lead(pool, name, _work(name, settings, pool, live), live), name=name)
    finally:
        await redis.aclose()


def _work(name: str, settings: IngestSettings, pool: asyncpg.Pool, live: LiveStore) -> Work:
    """Return what the leader of a source does."""
    servers = settings.kafka_bootstrap_servers

    async def market(lease: Lease) -> None:
        await run_market(parse_feeds(settings.market_feed), pool, live, servers, lease, settings.venue_keys())

    async def iboss(lease: Lease) -> None:
        address = IbossAddress(
            settings.iboss_api_url,
            settings.iboss_username,
            settings.iboss_password.get_secret_value(),
            settings.iboss_api_key.get_secret_value(),
            settings.iboss_own_wsdl,
        )
        await run_iboss(
            address, pool, live, servers, settings.iboss_poll_seconds, lease.fence, settings.iboss_reconcile_hour
        )

    return {"market": market, "iboss": iboss}[name]


async def _wait_for_database(url: str) -> None:
    """Wait until PostgreSQL takes a connection; a wrong password or database is raised at once."""
    while True:
        try:
            await (await asyncpg.connect(url, timeout=5.0)).close()
        except (
            OSError,
            TimeoutError,
            asyncpg.CannotConnectNowError,
            asyncpg.ConnectionDoesNotExistError,
            asyncpg.InternalClientError,
        ) as error:
            log.warning("waiting for PostgreSQL", error=str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_S)
        else:
            return


if __name__ == "__main__":
    main()
