"""The sign-in page needs nothing but HTML."""

from __future__ import annotations

from fakes_dashboard import Stage
from tabs import OpenTab


async def test_who_is_not_signed_in_comes_to_the_sign_in_page(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab(None)
    assert tab.page.url.endswith("/sign-in")
    assert await tab.value("document.activeElement.id") == "email"
    assert tab.complaints == []


async def test_a_demonstration_login_is_one_click(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab(None)
    async with tab.page.expect_request("**/session") as sent:
        await tab.page.click(".login")
    request = await sent.value
    assert request.method == "POST"
    assert "amelia.hart" in (request.post_data or "")
