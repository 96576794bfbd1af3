"""Lend the small bank, and real web processes on a Valkey of their own that a test may kill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes_api import Cast, seed_cast
from fakes_faults import OwnServer
from fakes_live import TRANSPORTS
from fakes_processes import Cluster, open_api_processes

from alhambra.embedded.valkey import ValkeyServer
from alhambra.ports import free_port
from db.live import LiveStore, create_redis


@pytest.fixture(scope="module")
async def cast(module_postgres_url: str) -> Cast:
    """Write the small bank once for a module."""
    return await seed_cast(module_postgres_url)


@pytest.fixture(scope="module")
async def cluster(
    module_postgres_url: str, cast: Cast, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """Run two web processes for a module."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    valkey = OwnServer(ValkeyServer(folder / "valkey", free_port(), "test"))
    await valkey.start()
    redis = create_redis(valkey.server.url, "tests")
    limits = {"live_heartbeat_s": 0.2, "live_rights_s": 1.0, "live_connections": 500}
    try:
        async with open_api_processes(folder, 2, module_postgres_url, valkey.server.url, **limits) as apis:
            yield Cluster(apis, valkey, LiveStore(redis), cast)
    finally:
        await redis.aclose()
        valkey.stop()


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Name each of the two transports in turn."""
    return str(request.param)
