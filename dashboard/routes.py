"""Read an address of the page: which page it names and of what."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Home:
    """The viewer's own beginning: a client's portfolio, an advisor's floor."""


@dataclass(frozen=True, slots=True)
class PortfolioPage:
    """One portfolio."""

    portfolio_id: UUID


@dataclass(frozen=True, slots=True)
class FloorPage:
    """A trading floor: an advisor's, or the first that the viewer may see."""

    advisor_id: UUID | None


@dataclass(frozen=True, slots=True)
class StatusPage:
    """How everything is."""


@dataclass(frozen=True, slots=True)
class NoPage:
    """Nothing that there is."""


Route = Home | PortfolioPage | FloorPage | StatusPage | NoPage


def parse_route(path: str) -> Route:
    """Return what an address names; what it does not name at all is NoPage."""
    match [part for part in path.split("/") if part]:
        case []:
            return Home()
        case ["status"]:
            return StatusPage()
        case ["floor"]:
            return FloorPage(None)
        case ["portfolio", name] if (found := _uuid(name)) is not None:
            return PortfolioPage(found)
        case ["floor", name] if (found := _uuid(name)) is not None:
            return FloorPage(found)
        case _:
            return NoPage()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
