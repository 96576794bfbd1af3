from __future__ import annotations

import asyncio
import re
from pathlib import Path

import asyncpg
import httpx
import pytest
import websockets
from fakes import eventually
from fakes_api import PASSWORD, RunningApi, email, open_api

from alhambra.embedded.valkey import ValkeyServer
from api.edge import LARGEST_BODY
from db.live import LiveStore, create_redis

pytestmark = pytest.mark.usefixtures("cast")


async def sign_in(
    web: httpx.AsyncClient, name: str = "ana", password: str = PASSWORD, **headers: str
) -> httpx.Response:
    return await web.post(
        "/session",
        data={"email": email(name), "password": password},
        headers={"Sec-Fetch-Site": "same-origin", **headers},
    )


async def test_pages_lead_to_the_sign_in_form_and_after_it_to_the_page(web: httpx.AsyncClient) -> None:
    for path in ("/", "/floor", "/portfolio/x", "/anything"):
        assert (await web.get(path)).headers["location"] == "/sign-in"
    assert "password" in (await web.get("/sign-in")).text
    assert (await sign_in(web)).headers["location"] == "/"
    page = await web.get("/")
    assert page.status_code == 200
    assert "no-store" in page.headers["cache-control"]
    assert (await web.get("/sign-in")).headers["location"] == "/"


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    web: httpx.AsyncClient, module_postgres_url: str, module_redis_url: str
) -> None:
    cookie = (await sign_in(web)).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    async with (
        open_api(module_postgres_url, module_redis_url, frontend_url="https://bank.test") as api,
        httpx.AsyncClient(base_url=api.url) as other,
    ):
        answer = await sign_in(other)
        assert "Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


async def test_a_refused_sign_in_goes_back_to_the_form_which_says_why(web: httpx.AsyncClient) -> None:
    assert (await sign_in(web, password="wrong")).headers["location"] == "/sign-in?error=credentials"
    assert (await sign_in(web, "suspended")).headers["location"] == "/sign-in?error=credentials"
    assert (await web.post("/session", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.test"},
     {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"}],
)  # fmt: skip
async def test_forms_of_other_sites_are_refused(
    web: httpx.AsyncClient, api: RunningApi, headers: dict[str, str]
) -> None:
    sent = {name: value.replace("OWN", api.url) for name, value in headers.items()}
    form = {"email": email("ana"), "password": PASSWORD}
    assert (await web.post("/session", data=form, headers=sent)).status_code == 403
    assert (await web.post("/session/end", headers=sent)).status_code == 403


async def test_signing_out_ends_the_session_for_whoever_has_the_cookie(web: httpx.AsyncClient) -> None:
    await sign_in(web)
    cookies = dict(web.cookies)
    assert (await web.delete("/session", headers={"Sec-Fetch-Site": "same-origin"})).headers["location"] == "/sign-in"
    answer = await web.get("/", headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())})
    assert answer.headers["location"] == "/sign-in"


async def test_a_session_that_is_revoked_elsewhere_is_dead_within_five_seconds(
    web: httpx.AsyncClient, module_postgres_url: str
) -> None:
    await sign_in(web, "ben")
    assert (await web.get("/")).status_code == 200
    connection = await asyncpg.connect(module_postgres_url)
    await connection.execute("update page_sessions set revoked_at = now()")
    await connection.close()

    async def turned_away() -> bool:
        return (await web.get("/")).status_code == 303

    await eventually(turned_away, seconds=5)


async def test_pages_and_data_carry_the_headers_that_protect_them(web: httpx.AsyncClient) -> None:
    await sign_in(web)
    first, second = await web.get("/"), await web.get("/")
    policies = [one.headers["content-security-policy"] for one in (first, second)]
    nonces = [re.findall(r"'nonce-([^']+)'", policy) for policy in policies]
    assert nonces[0] != nonces[1]
    assert f'content="{nonces[0][0]}"' in first.text
    assert "default-src 'none'" in policies[0]
    assert "unsafe" not in policies[0]
    data = await web.get("/api/health")
    assert data.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    for answer in (first, data):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


