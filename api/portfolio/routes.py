"""Serve `/api/portfolio`: overview, holdings and allocation, live."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.auth.guard import counted, require_role
from api.auth.identity import Identity
from api.json_response import JsonResponse
from api.portfolio.reader import portfolio_shapes
from api.portfolio.shapes import allocation_shape, holdings_shape, overview_shape
from api.state import WebState, web_state

router = APIRouter(prefix="/api/portfolio", tags=["portfolio"], dependencies=[Depends(counted)])
State = Annotated[WebState, Depends(web_state)]
Reader = Annotated[Identity, Depends(require_role("client", "advisor", "compliance", "admin"))]
PortfolioId = Annotated[UUID | None, Query(alias="portfolioId")]


@router.get("/overview")
async def overview(identity: Reader, state: State, portfolio_id: PortfolioId = None) -> JsonResponse:
    """Return what the portfolio, or all of the client's together, is worth now, and how it has done."""
    present = await state.portfolios.present(identity.viewer, portfolio_id)
    performance = await state.portfolios.performance(present)
    shape = overview_shape(
        present.combined, portfolio_shapes(present), performance, state.catalogue.instruments, time.time_ns()
    )
    return JsonResponse(shape)


@router.get("/holdings")
async def holdings(identity: Reader, state: State, portfolio_id: PortfolioId = None) -> JsonResponse:
    """Return what the portfolio consists of, the largest value first."""
    present = await state.portfolios.present(identity.viewer, portfolio_id)
    return JsonResponse(holdings_shape(present.combined, state.catalogue.instruments, time.time_ns()))


@router.get("/allocation")
async def allocation(identity: Reader, state: State, portfolio_id: PortfolioId = None) -> JsonResponse:
    """Return the portfolio by asset class, sector, country and currency."""
    present = await state.portfolios.present(identity.viewer, portfolio_id)
    return JsonResponse(allocation_shape(present.combined, state.catalogue.instruments))
