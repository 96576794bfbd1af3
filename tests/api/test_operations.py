"""Breaks over REST: to compliance and administrators, exact, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import httpx
import pytest
from fakes_api import Cast, SignIn

from db.breaks import Break, record_breaks, resolve_account_breaks

pytestmark = pytest.mark.integration
MORNING = datetime(2026, 11, 21, 2, 5, tzinfo=UTC)
NIGHT = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)
PLACE = "/api/operations/breaks"


@pytest.fixture
async def broken(module_postgres_url: str, cast: Cast) -> AsyncIterator[None]:
    """Keep a break that persists in a client's shares, and one that was resolved in the list of accounts."""
    connection = await asyncpg.connect(module_postgres_url)
    shares = Break("IB-1", "quantity", cast.growth, 1, Decimal("10.500000"), Decimal(10), 7)
    await record_breaks(connection, [shares, Break("IB-404", "account_unknown")], MORNING)
    await resolve_account_breaks(connection, NIGHT)
    yield
    await connection.execute("delete from reconciliation_breaks")
    await connection.close()


@pytest.mark.parametrize("name", ["compliance", "admin"])
async def test_who_oversees_sees_what_persists(
    web: httpx.AsyncClient, bearer: SignIn, broken: None, cast: Cast, name: str
) -> None:
    answer = await web.get(PLACE, headers=await bearer(name))
    assert answer.status_code == 200
    (found,) = answer.json()
    assert (found["account"], found["portfolioId"], found["symbol"]) == ("IB-1", str(cast.growth), "AAPL")
    assert (found["what"], found["expected"], found["found"], found["version"]) == ("quantity", "10.500000", "10", 7)
    assert found["firstSeen"].startswith("2026-11-21T02:05:00")
    assert found["resolvedAt"] is None


async def test_what_is_resolved_is_shown_on_demand_after_what_persists(
    web: httpx.AsyncClient, bearer: SignIn, broken: None
) -> None:
    headers = await bearer("admin")
    found = (await web.get(PLACE, params={"resolved": True}, headers=headers)).json()
    assert [(one["account"], one["resolvedAt"] is None) for one in found] == [("IB-1", True), ("IB-404", False)]
    assert len((await web.get(PLACE, params={"resolved": True, "limit": 1}, headers=headers)).json()) == 1


@pytest.mark.parametrize("name", ["ana", "ben", "stranger", "advisor", "other", "kyc"])
async def test_nobody_else_sees_any(web: httpx.AsyncClient, bearer: SignIn, broken: None, name: str) -> None:
    answer = await web.get(PLACE, headers=await bearer(name))
    assert (answer.status_code, answer.json()) == (403, {"error": "Your role has no access to this."})


async def test_without_a_token_and_with_nonsense_it_is_refused(web: httpx.AsyncClient, bearer: SignIn) -> None:
    assert (await web.get(PLACE)).status_code == 401
    headers = await bearer("admin")
    for bad in ({"limit": 0}, {"limit": 1_000_000}, {"resolved": "perhaps"}):
        assert (await web.get(PLACE, params=bad, headers=headers)).status_code == 400