async def test_a_request_keeps_its_name_where_it_has_a_sensible_one(web: httpx.AsyncClient) -> None:
    assert (await web.get("/api/x", headers={"X-Request-ID": "abc-1"})).headers["x-request-id"] == "abc-1"
    assert (await web.get("/api/x", headers={"X-Request-ID": "a b"})).headers["x-request-id"] != "a b"


OWN = {"Sec-Fetch-Site": "same-origin"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "headers", [JSON, OWN, {**OWN, "Content-Type": "text/plain"}, {**JSON, "Sec-Fetch-Site": "cross-site"}]
)
async def test_callbacks_of_the_pages_answer_only_our_pages(web: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await web.post("/_dash-update-component", content=b"{}", headers=headers)).status_code == 403


async def test_the_sockets_of_dash_are_refused(api: RunningApi) -> None:
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(api.url.replace("http", "ws") + "/_dash-ws-callback")


async def test_bodies_over_ten_megabytes_are_refused_however_they_come(web: httpx.AsyncClient) -> None:
    answer = await web.post("/api/auth/login", content=b"x" * (LARGEST_BODY + 1), headers=JSON)
    assert answer.status_code == 413

    async def pieces() -> object:
        for _ in range(12):
            yield b"x" * 1024 * 1024

    assert (await web.post("/api/auth/login", content=pieces(), headers=JSON)).status_code == 413


async def test_metrics_name_routes_by_their_template(web: httpx.AsyncClient) -> None:
    await web.get("/api/auth/login/%00/..")
    await web.post("/api/auth/login", json={})
    await web.request("BREW", "/pot")
    found = (await web.get("/metrics")).text
    assert 'http_requests_total{method="POST",route="/api/auth/login",status="400"}' in found
    assert 'method="other"' in found
    assert "http_request_duration_seconds_bucket" in found
    assert "live_connections" in found
    assert "/pot" not in found


async def test_health_asks_everything_and_names_what_fails(web: httpx.AsyncClient, store: LiveStore) -> None:
    await store.report_health("kafka", True, "1 broker")
    one_fails = {"database": "ok", "redis": "ok", "kafka": "ok", "iboss": "failed"}

    async def names_it() -> bool:
        found = await web.get("/health")
        assert found.status_code == 503
        return {name: one["status"] for name, one in found.json()["services"].items()} == one_fails

    await eventually(names_it)
    await store.report_health("iboss", True, "answers")
    await store.report_health("stream", True, "84 portfolios")

    async def healthy() -> bool:
        return (await web.get("/api/health")).status_code == 200

    await eventually(healthy)
    assert (await web.get("/api/health")).json()["workers"]["stream"]["detail"] == "84 portfolios"


async def test_without_redis_health_says_so_within_two_seconds_and_pages_still_open(
    module_postgres_url: str,
) -> None:
    async with (
        open_api(module_postgres_url, "redis://127.0.0.1:1/0") as api,
        httpx.AsyncClient(base_url=api.url) as web,
    ):
        async with asyncio.timeout(2):
            found = await web.get("/health")
        assert found.json()["services"]["redis"]["status"] == "failed"
        assert found.json()["services"]["database"]["status"] == "ok"
        assert (await sign_in(web)).headers["location"] == "/"
        assert (await web.get("/")).status_code == 200


async def test_a_cancelled_command_never_gives_its_answer_to_the_next(
    valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    redis = create_redis(valkey_server.url, "cancelled")
    for index in range(30):
        await redis.set(f"mine:{index}", f"value {index}")
    for index in range(30):
        other = asyncio.create_task(redis.get("mine:0"))
        for _ in range(index % 6):
            await asyncio.sleep(0)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert await redis.get(f"mine:{index}") == f"value {index}".encode()
    await redis.aclose()
