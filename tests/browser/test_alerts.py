"""A client sets an alert on the page, and the bell rings: the real web process, its socket and its database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fakes_api import PASSWORD, Cast, RunningApi, create_valuation, email, open_api, publish, seed_cast
from playwright.async_api import Browser, BrowserContext
from tabs import Tab

from db.alert_rules import changed_rules
from db.alerts import Crossing, newest_alerts, raise_alerts
from db.live import LiveStore, create_redis

pytestmark = pytest.mark.integration
Open = Callable[..., Awaitable[Tab]]
BELL = "document.querySelector('#bell .waiting').textContent"
RULES = "[...document.querySelectorAll('#alert-rules .rule')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
LISTED = "[...document.querySelectorAll('#alert-list .alert')].map((one) => one.querySelector('.value').textContent)"
IS_OPEN = "document.getElementById('alerts').matches(':popover-open')"


@pytest.fixture
async def cast(postgres_url: str) -> Cast:
    return await seed_cast(postgres_url)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(redis_url, "tests")
    yield LiveStore(redis)
    await redis.aclose()


@pytest.fixture
async def api(postgres_url: str, redis_url: str, cast: Cast, store: LiveStore) -> AsyncIterator[RunningApi]:
    """Serve a web process with ana's portfolio."""
    await publish(store, create_valuation(cast.growth, {"AAPL": (100_000, 500), "EUR": (20_000, 0)}, currency="EUR"))
    async with open_api(postgres_url, redis_url, sign_in_attempts=100) as running:
        yield running


@pytest.fixture
async def open_tab(browser: Browser, api: RunningApi) -> AsyncIterator[Open]:
    """Lend a function that signs somebody in and opens the first page."""
    contexts: list[BrowserContext] = []

    async def opened(name: str = "ana", width: int = 1440, height: int = 900) -> Tab:
        context = await browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        tab = Tab(await context.new_page())
        complain = tab.complaints.append
        tab.page.on("console", lambda said: complain(said.text) if said.type in ("error", "warning") else None)
        tab.page.on("pageerror", lambda error: complain(str(error)))
        await tab.page.goto(api.url)
        await tab.page.fill("input[name=email]", email(name))
        await tab.page.fill("input[name=password]", PASSWORD)
        await tab.page.click("button[type=submit]")
        await tab.until(
            "window.__alhambra && __alhambra.applied >= 1 && document.querySelector('#bell[popovertarget]')"
        )
        return tab

    yield opened
    for context in contexts:
        await context.close()


@pytest.fixture
async def ring(postgres_url: str, store: LiveStore, cast: Cast) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Lend a function that raises the alerts of rules, as a stream worker does."""
    connection = await asyncpg.connect(postgres_url)

    async def raise_all(value: float, user: UUID | None = None) -> None:
        rules = await changed_rules(connection, 0)
        at = datetime.now(UTC)
        async with connection.transaction():
            raised = await raise_alerts(connection, [Crossing(one.id, one.version, value, "f", 7, at) for one in rules])
        assert raised
        await store.announce_alerts(list({*raised.values()}))

    yield raise_all
    await connection.close()


async def set_rule(tab: Tab, kind: str, level: str, **more: Any) -> None:
    """Fill in the form of the open panel and send it."""
    await tab.page.select_option("#alert-form [name=kind]", kind)
    if "symbol" in more:
        await tab.page.fill("#alert-form [name=symbol]", more["symbol"])
    if "direction" in more:
        await tab.page.select_option("#alert-form [name=direction]", more["direction"])
    await tab.page.fill("#alert-form [name=threshold]", level)
    await tab.page.click("#alert-form button")


async def test_an_alert_is_set_on_the_page_rings_and_is_seen(
    open_tab: Open, ring: Callable[..., Awaitable[None]], cast: Cast, postgres_url: str
) -> None:
    tab = await open_tab()
    await tab.page.click("#bell")
    await set_rule(tab, "price", "200.5", symbol="aapl")
    await tab.until(f"{RULES}.length === 1")
    assert (await tab.value(RULES))[0].startswith("AAPL On Price above 200.50 USD")
    await set_rule(tab, "day_pnl_pct", "-2.5", direction="below")
    await tab.until(f"{RULES}.length === 2")
    assert "Growth On Day P&L in percent below -2.50%" in (await tab.value(RULES))[0]
    await tab.page.keyboard.press("Escape")
    await tab.until(f"!{IS_OPEN}")
    await ring(201.25)
    await tab.until(f"{BELL} === '2'")
    await tab.until("document.querySelectorAll('.toast').length === 2")
    await tab.page.click("#bell")
    await tab.until(f"{LISTED}.includes('201.25 USD')")
    await tab.until(f"{BELL} === ''")
    connection = await asyncpg.connect(postgres_url)
    assert await newest_alerts(connection, cast.ana, 9, 9, unacknowledged=True) == []
    await connection.close()
    assert {one.split()[1] for one in await tab.value(RULES)} == {"Done"}
    assert tab.complaints == []


async def test_alerts_that_came_while_nobody_looked_wait_for_the_next_visit(
    open_tab: Open, ring: Callable[..., Awaitable[None]]
) -> None:
    tab = await open_tab()
    await tab.page.click("#bell")
    await set_rule(tab, "total_equity", "1000")
    await tab.until(f"{RULES}.length === 1")
    await tab.page.goto("about:blank")
    await ring(1200.0)
    await tab.page.go_back()
    await tab.until(f"window.__alhambra && document.querySelector('#bell') && {BELL} === '1'")
    assert await tab.value("document.querySelector('.toast .value').textContent.includes('1,200')")


async def test_a_rule_is_deleted_and_one_that_cannot_be_is_refused_with_a_sentence(open_tab: Open) -> None:
    tab = await open_tab()
    await tab.page.click("#bell")
    await set_rule(tab, "price", "200", symbol="NOBODY")
    await tab.until("!document.querySelector('.complaint').hidden")
    assert "no such instrument" in await tab.value("document.querySelector('.complaint').textContent")
    await set_rule(tab, "stale_price", "30", symbol="AAPL")
    await tab.until(f"{RULES}.length === 1 && document.querySelector('.complaint').hidden")
    await tab.page.click("#alert-rules .remove")
    await tab.until("document.querySelector('#alert-rules .none')")
    assert tab.complaints == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]


async def test_an_arabic_reader_finds_it_on_the_other_side_and_in_arabic(
    open_tab: Open, ring: Callable[..., Awaitable[None]], cast: Cast, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("update users set language = 'ar' where id = $1", cast.ana)
    await connection.close()
    tab = await open_tab()
    await tab.page.click("#bell")
    await set_rule(tab, "price", "200.5", symbol="AAPL")
    await tab.until(f"{RULES}.length === 1")
    assert await tab.value("alerts.getBoundingClientRect().right") < 720
    assert "السعر أعلى من 200.50 USD" in (await tab.value(RULES))[0]
    assert tab.complaints == []


async def test_on_a_phone_the_panel_fits(open_tab: Open) -> None:
    tab = await open_tab(width=390, height=844)
    await tab.page.click("#bell")
    await tab.until(IS_OPEN)
    box = await tab.value("(({ left, right, bottom }) => [left, right, bottom])(alerts.getBoundingClientRect())")
    assert box[0] >= 0
    assert box[1] <= 390
    assert box[2] <= 844
    assert await tab.value("document.documentElement.scrollWidth") <= 390
