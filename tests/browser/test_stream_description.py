"""The description of the live stream reads well without script, in both schemes, on a wide screen and on a phone."""

from __future__ import annotations

import pytest
from fakes_api import open_api
from playwright.async_api import Browser

GROUNDS = {"dark": "rgb(10, 14, 22)", "light": "rgb(244, 246, 250)"}


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 1280), ("light", 390), ("dark", 390)])
async def test_the_page_needs_no_script_and_fits(
    browser: Browser, postgres_url: str, redis_url: str, scheme: str, width: int
) -> None:
    async with open_api(postgres_url, redis_url) as api:
        context = await browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, java_script_enabled=False
        )
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        await page.goto(f"{api.url}/docs/stream", wait_until="networkidle")
        heading = page.locator("#streams h2")
        await heading.scroll_into_view_if_needed()
        assert await heading.is_visible()
        found = await page.evaluate(
            "[document.documentElement.scrollWidth <= innerWidth, getComputedStyle(document.body).backgroundColor]"
        )
        assert found == [True, GROUNDS[scheme]]
        await page.locator("summary").first.click()
        assert await page.locator("details[open] pre").is_visible()
        assert complaints == []
        await context.close()
