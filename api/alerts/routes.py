"""Serve `/api/alerts`: the rules a user has set, and the alerts they raised."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request

from api.alerts.bodies import Acknowledgement, NewRule, RuleChange
from api.auth.caller import caller
from api.auth.identity import Identity
from api.client_address import client_address
from api.errors import BadRequest, NotFound
from api.json_response import JsonResponse
from api.state import WebState, web_state
from db.alert_rules import AlertRule, TooManyRules, change_rule, create_rule, delete_rule, rules
from db.alerts import PAGE, Alert, acknowledge, newest_alerts
from db.audit import record
from db.postgres import acquire

router = APIRouter(prefix="/api/alerts", tags=["alerts"])
State = Annotated[WebState, Depends(web_state)]
Caller = Annotated[Identity, Depends(caller)]
NEWEST = 2**63 - 1


@router.get("/rules")
async def list_rules(identity: Caller, state: State) -> JsonResponse:
    """Return the rules of the user, newest first."""
    async with acquire(state.pool) as connection:
        return JsonResponse([rule_shape(one) for one in await rules(connection, identity.user_id)])


@router.post("/rules")
async def add_rule(wanted: NewRule, request: Request, identity: Caller, state: State) -> JsonResponse:
    """Set a rule; it raises its alert at once where its value is there already."""
    async with acquire(state.pool) as connection, connection.transaction():
        try:
            rule_id = await create_rule(connection, identity.viewer, wanted.wish)
        except TooManyRules as error:
            raise BadRequest(f"Rule refused: {error}.") from error
        if rule_id is None:
            raise BadRequest("There is no such instrument or portfolio, or it is not yours to see.")
        await _note(connection, request, identity, "alert_rule_set", rule_id, wanted.model_dump(mode="json"))
        (rule,) = await rules(connection, identity.user_id, rule_id)
    return JsonResponse(rule_shape(rule), 201)


@router.patch("/rules/{rule_id}")
async def alter_rule(
    rule_id: UUID, wanted: RuleChange, request: Request, identity: Caller, state: State
) -> JsonResponse:
    """Change a rule; unless only `repeat` changes it is armed anew."""
    async with acquire(state.pool) as connection, connection.transaction():
        if not await change_rule(connection, identity.user_id, rule_id, wanted.change):
            raise NotFound("There is no such rule.")
        detail = wanted.model_dump(mode="json", exclude_none=True)
        await _note(connection, request, identity, "alert_rule_changed", rule_id, detail)
        (rule,) = await rules(connection, identity.user_id, rule_id)
    return JsonResponse(rule_shape(rule))


@router.delete("/rules/{rule_id}")
async def remove_rule(rule_id: UUID, request: Request, identity: Caller, state: State) -> JsonResponse:
    """Delete a rule; the alerts that it raised stay."""
    async with acquire(state.pool) as connection, connection.transaction():
        if not await delete_rule(connection, identity.user_id, rule_id):
            raise NotFound("There is no such rule.")
        await _note(connection, request, identity, "alert_rule_deleted", rule_id, {})
    return JsonResponse({"deleted": True})


@router.get("")
async def list_alerts(
    identity: Caller,
    state: State,
    before: Annotated[int, Query(ge=1, le=NEWEST)] = NEWEST,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    unacknowledged: bool = False,
) -> JsonResponse:
    """Return the newest alerts of the user; the page after this one has those `before` its last `seq`."""
    async with acquire(state.pool) as connection:
        found = await newest_alerts(connection, identity.user_id, before, limit, unacknowledged=unacknowledged)
    return JsonResponse([alert_shape(one) for one in found])


@router.post("/acknowledge")
async def acknowledge_alerts(wanted: Acknowledgement, identity: Caller, state: State) -> JsonResponse:
    """Acknowledge all alerts of the user up to and including `seq`; says up to which all are."""
    async with acquire(state.pool) as connection, connection.transaction():
        return JsonResponse({"seq": await acknowledge(connection, identity.user_id, wanted.seq)})


def rule_shape(rule: AlertRule) -> dict[str, Any]:
    """Return a rule as its user sees it; `state` says in one word what it does now."""
    return {
        "id": rule.id,
        "kind": rule.kind,
        "subject": rule.subject,
        "title": rule.title,
        "currency": rule.currency,
        "direction": rule.direction,
        "threshold": float(rule.threshold),
        "repeat": rule.repeat,
        "active": rule.active,
        "state": _state(rule),
        "createdAt": rule.created_at,
        "raisedAt": rule.raised_at,
    }


def alert_shape(alert: Alert) -> dict[str, Any]:
    """Return an alert; `subject` is the live stream that shows what it is about."""
    return {
        "seq": alert.seq,
        "id": alert.id,
        "rule": alert.rule_id,
        "kind": alert.kind,
        "subject": alert.subject,
        "title": alert.title,
        "currency": alert.currency,
        "direction": alert.direction,
        "threshold": float(alert.threshold),
        "value": alert.value,
        "priceSource": alert.price_source,
        "priceNs": alert.price_ns,
        "raisedAt": alert.raised_at,
        "acknowledgedAt": alert.acknowledged_at,
    }


def _state(rule: AlertRule) -> str:
    if not rule.allowed:
        return "silenced"
    if not rule.active:
        return "paused"
    if rule.armed:
        return "armed"
    return "done" if rule.repeat == "once" else "tripped"


async def _note(
    connection: asyncpg.Connection, request: Request, identity: Identity, action: str, rule_id: UUID, detail: Any
) -> None:
    """Write the audit row, last in the transaction."""
    await record(connection, identity.user_id, action, str(rule_id), detail, client_address(request.scope))
