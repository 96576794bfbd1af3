"""Say how IBOSS is, every two seconds, whatever the worker waits for."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from db.live import LiveStore

COMPONENT = "iboss"
REPORT_EVERY_S = 2.0
SILENT_AFTER_S = 30.0  # the longest a call with its retries takes while all is well

FAILED_POLLS = Counter("iboss_failed_polls_total", "Polls of IBOSS that ended in an error.", ["error"])
LAST_SUCCESS = Gauge("iboss_last_success_timestamp_seconds", "When a round of a poll last ended well.")

log = structlog.get_logger()


class IbossHealth:
    """Keep the newest state and report it to Redis; without Redis it is only logged."""

    def __init__(self, live: LiveStore) -> None:
        self._live = live
        self._ok = False
        self._detail = "starting"
        self._heard_at_s = time.monotonic()

    def succeeded(self, detail: str) -> None:
        """Note that a round ended well."""
        self._ok, self._detail, self._heard_at_s = True, detail, time.monotonic()
        LAST_SUCCESS.set_to_current_time()

    def failed(self, error: BaseException) -> None:
        """Note that a poll failed."""
        name = type(error).__name__
        text = str(error).removeprefix(f"{name}: ")  # aiokafka's errors name themselves
        self._ok, self._detail = False, f"{name}: {text}"
        FAILED_POLLS.labels(name).inc()
        log.warning("the poll of IBOSS failed", error=self._detail)

    def state(self) -> tuple[bool, str]:
        """Return whether IBOSS is well, and a sentence for people."""
        silent_s = time.monotonic() - self._heard_at_s
        if self._ok and silent_s > SILENT_AFTER_S:
            return False, f"no answer for {silent_s:.0f} s; before that {self._detail}"
        return self._ok, self._detail

    async def report(self) -> None:
        """Write the state to Redis."""
        ok, detail = self.state()
        try:
            await self._live.report_health(COMPONENT, ok, detail)
        except (RedisError, OSError) as error:
            log.warning("the health of IBOSS cannot be reported", error=str(error))

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self.report()
            await asyncio.sleep(REPORT_EVERY_S)
