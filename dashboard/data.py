"""Name the reads that the pages need; the web process implements them, with the viewer's rights in the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from dashboard.viewer import Viewer


@dataclass(frozen=True, slots=True)
class PortfolioInfo:
    """Describe a portfolio; `base_currency` is an ISO 4217 code with `minor_units` digits."""

    id: UUID
    name: str
    base_currency: str
    client_id: UUID
    client_name: str
    minor_units: int = 2


@dataclass(frozen=True, slots=True)
class FloorInfo:
    """Describe the floor of one advisor: the book of the clients assigned to them."""

    advisor_id: UUID
    advisor_name: str
    reference_currency: str = "USD"


@dataclass(frozen=True, slots=True)
class IntradayPoint:
    """Hold the state at the end of a minute; amounts in the portfolio's base currency, `minute_ns` since the epoch."""

    minute_ns: int
    day_pnl: float
    total_equity: float


@dataclass(frozen=True, slots=True)
class PriceSource:
    """Say where prices come from: `kind` is live, simulated or recorded; `history` names the history behind it."""

    kind: str
    history: str = ""


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """Hold a login of the demonstration, shown on the sign-in page; there are none in production."""

    role: str
    name: str
    email: str
    password: str


@dataclass(frozen=True, slots=True)
class Component:
    """Hold how one part is: `level` is ok, degraded or failed, `detail` a sentence for those who look after it."""

    name: str
    level: str
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """Hold how everything is: `summary` is ok, delayed (prices may be old) or failed."""

    summary: str
    components: tuple[Component, ...]


class DashboardData(Protocol):
    """Read what the pages show. What a viewer has no right to is absent, exactly like what does not exist."""

    async def portfolio(self, viewer: Viewer, portfolio_id: UUID) -> PortfolioInfo | None:
        """Return one portfolio, or None where it is unknown or not the viewer's to see."""

    async def portfolios(self, viewer: Viewer, client_id: UUID) -> Sequence[PortfolioInfo]:
        """Return the portfolios of a client that the viewer may see, in the order to show them."""

    async def floors(self, viewer: Viewer) -> Sequence[FloorInfo]:
        """Return the floors the viewer may see: an advisor's own, every advisor's for compliance and admin."""

    async def intraday(self, viewer: Viewer, portfolio_id: UUID) -> Sequence[IntradayPoint]:
        """Return the minutes of today, oldest first; empty where the portfolio is not the viewer's to see."""

    async def price_source(self) -> PriceSource:
        """Return where the prices come from."""

    async def health(self) -> Health:
        """Return how everything is; it asks for no rights, as `/api/health` does not."""

    async def demo_logins(self) -> Sequence[DemoLogin]:
        """Return the logins of the demonstration; empty in production."""
