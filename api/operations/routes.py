"""Serve `/api/operations`: what compliance and administrators must look after."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from api.auth.guard import counted, require_role
from api.auth.identity import Identity
from api.json_response import JsonResponse
from api.state import WebState, web_state
from db.breaks import PAGE, KeptBreak, visible_breaks
from db.postgres import acquire

router = APIRouter(prefix="/api/operations", tags=["operations"], dependencies=[Depends(counted)])
State = Annotated[WebState, Depends(web_state)]
Overseer = Annotated[Identity, Depends(require_role("compliance", "admin"))]


@router.get("/breaks")
async def list_breaks(
    identity: Overseer,
    state: State,
    resolved: bool = False,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
) -> JsonResponse:
    """Return where positions, bookings and accounts do not agree, newest first, then those that are resolved."""
    async with acquire(state.pool) as connection:
        found = await visible_breaks(connection, identity.viewer, resolved=resolved, limit=limit)
    return JsonResponse([break_shape(one) for one in found])


def break_shape(one: KeptBreak) -> dict[str, Any]:
    """Return a break as it is shown; amounts are text, because they are exact."""
    return {
        "id": one.id,
        "account": one.account,
        "portfolioId": one.portfolio_id,
        "portfolioName": one.portfolio_name,
        "symbol": one.symbol,
        "what": one.what,
        "expected": _text(one.expected),
        "found": _text(one.found),
        "version": one.version,
        "firstSeen": one.first_seen,
        "lastSeen": one.last_seen,
        "resolvedAt": one.resolved_at,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
