"""Say how IBOSS is, every two seconds, whatever the worker waits for."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from db.live import LiveStore
from ingest.iboss.errors import IbossError
from ingest.iboss.guard import CallGuard

COMPONENT = "iboss"
LATENCY = "iboss:latency"  # apart, because slow is not away: it delays, and fails nothing
RECONCILIATION = "reconciliation"
REPORT_EVERY_S = 2.0
SILENT_AFTER_S = 30.0  # the longest a call with its retries takes while all is well

FAILED_POLLS = Counter("iboss_failed_polls_total", "Polls of IBOSS that ended in an error.", ["error"])
LAST_SUCCESS = Gauge("iboss_last_success_timestamp_seconds", "When a round of a poll last ended well.")

log = structlog.get_logger()


class IbossHealth:
    """Keep the newest state and report it to Redis; without Redis it is only logged."""

    def __init__(self, live: LiveStore, guard: CallGuard) -> None:
        self._live = live
        self._guard = guard
        self._ok = False
        self._detail = "starting"
        self._advice = ""
        self._heard_at_s = time.monotonic()
        self._reconciliation = (True, "waits until everything was read once")

    def succeeded(self, detail: str) -> None:
        """Note that a round ended well."""
        self._ok, self._detail, self._advice, self._heard_at_s = True, detail, "", time.monotonic()
        LAST_SUCCESS.set_to_current_time()

    def failed(self, error: BaseException) -> None:
        """Note that a poll failed; what somebody must do about it is said with it."""
        name = type(error).__name__
        text = str(error).removeprefix(f"{name}: ")  # aiokafka's errors name themselves, and so do faults of IBOSS
        self._ok, self._detail = False, f"{name}: {text}"
        self._advice = error.advice if isinstance(error, IbossError) else ""
        FAILED_POLLS.labels(name).inc()
        log.warning("the poll of IBOSS failed", error=self._detail)

    def reconciled(self, ok: bool, detail: str) -> None:
        """Note how a reconciliation ended."""
        self._reconciliation = (ok, detail)

    def state(self) -> tuple[bool, str]:
        """Return whether IBOSS is well, and a sentence for people."""
        silent_s = time.monotonic() - self._heard_at_s
        if self._ok and silent_s > SILENT_AFTER_S:
            return False, f"no answer for {silent_s:.0f} s; before that {self._detail}"
        parts = (self._detail, self._guard.words(), self._advice)
        return self._ok, "; ".join(part for part in parts if part)

    async def report(self) -> None:
        """Write the state to Redis, that of the latency and of the reconciliation with it."""
        self._guard.export()
        reports = {
            COMPONENT: self.state(),
            LATENCY: self._guard.within_target(),
            RECONCILIATION: self._reconciliation,
        }
        try:
            for component, (ok, detail) in reports.items():
                await self._live.report_health(component, ok, detail)
        except (RedisError, OSError) as error:
            log.warning("the health of IBOSS cannot be reported", error=str(error))

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self.report()
            await asyncio.sleep(REPORT_EVERY_S)
