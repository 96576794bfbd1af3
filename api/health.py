"""Say how the process and what it needs are: each asked at the same time, for at most a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends
from redis.asyncio import Redis

from api.errors import UNAVAILABLE
from api.json_response import JsonResponse
from api.state import WebState, web_state
from db.live import HealthReport, LiveStore

router = APIRouter(tags=["health"])
State = Annotated[WebState, Depends(web_state)]

DEADLINE_S = 1.0
REPORTED = ("kafka", "iboss")
# Workers whose silence is a failure too: of each, at least one must report, as itself or as `<name>:<which>`.
EXPECTED = ("stream", "market", "live_equals_batch")
# Without these nothing can be shown, or not be trusted; without anything else prices are old.
VITAL = ("database", "redis", "live_equals_batch")
# What is wrong with these a client does not notice: prices and totals are as quick and as right as ever.
ONLY_FOR_STAFF = {"positions_equal_bookings", "reconciliation", "standby"}
SILENT = "has not reported for fifteen seconds"
REMEMBERED_S = 0.5


@dataclass(frozen=True, slots=True)
class Condition:
    """Hold whether something answers, and a sentence about it."""

    ok: bool
    detail: str

    def shape(self, otherwise: str) -> dict[str, str]:
        """Return what the answer says of it; `otherwise` is the level of one that is not well."""
        return {
            "status": "ok" if self.ok else "failed",
            "level": "ok" if self.ok else otherwise,
            "detail": self.detail,
        }


class HealthMonitor:
    """Ask everything at once; the answer is shared for half a second, as anybody may ask."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis, store: LiveStore) -> None:
        self._pool = pool
        self._redis = redis
        self._store = store
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._answer: tuple[int, dict[str, Any]] = (503, {})

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the body of `/health`."""
        async with self._lock:
            if time.monotonic() - self._asked_at > REMEMBERED_S:
                self._answer = await self._ask()
                self._asked_at = time.monotonic()
            return self._answer

    async def _ask(self) -> tuple[int, dict[str, Any]]:
        checks = {"database": self._database(), "redis": self._ping(), "reports": self._reports()}
        tasks = {name: asyncio.create_task(check, name=f"health {name}") for name, check in checks.items()}
        await asyncio.wait(tasks.values(), timeout=DEADLINE_S)
        reports = _outcome(tasks["reports"], {})
        services = {
            "database": _outcome(tasks["database"], Condition(False, "no answer within a second")),
            "redis": _outcome(tasks["redis"], Condition(False, "no answer within a second")),
            **{name: _condition(reports.get(name)) for name in REPORTED},
        }
        workers = _workers(reports)
        healthy = all(one.ok for one in services.values())
        body = {
            "status": "ok" if healthy else "failed",
            "summary": _summary({**services, **workers}),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "services": {name: one.shape("failed") for name, one in services.items()},
            "workers": {name: one.shape(_level_without(name)) for name, one in workers.items()},
        }
        return (200 if healthy else 503), body

    async def _database(self) -> Condition:
        """Ask PostgreSQL; a connection that does not answer in time is dropped, because it would hang for ever."""
        began = time.perf_counter()
        try:
            connection = await self._pool.acquire(timeout=DEADLINE_S)
        except UNAVAILABLE as error:
            return Condition(False, _sentence(error))
        try:
            await connection.fetchval("select 1", timeout=DEADLINE_S)
        except UNAVAILABLE as error:
            connection.terminate()
            return Condition(False, _sentence(error))
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection, timeout=DEADLINE_S)
        return Condition(True, f"answers in {_milliseconds(began)} ms")

    async def _ping(self) -> Condition:
        began = time.perf_counter()
        try:
            await self._redis.ping()
        except UNAVAILABLE as error:
            return Condition(False, _sentence(error))
        return Condition(True, f"answers in {_milliseconds(began)} ms")

    async def _reports(self) -> dict[str, HealthReport]:
        try:
            return await self._store.health()
        except UNAVAILABLE:  # Redis itself is asked by `_ping`, and says why
            return {}


def _outcome(task: asyncio.Task[Any], otherwise: Any) -> Any:
    if not task.done():
        task.cancel()
        return otherwise
    return task.result()


def _condition(report: HealthReport | None) -> Condition:
    return Condition(False, SILENT) if report is None else Condition(report.ok, report.detail)


def _kind(component: str) -> str:
    """Return what a component is: its name up to the colon, behind which stands which one."""
    return component.partition(":")[0]


def _level_without(worker: str) -> str:
    return "failed" if _kind(worker) in VITAL else "degraded"


def _workers(reports: Mapping[str, HealthReport]) -> dict[str, Condition]:
    """Return what workers say of themselves, in order of name; of those that are expected, their silence too."""
    heard = {_kind(name) for name in reports}
    found = {name: _condition(report) for name, report in reports.items() if name not in REPORTED}
    missing = {name: _condition(None) for name in EXPECTED if name not in heard}
    return dict(sorted((found | missing).items()))


def _summary(conditions: Mapping[str, Condition]) -> str:
    """Return in one word how it is for a client: ok; delayed, where prices may be old; or failed."""
    wrong = {_kind(name) for name, one in conditions.items() if not one.ok}
    if wrong & set(VITAL):
        return "failed"
    return "delayed" if wrong - ONLY_FOR_STAFF else "ok"


def _sentence(error: BaseException) -> str:
    """Say what failed without addresses or secrets: the kind of the error, the log has the rest."""
    return f"does not answer ({type(error).__name__})"


def _milliseconds(began: float) -> float:
    return round(1000 * (time.perf_counter() - began), 1)


@router.get("/health", include_in_schema=False)
@router.get("/api/health")
async def health(state: State) -> JsonResponse:
    """Return 200 where everything answers, 503 where something does not, and what."""
    status, body = await state.health.answer()
    return JsonResponse(body, status)
