"""What IBOSS bears is kept to over real HTTP, and people are told how it goes and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fakes import eventually
from fakes_iboss import SERVICE, Simulator, envelope, open_service, open_simulator
from starlette.requests import Request
from starlette.responses import Response

from db.live import HealthReport, LiveStore, create_redis
from ingest.iboss.client import IbossClient, Retries, open_iboss
from ingest.iboss.errors import CircuitOpen, PasswordExpired, QuotaExceeded, SourceUnavailable
from ingest.iboss.guard import CallGuard
from ingest.iboss.health import IbossHealth
from ingest.iboss.latency import FEWEST

ONCE = Retries(attempts=1)
SESSION = "<AuthenticateResponse><SessionToken>t</SessionToken></AuthenticateResponse>"
ACCOUNTS = "<GetAccountsResponse/>"


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with open_simulator(tmp_path) as running:
        yield running


async def ask_for_ever(client: IbossClient) -> None:
    while True:
        await client.accounts()


async def test_however_much_is_asked_signing_in_stays_possible(simulator: Simulator) -> None:
    await simulator.control(quota_per_minute=20)
    async with open_iboss(simulator.address(), ONCE) as client:
        with pytest.raises(QuotaExceeded, match="few calls"):
            await ask_for_ever(client)
        await simulator.control(expire_sessions=True)
        await client.authenticate()


async def test_the_circuit_opens_asks_nothing_more_and_closes_when_iboss_is_back() -> None:
    asked: list[str] = []
    broken = True

    async def serve(request: Request) -> Response:
        asked.append(request.headers["SOAPAction"])
        if broken:
            return Response("bad gateway", 502)
        return Response(envelope(SESSION if "Authenticate" in asked[-1] else ACCOUNTS), media_type="text/xml")

    guard = CallGuard()
    async with open_service(serve) as address, open_iboss(address, ONCE, guard) as client:
        for _ in range(5):
            with pytest.raises(SourceUnavailable):
                await client.accounts()
        with pytest.raises(CircuitOpen) as caught:
            await client.accounts()
        assert len(asked) == 5
        assert 0 < (caught.value.retry_after_s or 0) <= 2.0
        assert "circuit open" in guard.words()
        broken = False

        async def answered() -> bool:
            try:
                return bool(await client.accounts())
            except CircuitOpen:
                return False

        await eventually(answered, "the circuit closes")
        assert "circuit" not in guard.words()


async def test_a_429_is_kept_to_by_every_call_also_by_date() -> None:
    asked = 0

    async def serve(_request: Request) -> Response:
        nonlocal asked
        asked += 1
        until = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
        busy = "<s:Fault><faultcode>s:Server</faultcode><faultstring>too busy</faultstring></s:Fault>"
        return Response(envelope(busy), 429, {"Retry-After": until})

    guard = CallGuard()
    async with open_service(serve) as address:
        for _ in range(3):
            async with open_iboss(address, ONCE, guard) as client:
                with pytest.raises(QuotaExceeded) as caught:
                    await client.accounts()
        assert 290 < caught.value.retry_after_s <= 300
    assert asked == 1


async def test_health_tells_latency_quota_and_reconciliation_apart(simulator: Simulator, redis_url: str) -> None:
    redis = create_redis(redis_url, "tests")
    live, guard = LiveStore(redis), CallGuard()
    health = IbossHealth(live, guard)
    health.succeeded("3 portfolios")
    async with open_iboss(simulator.address(), ONCE, guard) as client:
        for _ in range(FEWEST):
            await client.accounts()
        await health.report()
        found = await live.health()
        assert all(found[name].ok for name in ("iboss", "iboss:latency", "reconciliation"))
        assert "3 portfolios; p95 " in found["iboss"].detail
        assert "of 3,000 calls left" in found["iboss"].detail
        await simulator.control(latency_ms=600)
        await client.accounts()
        await client.accounts()
    health.reconciled(False, "open: 1 quantity")
    await health.report()
    found = await live.health()
    await redis.aclose()
    slow = found["iboss:latency"]
    assert found["iboss"].ok
    assert (slow.ok, found["reconciliation"].ok) == (False, False)
    assert "the target is 500 ms" in slow.detail


async def test_an_expired_password_is_told_with_what_to_do_until_it_works(simulator: Simulator, redis_url: str) -> None:
    redis = create_redis(redis_url, "tests")
    live, guard = LiveStore(redis), CallGuard()
    health = IbossHealth(live, guard)

    async def report() -> HealthReport:
        await health.report()
        return (await live.health())["iboss"]

    await simulator.control(expire_password=SERVICE.username)
    async with open_iboss(simulator.address(), ONCE, guard) as client:
        with pytest.raises(PasswordExpired) as caught:
            await client.accounts()
    health.failed(caught.value)
    told = await report()
    assert not told.ok
    assert told.detail.startswith("PasswordExpired: ")
    assert "tried again in 15 min" in told.detail
    assert "set IBOSS_PASSWORD" in told.detail
    assert SERVICE.password not in told.detail
    health.succeeded("3 portfolios")
    assert (await report()).ok
    await redis.aclose()
