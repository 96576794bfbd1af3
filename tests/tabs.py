"""Hold a page of a real browser, and wait for what it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fakes import eventually
from playwright.async_api import Page


@dataclass
class Tab:
    """Hold a page with everything it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def value(self, expression: str) -> Any:
        """Return what an expression is in the page (Playwright's own waiting needs eval, which the policy forbids)."""
        return await self.page.evaluate(expression)

    async def until(self, expression: str, seconds: float = 15.0) -> Any:
        """Wait until an expression is true in the page and return it."""
        return await eventually(lambda: self.page.evaluate(expression), expression, seconds)

    async def live(self) -> None:
        """Wait until numbers, table and charts have shown live data."""
        await self.until("window.__alhambra && __alhambra.applied >= 3")
        await self.until("document.querySelectorAll('.ag-center-cols-container .ag-row').length > 3")


OpenTab = Callable[..., Awaitable[Tab]]
