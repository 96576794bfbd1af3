"""An address names one page, and nonsense names none."""

from uuid import UUID

import pytest

from dashboard.routes import FloorPage, Home, NoPage, PortfolioPage, parse_route

ID = UUID("6f8d2f3e-8f2f-5f0e-9c58-0d8a3a9f1b11")


@pytest.mark.parametrize("path", ["/", "", "//"])
def test_the_root_is_home(path: str) -> None:
    assert parse_route(path) == Home()


def test_a_portfolio_is_named_by_its_id() -> None:
    assert parse_route(f"/portfolio/{ID}") == PortfolioPage(ID)


def test_a_floor_is_the_own_one_or_an_advisors() -> None:
    assert parse_route("/floor") == FloorPage(None)
    assert parse_route(f"/floor/{ID}/") == FloorPage(ID)


@pytest.mark.parametrize("path", ["/portfolio", "/portfolio/1", f"/portfolio/{ID}/x", "/floor/../etc", "/wp-admin"])
def test_nonsense_names_no_page(path: str) -> None:
    assert parse_route(path) == NoPage()
