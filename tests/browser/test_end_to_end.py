"""The whole platform from one command, watched in a real browser: nothing here is invented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser
from tabs import Tab

from alhambra.ports import free_port

pytestmark = pytest.mark.integration
SERVERS = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "IBOSS_API_URL", "MARKET_FEED")
EQUITY = "document.querySelector('[data-field=total_equity]').textContent"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run `alhambra up` as a user would, and give what it says when everything answers."""
    folder: Path = tmp_path_factory.mktemp("platform")
    command = [sys.executable, "-m", "alhambra.main", "up", "--port", str(free_port()), "--data", str(folder / "data")]
    environment = {name: value for name, value in os.environ.items() if name not in SERVERS}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with (folder / "said").open("w") as said:
        process = subprocess.Popen([*command, "--ready-json"], stdout=subprocess.PIPE, stderr=said, env=environment)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / "said").read_text()
            yield json.loads(line)
        finally:
            process.terminate()
            assert process.wait(15) == 0
            process.stdout.close()


@pytest.fixture
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """Lend a page of a fresh profile that notes what it complains of and asks for."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    tab = Tab(await context.new_page())
    tab.page.on("console", lambda said: tab.complaints.append(said.text) if said.type in ("error", "warning") else None)
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    await context.close()


def login(platform: dict[str, Any], role: str) -> dict[str, str]:
    return next(one for one in platform["logins"] if one["role"] == role)


async def sign_in(tab: Tab, platform: dict[str, Any], role: str) -> None:
    who = login(platform, role)
    await tab.page.goto(platform["url"])
    await tab.page.fill("input[name=email]", who["email"])
    await tab.page.fill("input[name=password]", who["password"])
    await tab.page.click("button[type=submit]")
    await tab.live()


async def test_a_client_signs_in_and_watches_numbers_change(platform: dict[str, Any], tab: Tab) -> None:
    await sign_in(tab, platform, "client")
    asked, before = len(tab.requests), await tab.value(EQUITY)
    await tab.until(f"{EQUITY} !== {json.dumps(before)}")
    await tab.until("__alhambra.applied > 20")
    assert tab.requests[asked:] == []
    assert (await tab.value("__alhambra.gaps"), tab.complaints) == (0, [])


async def test_the_newest_tick_is_in_the_page_within_a_second(platform: dict[str, Any], tab: Tab) -> None:
    """Run with -s to see the figures that README quotes: event of the newest tick to its merge, before the paint."""
    await sign_in(tab, platform, "client")
    await tab.value("__alhambra.latenciesMs.length = 0")
    latencies = sorted(await tab.until("__alhambra.latenciesMs.length >= 50 && __alhambra.latenciesMs", 60))
    p50, p99 = latencies[len(latencies) // 2], latencies[int(0.99 * (len(latencies) - 1))]
    print(f"tick to browser over {len(latencies)} updates: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    assert p50 < 1000


async def test_an_alert_that_is_set_on_the_page_rings(platform: dict[str, Any], tab: Tab) -> None:
    """A rule whose value is there already is raised at once: page, REST, ledger, worker, Redis, socket, page."""
    await sign_in(tab, platform, "client")
    await tab.until("document.querySelector('#bell[popovertarget]')")
    await tab.page.click("#bell")
    await tab.page.select_option("#alert-form [name=kind]", "total_equity")
    await tab.page.fill("#alert-form [name=threshold]", "1")
    await tab.page.click("#alert-form button")
    await tab.until("document.querySelector('#alert-rules .rule')")
    await tab.until("document.querySelector('#alert-list .alert')")
    assert tab.complaints == []


async def test_an_advisor_sees_the_whole_book_move(platform: dict[str, Any], tab: Tab) -> None:
    await sign_in(tab, platform, "advisor")
    await tab.until("__alhambra.applied > 10")
    assert tab.complaints == []


async def test_rest_gives_totals_that_equal_the_rows(platform: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=platform["url"]) as client:
        who = login(platform, "client")
        answer = await client.post("/api/auth/login", json={"email": who["email"], "password": who["password"]})
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        overview = json.loads(
            (await client.get("/api/portfolio/overview", headers=headers)).text, parse_float=Decimal, parse_int=Decimal
        )
    assert sum(row["value"] for row in overview["holdings"]) == overview["totalEquity"]
    assert sum(row["dayPL"] for row in overview["holdings"]) == overview["dayPL"]
    assert overview["totalEquity"] > 0


async def test_health_names_every_service(platform: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=platform["url"]) as client:
        answer = await client.get("/api/health")
        metrics = await client.get("/metrics")
    assert answer.status_code == 200
    assert {"database", "redis", "kafka", "iboss"} <= answer.json()["services"].keys()
    assert "http_requests_total" in metrics.text
