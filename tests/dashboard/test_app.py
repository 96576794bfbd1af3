"""The application keeps its promises to the web process: async callbacks, nothing leaked, a strict policy."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator

import dash
import httpx
import pytest
from fakes_dashboard import ADVISOR, CLIENT, PORTFOLIOS, FakeData
from fastapi import FastAPI

from dashboard.app import create_dashboard, show_failure
from dashboard.security import content_security_policy
from dashboard.viewer import current_nonce, current_viewer


@pytest.fixture(scope="module")
def server() -> FastAPI:
    return FastAPI(openapi_url=None)


@pytest.fixture(scope="module")
def app(server: FastAPI) -> dash.Dash:
    return create_dashboard(server, FakeData())


@pytest.fixture
async def client(server: FastAPI, app: dash.Dash) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(server)
    async with httpx.AsyncClient(transport=transport, base_url="http://bank") as found:
        yield found


def test_every_callback_is_async_so_that_none_stalls_the_sockets(app: dash.Dash) -> None:
    app._setup_server()
    callbacks = [entry["callback"] for entry in app.callback_map.values() if "callback" in entry]
    assert callbacks
    assert all(inspect.iscoroutinefunction(callback) for callback in callbacks)


async def test_the_document_holds_nonce_language_and_no_data(client: httpx.AsyncClient) -> None:
    current_viewer.set(CLIENT)
    current_nonce.set('a"nonce')
    page = (await client.get("/")).text
    assert 'content="a&quot;nonce"' in page
    assert '<html lang="en" dir="ltr"' in page
    assert not any(str(one.id) in page or one.client_name in page for one in PORTFOLIOS)


async def test_scripts_come_in_the_order_that_matters(client: httpx.AsyncClient) -> None:
    scripts = re.findall(r'<script src="([^"?]+)', (await client.get("/")).text)
    names = [script.rpartition("/")[2] for script in scripts]
    assert names[:3] == ["00_nonce.js", "01_plotly.js", "02_scheme.js"]
    own = [name for name in names if re.match(r"\d\d_", name)]
    assert own == sorted(own)
    assert names.index(next(name for name in names if name.startswith("socket.io."))) < names.index("10_format.js")
    assert len(names) == len(set(names))
    assert not any("plotly.min" in name or "dash_table" in script for name, script in zip(names, scripts, strict=True))


async def test_the_layout_names_its_viewer_and_nobody_else(client: httpx.AsyncClient) -> None:
    current_viewer.set(ADVISOR)
    layout = (await client.get("/_dash-layout")).text
    assert ADVISOR.name in layout
    assert CLIENT.name not in layout


def test_the_policy_allows_the_inline_script_by_its_hash_and_no_other(app: dash.Dash) -> None:
    policy = content_security_policy(app, "N0nce")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-[^']+'", directives["script-src"])
    assert directives["style-src"] == "'self' 'nonce-N0nce'"
    assert "unsafe" not in policy


async def test_the_sign_in_page_needs_no_script_and_repeats_no_unknown_error(client: httpx.AsyncClient) -> None:
    page = (await client.get("/sign-in", params={"error": "<script>alert(1)</script>"})).text
    assert 'action="/session" method="post"' in page
    assert "alert(1)" not in page
    assert "Signing in did not work" in page
    assert "The e-mail address or the password is not right." in (await client.get("/sign-in?error=credentials")).text


async def test_production_lists_no_logins() -> None:
    data = FakeData()
    data.logins = ()
    server = FastAPI(openapi_url=None)
    create_dashboard(server, data)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://bank") as client:
        assert "Demonstration" not in (await client.get("/sign-in")).text


def test_a_failing_page_says_so_without_saying_why() -> None:
    page, links = show_failure(RuntimeError("password=secret"))
    assert "Something went wrong" in str(page.to_plotly_json())
    assert "secret" not in str(page.to_plotly_json())
    assert links == []
