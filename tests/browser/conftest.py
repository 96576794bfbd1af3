"""Drive real Chromium against pages that an invented live server feeds."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from fakes_dashboard import Stage, open_stage
from playwright.async_api import Browser, BrowserContext, async_playwright
from tabs import OpenTab, Tab

from alhambra.ports import free_port

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Written before the page's own scripts run: how much the page moved under the reader's eyes.
WATCH_SHIFTS = """
window.__shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.__shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder, and skip it only where that is asked for."""
    skip = pytest.mark.skip(reason="ALHAMBRA_BROWSER=skip")
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)
            if os.environ.get("ALHAMBRA_BROWSER") == "skip":
                item.add_marker(skip)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the browser's program; the tests fail without it, `make test` installs it."""
    found = os.environ.get("ALHAMBRA_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("no Chromium: install the package chromium, or set ALHAMBRA_BROWSER=skip")
    return found


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Run one browser with a fresh profile for the session."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Serve the pages with an invented live server."""
    async with open_stage(free_port()) as stage:
        yield stage


@pytest.fixture
async def open_tab(browser: Browser, stage: Stage) -> AsyncIterator[OpenTab]:
    """Lend a function that opens a page as a role, in a context of its own."""
    contexts: list[BrowserContext] = []

    async def opened(role: str | None, path: str = "/", width: int = 1440, height: int = 900) -> Tab:
        context = await browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        if role:
            await context.add_cookies([{"name": "viewer", "value": role, "url": stage.url}])
        await context.add_init_script(WATCH_SHIFTS)
        tab = Tab(await context.new_page())
        complain = tab.complaints.append
        tab.page.on("console", lambda said: complain(said.text) if said.type in ("error", "warning") else None)
        tab.page.on("pageerror", lambda error: complain(str(error)))
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        await tab.page.goto(stage.url + path)
        return tab

    yield opened
    for context in contexts:
        await context.close()
