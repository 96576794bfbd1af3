"""Rules and alerts over REST: strict bodies, one's own only, from programs and from our own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fakes_api import PASSWORD, Cast, RunningApi, SignIn, email

from db.alert_rules import RULES_PER_USER, changed_rules
from db.alerts import Crossing, raise_alerts

pytestmark = pytest.mark.integration
ON_APPLE = {"kind": "price", "instrument": "AAPL", "direction": "above", "threshold": 200.5}


@pytest.fixture
async def database(module_postgres_url: str, cast: Cast) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection, and leave no rule behind."""
    connection = await asyncpg.connect(module_postgres_url)
    yield connection
    await connection.execute("delete from alerts")
    await connection.execute("delete from alert_rules")
    await connection.execute("update users set alert_seq = 0")
    await connection.close()


@pytest.fixture
async def ana(database: asyncpg.Connection, bearer: SignIn) -> dict[str, str]:
    """Sign ana in, who has no rules yet."""
    return await bearer("ana")


async def cross(connection: asyncpg.Connection, *rules: str) -> None:
    """Raise the alerts of these rules, as a stream worker does."""
    versions = {one.id: one.version for one in await changed_rules(connection, 0)}
    at = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
    async with connection.transaction():
        await raise_alerts(
            connection, [Crossing(UUID(one), versions[UUID(one)], 201.25, "feed", 7, at) for one in rules]
        )


