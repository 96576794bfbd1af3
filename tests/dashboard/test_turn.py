"""Who asks decides which page there is; what is not theirs looks like what does not exist."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from fakes_dashboard import ADVISOR, AGENT, CLIENT, PORTFOLIOS, FakeData
from plotly.utils import PlotlyJSONEncoder

from dashboard.pages.notice import nothing_here
from dashboard.pages.turn import turn_to
from dashboard.routes import FloorPage, Home, NoPage, PortfolioPage, Route
from dashboard.viewer import Viewer

OWN = next(one for one in PORTFOLIOS if one.client_id == CLIENT.user_id)
OTHER = next(one for one in PORTFOLIOS if one.client_id != CLIENT.user_id)


async def page(route: Route, viewer: Viewer) -> str:
    return as_json(await turn_to(route, viewer, FakeData()))


def as_json(component: Any) -> str:
    return json.dumps(component, cls=PlotlyJSONEncoder)


async def test_a_client_begins_with_the_first_portfolio() -> None:
    assert f"portfolio:{OWN.id}" in await page(Home(), CLIENT)


async def test_an_advisor_begins_with_the_floor() -> None:
    assert f"floor:{ADVISOR.user_id}" in await page(Home(), ADVISOR)


@pytest.mark.parametrize(
    "route",
    [PortfolioPage(OTHER.id), PortfolioPage(uuid4()), FloorPage(None), FloorPage(ADVISOR.user_id), NoPage()],
    ids=["another client's", "unknown", "a floor", "an advisor's floor", "no page"],
)
async def test_what_is_not_a_clients_looks_like_nothing(route: Route) -> None:
    assert await page(route, CLIENT) == as_json(nothing_here())


async def test_an_advisor_sees_whose_portfolio_it_is() -> None:
    assert OTHER.client_name in await page(PortfolioPage(OTHER.id), ADVISOR)


async def test_a_kyc_agent_sees_no_portfolio_by_any_address() -> None:
    for route in (Home(), PortfolioPage(OWN.id), FloorPage(ADVISOR.user_id)):
        shown = await page(route, AGENT)
        assert "No live view" in shown
        assert "portfolio:" not in shown


async def test_the_page_says_that_prices_are_simulated() -> None:
    assert "Prices are simulated from real history, shifted to today" in await page(Home(), CLIENT)
