"""Serve one web process for the tests of each module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fakes_api import PASSWORD, Cast, RunningApi, SignIn, email, open_api, seed_cast
from fakes_live import TRANSPORTS

from db.live import LiveStore, create_redis


@pytest.fixture(scope="module")
async def cast(module_postgres_url: str) -> Cast:
    """Write the small bank once for a module."""
    return await seed_cast(module_postgres_url)


@pytest.fixture(scope="module")
async def api(module_postgres_url: str, module_redis_url: str, cast: Cast) -> AsyncIterator[RunningApi]:
    """Serve a web process that looks after itself often, with limits that no test meets by accident."""
    quick = {"live_heartbeat_s": 0.1, "live_rights_s": 0.2, "live_stalled_s": 0.5, "live_door_s": 0.5}
    wide = {"sign_in_attempts": 1000, "sign_in_address_failures": 1000, "rest_requests": 10_000}
    async with open_api(module_postgres_url, module_redis_url, **quick, **wide) as running:
        yield running


@pytest.fixture(scope="module")
async def store(module_redis_url: str) -> AsyncIterator[LiveStore]:
    """Lend the live state that the stream would write."""
    redis = create_redis(module_redis_url, "tests")
    yield LiveStore(redis)
    await redis.aclose()


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Name each of the two transports in turn."""
    return str(request.param)


@pytest.fixture
async def web(api: RunningApi) -> AsyncIterator[httpx.AsyncClient]:
    """Lend a client without cookies."""
    async with httpx.AsyncClient(base_url=api.url) as client:
        yield client


@pytest.fixture
def bearer(web: httpx.AsyncClient) -> SignIn:
    """Sign somebody in and return the headers of their requests."""

    async def sign_in(name: str) -> dict[str, str]:
        answer = await web.post("/api/auth/login", json={"email": email(name), "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return sign_in