async def add(web: httpx.AsyncClient, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = await web.post("/api/alerts/rules", json={**ON_APPLE, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_rule_is_set_listed_changed_and_deleted(web: httpx.AsyncClient, ana: dict[str, str]) -> None:
    made = await add(web, ana)
    assert (made["kind"], made["subject"], made["title"]) == ("price", "quote:AAPL", "Apple Inc.")
    assert (made["direction"], made["threshold"], made["currency"]) == ("above", 200.5, "USD")
    assert (made["repeat"], made["active"], made["state"]) == ("once", True, "armed")
    assert (await web.get("/api/alerts/rules", headers=ana)).json() == [made]
    place = f"/api/alerts/rules/{made['id']}"
    changed = (await web.patch(place, json={"threshold": 210, "active": False}, headers=ana)).json()
    assert changed == {**made, "threshold": 210.0, "active": False, "state": "paused"}
    assert (await web.delete(place, headers=ana)).json() == {"deleted": True}
    assert (await web.get("/api/alerts/rules", headers=ana)).json() == []
    assert (await web.delete(place, headers=ana)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**ON_APPLE, "colour": "red"},
        {**ON_APPLE, "kind": "weather"},
        {**ON_APPLE, "threshold": "much"},
        {**ON_APPLE, "threshold": -1},
        {**ON_APPLE, "threshold": 1e300},
        {**ON_APPLE, "direction": "sideways"},
        {**ON_APPLE, "repeat": "hourly"},
        {**ON_APPLE, "instrument": "NOBODY"},
        {**ON_APPLE, "instrument": "USD"},
        {**ON_APPLE, "portfolio": str(uuid4())},
        {**ON_APPLE, "kind": "day_pnl"},
        {**ON_APPLE, "kind": "stale", "direction": "below"},
        {"kind": "price", "threshold": 1},
        {"kind": "total_equity", "portfolio": "mine", "threshold": 1},
        {"kind": "total_equity", "portfolio": str(uuid4()), "threshold": 1},
        {"kind": "stale", "portfolio": str(uuid4()), "threshold": 2},
    ],
)
async def test_a_rule_that_means_nothing_is_refused_with_a_sentence(
    web: httpx.AsyncClient, ana: dict[str, str], body: dict[str, Any]
) -> None:
    answer = await web.post("/api/alerts/rules", json=body, headers=ana)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert (await web.get("/api/alerts/rules", headers=ana)).json() == []


@pytest.mark.parametrize("body", [{}, {"threshold": "x"}, {"kind": "price"}, {"active": "yes"}])
async def test_a_change_that_changes_nothing_or_what_must_stay_is_refused(
    web: httpx.AsyncClient, ana: dict[str, str], body: dict[str, Any]
) -> None:
    made = await add(web, ana)
    assert (await web.patch(f"/api/alerts/rules/{made['id']}", json=body, headers=ana)).status_code == 400


@pytest.mark.parametrize(
    ("name", "status"),
    [("ana", 201), ("advisor", 201), ("compliance", 201), ("admin", 201), ("ben", 400), ("kyc", 400)],
)
async def test_a_rule_on_a_portfolio_is_for_who_may_see_it(
    web: httpx.AsyncClient, database: asyncpg.Connection, bearer: SignIn, cast: Cast, name: str, status: int
) -> None:
    body = {"kind": "day_pnl_pct", "portfolio": str(cast.growth), "direction": "below", "threshold": -2}
    answer = await web.post("/api/alerts/rules", json=body, headers=await bearer(name))
    assert answer.status_code == status


async def test_the_rule_of_another_is_not_there(web: httpx.AsyncClient, ana: dict[str, str], bearer: SignIn) -> None:
    place, ben = f"/api/alerts/rules/{(await add(web, ana))['id']}", await bearer("ben")
    assert (await web.patch(place, json={"threshold": 1}, headers=ben)).status_code == 404
    assert (await web.delete(place, headers=ben)).status_code == 404
    assert (await web.get("/api/alerts/rules", headers=ben)).json() == []


async def test_a_hundred_and_first_rule_is_refused(
    web: httpx.AsyncClient, ana: dict[str, str], database: asyncpg.Connection, cast: Cast
) -> None:
    await database.execute(
        "insert into alert_rules (user_id, kind, instrument_id, direction, threshold) "
        "select $1, 'price', 1, 'above', g from generate_series(1, $2::integer) g",
        cast.ana,
        RULES_PER_USER,
    )
    answer = await web.post("/api/alerts/rules", json=ON_APPLE, headers=ana)
    assert answer.status_code == 400
    assert str(RULES_PER_USER) in answer.json()["error"]


async def test_alerts_are_paged_and_stay_unacknowledged_until_they_are_not(
    web: httpx.AsyncClient, ana: dict[str, str], database: asyncpg.Connection, bearer: SignIn
) -> None:
    rules = [(await add(web, ana))["id"] for _ in range(3)]
    await cross(database, *rules)
    assert (await numbers(web, ana)) == [3, 2, 1]
    assert await numbers(web, ana, limit=1, before=3) == [2]
    assert (await web.post("/api/alerts/acknowledge", json={"seq": 2}, headers=ana)).json() == {"seq": 2}
    assert await numbers(web, ana, unacknowledged=True) == [3]
    assert await numbers(web, await bearer("ben")) == []
    assert {one["state"] for one in (await web.get("/api/alerts/rules", headers=ana)).json()} == {"done"}
    newest = (await web.get("/api/alerts", params={"limit": 1}, headers=ana)).json()[0]
    assert (newest["rule"], newest["value"], newest["priceSource"]) == (rules[2], 201.25, "feed")


async def numbers(web: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> list[int]:
    return [one["seq"] for one in (await web.get("/api/alerts", params=query, headers=headers)).json()]


@pytest.mark.parametrize("body", [{}, {"seq": -1}, {"seq": "1"}, {"seq": 1.5}, {"seq": 1, "all": True}, {"seq": 2**70}])
async def test_an_acknowledgement_is_a_number(
    web: httpx.AsyncClient, ana: dict[str, str], body: dict[str, Any]
) -> None:
    assert (await web.post("/api/alerts/acknowledge", json=body, headers=ana)).status_code == 400


async def test_what_is_set_stands_in_the_audit(
    web: httpx.AsyncClient, ana: dict[str, str], database: asyncpg.Connection, cast: Cast
) -> None:
    made = await add(web, ana)
    await web.patch(f"/api/alerts/rules/{made['id']}", json={"threshold": 3}, headers=ana)
    await web.delete(f"/api/alerts/rules/{made['id']}", headers=ana)
    rows = await database.fetch("select actor_id, action from audit_events where subject = $1 order by id", made["id"])
    assert [tuple(row) for row in rows] == [
        (cast.ana, "alert_rule_set"),
        (cast.ana, "alert_rule_changed"),
        (cast.ana, "alert_rule_deleted"),
    ]


async def test_nobody_comes_in_without_signing_in(web: httpx.AsyncClient, cast: Cast) -> None:
    for method, place in (("GET", ""), ("GET", "/rules"), ("POST", "/rules"), ("POST", "/acknowledge")):
        answer = await web.request(method, f"/api/alerts{place}", json={**ON_APPLE} if method == "POST" else None)
        assert answer.status_code == 401, place


@pytest.fixture
async def page(api: RunningApi, database: asyncpg.Connection) -> AsyncIterator[httpx.AsyncClient]:
    """Sign ana in as a browser does, with a cookie."""
    async with httpx.AsyncClient(base_url=api.url) as client:
        form = {"email": email("ana"), "password": PASSWORD}
        answer = await client.post("/session", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.headers["location"] == "/"
        yield client


OWN = {"Sec-Fetch-Site": "same-origin"}


async def test_our_own_page_sets_reads_and_deletes_a_rule_with_its_cookie(page: httpx.AsyncClient) -> None:
    made = await add(page, OWN)
    assert (await page.get("/api/alerts/rules", headers=OWN)).json() == [made]
    assert (await page.delete(f"/api/alerts/rules/{made['id']}", headers=OWN)).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.test"}]
)
async def test_another_sites_page_does_nothing_with_the_cookie(
    page: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await page.post("/api/alerts/rules", json=ON_APPLE, headers=headers)).status_code == 403
    assert (await page.get("/api/alerts", headers=headers)).status_code == 403
    assert (await page.get("/api/alerts/rules", headers=OWN)).json() == []


async def test_a_form_does_nothing_with_the_cookie(page: httpx.AsyncClient) -> None:
    answer = await page.post("/api/alerts/acknowledge", data={"seq": "1"}, headers=OWN)
    assert answer.status_code == 403
