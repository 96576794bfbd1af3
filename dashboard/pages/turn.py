"""Turn to a page: read what it needs with the viewer's rights, and build it."""

from __future__ import annotations

import asyncio
from uuid import UUID

from dash.development.base_component import Component

from dashboard.data import DashboardData, FloorInfo, PortfolioInfo
from dashboard.pages.floor import floor_page
from dashboard.pages.notice import no_live_view, no_portfolio, nothing_here
from dashboard.pages.portfolio import portfolio_page
from dashboard.pages.status import status_page
from dashboard.routes import FloorPage, Home, NoPage, PortfolioPage, Route, StatusPage
from dashboard.viewer import Viewer


async def turn_to(route: Route, viewer: Viewer, data: DashboardData) -> Component:
    """Return the page that `route` names, as `viewer` may see it."""
    if viewer.role == "kyc_agent":
        return no_live_view()
    match route:
        case Home() if viewer.role == "client":
            return await first_portfolio(viewer, data)
        case Home():
            return await floor(None, viewer, data)
        case PortfolioPage(portfolio_id):
            found = await data.portfolio(viewer, portfolio_id)
            return nothing_here() if found is None else await portfolio(found, viewer, data)
        case FloorPage(advisor_id):
            return await floor(advisor_id, viewer, data)
        case StatusPage():
            return status_page(await data.health(), viewer)
        case NoPage():
            return nothing_here()


async def first_portfolio(viewer: Viewer, data: DashboardData) -> Component:
    """Return the page of a client's first portfolio."""
    own = await data.portfolios(viewer, viewer.user_id)
    return await portfolio(own[0], viewer, data) if own else no_portfolio()


async def portfolio(found: PortfolioInfo, viewer: Viewer, data: DashboardData) -> Component:
    """Return the page of a portfolio that the viewer may see."""
    siblings, points, source = await asyncio.gather(
        data.portfolios(viewer, found.client_id), data.intraday(viewer, found.id), data.price_source()
    )
    return portfolio_page(found, siblings, points, source, of_another=viewer.user_id != found.client_id)


async def floor(advisor_id: UUID | None, viewer: Viewer, data: DashboardData) -> Component:
    """Return a floor that the viewer may see: the asked-for one, or the first."""
    floors = await data.floors(viewer)
    chosen: FloorInfo | None = next((one for one in floors if advisor_id in (None, one.advisor_id)), None)
    if chosen is None:
        return nothing_here()
    return floor_page(chosen, floors, await data.price_source())
