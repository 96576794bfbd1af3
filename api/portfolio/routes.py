"""Serve `/api/portfolio`: overview, holdings and allocation, live or as they were shown at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from api.auth.guard import counted, require_role
from api.auth.identity import Identity
from api.json_response import JsonResponse
from api.portfolio.explain import explain as explain_figure
from api.portfolio.past import nanoseconds
from api.portfolio.provenance import Wanted
from api.portfolio.reader import Present, Shown, portfolio_shapes
from api.portfolio.shapes import allocation_shape, holdings_shape, overview_shape, past_shape
from api.state import WebState, web_state

router = APIRouter(prefix="/api/portfolio", tags=["portfolio"], dependencies=[Depends(counted)])
State = Annotated[WebState, Depends(web_state)]
Reader = Annotated[Identity, Depends(require_role("client", "advisor", "compliance", "admin"))]
PortfolioId = Annotated[UUID | None, Query(alias="portfolioId")]


@dataclass(frozen=True, slots=True)
class View:
    """Hold what is to be shown, as of when, and of a moment in the past also whether it is proved."""

    present: Present
    as_of: datetime
    shown: Shown | None


async def look(
    identity: Reader,
    state: State,
    portfolio_id: PortfolioId = None,
    at: Annotated[AwareDatetime | None, Query()] = None,
) -> View:
    """Return the portfolio, or all of the client's together: now, or as shown at `at`; a FastAPI dependency."""
    if at is None:
        return View(await state.portfolios.present(identity.viewer, portfolio_id), datetime.now(UTC), None)
    shown = await state.portfolios.shown(identity.viewer, portfolio_id, at)
    return View(shown.present, shown.ended_at, shown)


Looked = Annotated[View, Depends(look)]


@router.get("/overview")
async def overview(view: Looked, state: State) -> JsonResponse:
    """Return what the portfolio, or all of the client's together, is worth, and how it has done."""
    present = view.present
    performance = await state.portfolios.performance(present, view.as_of)
    instruments, now_ns = state.catalogue.instruments, nanoseconds(view.as_of)
    shape = overview_shape(present.combined, portfolio_shapes(present), performance, instruments, now_ns)
    return JsonResponse(shape | past_shape(view.shown))


@router.get("/holdings")
async def holdings(view: Looked, state: State) -> JsonResponse:
    """Return what the portfolio consists of, the largest value first."""
    return JsonResponse(holdings_shape(view.present.combined, state.catalogue.instruments, nanoseconds(view.as_of)))


@router.get("/allocation")
async def allocation(view: Looked, state: State) -> JsonResponse:
    """Return the portfolio by asset class, sector, country and currency."""
    shape = allocation_shape(view.present.combined, state.catalogue.instruments)
    return JsonResponse(shape | past_shape(view.shown))


@router.get("/explain")
async def explain(
    identity: Reader,
    state: State,
    field: Annotated[str, Query(max_length=100)],
    symbol: Annotated[str | None, Query(max_length=40)] = None,
    portfolio_id: PortfolioId = None,
) -> JsonResponse:
    """Return where a figure comes from: formula, positions, prices, rates and bookings, recomputed."""
    return JsonResponse(await explain_figure(state, identity.viewer, portfolio_id, Wanted(field, symbol)))
