"""Stand before every call to IBOSS: its quota, its circuit, its patience with sign-ins; and know how it goes.

One guard lasts as long as the process. Clients come and go with connections, and what IBOSS bears does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge, Histogram

from ingest.iboss.breaker import Breaker
from ingest.iboss.contract import SIGN_IN
from ingest.iboss.errors import (
    CircuitOpen,
    IbossError,
    QuotaExceeded,
    RequestRefused,
    SourceUnavailable,
    UnreadableAnswer,
)
from ingest.iboss.latency import TARGET_S, WINDOW_S, Latency
from ingest.iboss.quota import Quota, parse_quota, pause_before_call
from ingest.iboss.sign_ins import SignIns

LONGEST_PAUSE_S = 10.0  # a longer one is said and left to whoever asked
CIRCUIT_STATES = ("closed", "half_open", "open")
# The target of 500 ms is an edge of the histogram, so that the share of calls within it is exact.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, TARGET_S, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
FAILURES = (SourceUnavailable, UnreadableAnswer)  # anything else is an answer, if not the one hoped for

CALL_SECONDS = Histogram(
    "iboss_call_seconds", "Duration of one call to IBOSS, over HTTP.", ["operation"], buckets=BUCKETS
)
CALL_ERRORS = Counter(
    "iboss_call_errors_total", "Calls to IBOSS that failed, by operation and error.", ["operation", "error"]
)
CALL_P95 = Gauge("iboss_call_p95_seconds", "Within this 95 % of the calls of the last five minutes ended.")
CIRCUIT = Gauge("iboss_circuit_state", "1 for the state the circuit to IBOSS is in.", ["state"])
QUOTA_LIMIT = Gauge("iboss_quota_limit_calls", "Calls a window that IBOSS allows.")
QUOTA_REMAINING = Gauge("iboss_quota_remaining_calls", "Calls left in this window, by the last answer.")
QUOTA_WAITED = Counter("iboss_quota_wait_seconds_total", "Seconds that calls were held back for the quota.")


class CallGuard:
    """Admit calls one at a time and learn from how they end; `last_call_s` is how long the newest took."""

    def __init__(self) -> None:
        self._breaker = Breaker()
        self._latency = Latency()
        self._quota: Quota | None = None
        self._blocked_until_s = 0.0
        self.sign_ins = SignIns()
        self.last_call_s = 0.0

    @asynccontextmanager
    async def call(self, operation: str) -> AsyncIterator[None]:
        """Wait for the quota, then let one call happen.

        Raises `CircuitOpen` or `QuotaExceeded` where it may not for a while; errors of the call pass through.
        """
        await self._keep_quota(operation)
        wait_s = self._breaker.admit(time.monotonic())
        if wait_s > 0:
            raise CircuitOpen(f"it failed too often and is asked again in {wait_s:.0f} s", wait_s)
        began_s = time.monotonic()
        try:
            yield
        except IbossError as error:
            CALL_ERRORS.labels(operation, type(error).__name__).inc()
            self._judge(error)
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        else:
            self._breaker.succeeded()
        finally:
            now_s = time.monotonic()
            self.last_call_s = now_s - began_s
            self._latency.add(now_s, self.last_call_s)
            CALL_SECONDS.labels(operation).observe(self.last_call_s)

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take the quota that an answer states; one without it, such as a proxy's page, changes nothing."""
        self._quota = parse_quota(headers, time.monotonic()) or self._quota

    def p95(self) -> float | None:
        """Return the seconds within which 95 of 100 calls of the last five minutes ended, None for too few calls."""
        return self._latency.p95(time.monotonic())

    def within_target(self) -> tuple[bool, str]:
        """Return whether calls are as quick as they must be, and a sentence for people."""
        p95_s = self.p95()
        if p95_s is None:
            return True, "too few calls to judge"
        words = f"95 of 100 calls within {p95_s * 1000:.0f} ms over {WINDOW_S / 60:.0f} min"
        return p95_s <= TARGET_S, f"{words}; the target is {TARGET_S * 1000:.0f} ms"

    def words(self) -> str:
        """Say what is worth knowing beside success or failure: latency, quota, circuit, signing in."""
        now_s, p95_s = time.monotonic(), self.p95()
        state = self._breaker.state(now_s)
        parts = [
            f"p95 {p95_s * 1000:.0f} ms" if p95_s is not None else "",
            f"{self._quota.remaining:,} of {self._quota.limit:,} calls left" if self._quota else "",
            f"circuit {state.replace('_', ' ')}" if state != "closed" else "",
            self.sign_ins.plan(now_s),
        ]
        return ", ".join(part for part in parts if part)

    def export(self) -> None:
        """Set the gauges; they change with time as well as with calls."""
        state = self._breaker.state(time.monotonic())
        for one in CIRCUIT_STATES:
            CIRCUIT.labels(one).set(one == state)
        CALL_P95.set(self.p95() or float("nan"))
        if self._quota is not None:
            QUOTA_LIMIT.set(self._quota.limit)
            QUOTA_REMAINING.set(self._quota.remaining)

    async def _keep_quota(self, operation: str) -> None:
        now_s = time.monotonic()
        stated_s = pause_before_call(self._quota, now_s, signing_in=operation == SIGN_IN)
        pause_s = max(stated_s, self._blocked_until_s - now_s)
        if pause_s > LONGEST_PAUSE_S:
            raise QuotaExceeded(
                f"few calls of this window are left, the last for signing in; it goes on in {pause_s:.0f} s", pause_s
            )
        if pause_s > 0:
            QUOTA_WAITED.inc(pause_s)
            await asyncio.sleep(pause_s)

    def _judge(self, error: IbossError) -> None:
        now_s = time.monotonic()
        if isinstance(error, QuotaExceeded):
            self._blocked_until_s = now_s + error.retry_after_s
        if isinstance(error, FAILURES):
            self._breaker.failed(now_s)
        elif isinstance(error, RequestRefused):
            self._breaker.abandoned()  # it may not have been sent at all
        else:
            self._breaker.succeeded()
