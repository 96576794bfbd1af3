from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fakes_api import EVENT_NS, Cast, SignIn, create_valuation, publish

from db.live import LiveStore

pytestmark = pytest.mark.usefixtures("valued")
ROUTES = ("overview", "holdings", "allocation")


@pytest.fixture
async def valued(store: LiveStore, cast: Cast) -> None:
    await publish(
        store,
        create_valuation(cast.growth, {"AAPL": (100_000, 500), "EUR": (20_000, 0)}, seq=3, currency="EUR"),
        create_valuation(cast.income, {"AAPL": (50_000, -100), "USD": (10_000, 0)}, seq=8),
    )
    await store.write_quotes({"EUR/USD": b'{"symbol":"EUR/USD","price":1.25,"event_ns":1}'})


async def test_an_overview_has_the_contracts_fields_and_the_streams_digits(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast
) -> None:
    answer = await web.get(f"/api/portfolio/overview?portfolioId={cast.growth}", headers=await bearer("ana"))
    found = answer.json()
    assert answer.status_code == 200
    assert (found["totalEquity"], found["dayPL"], found["cashBalance"], found["buyingPower"]) == (
        1200.0,
        5.0,
        200.0,
        200.0,
    )
    assert found["dayPLPercent"] == pytest.approx(100 * 5 / 1195)
    assert (found["baseCurrency"], found["epoch"], found["seq"]) == ("EUR", 1, 3)
    assert datetime.fromisoformat(found["asOf"]).timestamp() == pytest.approx(EVENT_NS / 1e9, abs=0.01)
    assert found["portfolios"][0]["id"] == str(cast.growth)
    first = found["holdings"][0]
    assert (first["symbol"], first["name"], first["value"], first["sector"]) == (
        "AAPL",
        "Apple Inc.",
        1000.0,
        "Technology",
    )
    assert first["priceAgeMs"] is not None
    assert found["holdings"][1]["priceAgeMs"] is None
    assert set(found["performance"]) == {"daily", "weekly", "monthly", "quarterly", "yearly", "threeYear", "fiveYear"}


async def test_without_a_portfolio_all_of_the_clients_are_together_in_the_first_ones_currency(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast
) -> None:
    found = (await web.get("/api/portfolio/overview", headers=await bearer("ana"))).json()
    assert found["baseCurrency"] == "EUR"
    assert found["totalEquity"] == 1680.0  # 1200 EUR and 600 USD at 1.25
    assert sum(row["value"] for row in found["holdings"]) == 1680.0
    assert [row["symbol"] for row in found["holdings"]] == ["AAPL", "EUR", "USD"]
    assert [(one["name"], one["baseCurrency"], one["totalEquity"]) for one in found["portfolios"]] == [
        ("Growth", "EUR", 1200.0),
        ("Income", "USD", 600.0),
    ]


async def test_allocation_adds_up_in_every_dimension(web: httpx.AsyncClient, bearer: SignIn, cast: Cast) -> None:
    found = (await web.get(f"/api/portfolio/allocation?portfolioId={cast.income}", headers=await bearer("ana"))).json()
    assert found["assetClass"] == [
        {"name": "equity", "value": 500.0, "weight": pytest.approx(5 / 6)},
        {"name": "cash", "value": 100.0, "weight": pytest.approx(1 / 6)},
    ]
    for dimension in ("assetClass", "sector", "country", "currency"):
        assert sum(part["value"] for part in found[dimension]) == found["totalEquity"]


async def test_performance_counts_the_past_and_todays_deposits(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, module_postgres_url: str
) -> None:
    today = datetime.now(UTC)
    connection = await asyncpg.connect(module_postgres_url)
    await connection.executemany(
        "insert into daily_valuations (portfolio_id, date, total_equity, net_flow, day_return) "
        "values ($1, $2, $3, 0, 0)",
        [(cast.income, (today - timedelta(days=back)).date(), 500 + back) for back in range(1, 12)],
    )
    await connection.execute(
        "insert into transactions (account_id, portfolio_id, type, amount, currency, source, reference_id, "
        "processed_at) "
        "select account_id, id, 'deposit', 49, 'USD', 'test', 'r1', $2 from portfolios where id = $1",
        cast.income,
        today,
    )
    await connection.close()
    found = (await web.get(f"/api/portfolio/overview?portfolioId={cast.income}", headers=await bearer("ana"))).json()
    assert found["performance"]["daily"] == {"return": pytest.approx(100 * 50 / 501), "value": 50.0}
    assert found["performance"]["weekly"]["value"] == 44.0
    assert found["performance"]["monthly"] is None


@pytest.mark.parametrize("route", ROUTES)
async def test_another_clients_portfolio_is_as_unknown_as_none_at_all(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, route: str
) -> None:
    headers = await bearer("ben")
    theirs = await web.get(f"/api/portfolio/{route}?portfolioId={cast.growth}", headers=headers)
    unknown = await web.get(f"/api/portfolio/{route}?portfolioId={uuid4()}", headers=headers)
    assert theirs.status_code == unknown.status_code == 404
    assert theirs.text == unknown.text


@pytest.mark.parametrize(
    ("name", "code"),
    [("ana", 200), ("advisor", 200), ("compliance", 200), ("admin", 200), ("other", 404), ("kyc", 403)],
)
async def test_each_role_reads_what_is_its_own(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, name: str, code: int
) -> None:
    headers = await bearer(name)
    for route in ROUTES:
        assert (await web.get(f"/api/portfolio/{route}?portfolioId={cast.growth}", headers=headers)).status_code == code


async def test_what_cannot_be_answered_says_why(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, store: LiveStore
) -> None:
    staff = await web.get("/api/portfolio/overview", headers=await bearer("advisor"))
    assert (staff.status_code, "portfolioId is required" in staff.text) == (400, True)
    nonsense = await web.get("/api/portfolio/overview?portfolioId=7", headers=await bearer("ana"))
    assert (nonsense.status_code, nonsense.json()["error"].startswith("portfolioId: ")) == (400, True)
    early = await web.get("/api/portfolio/overview", headers=await bearer("ben"))
    assert (early.status_code, early.headers["Retry-After"], "not been valued" in early.text) == (503, "2", True)


async def test_unknown_routes_are_json_whatever_the_method(web: httpx.AsyncClient) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = await web.request(method, "/api/nothing/here")
        assert (answer.status_code, answer.json()) == (404, {"error": "Route not found"})
    assert (await web.get("/api")).headers["location"] == "/sign-in"
