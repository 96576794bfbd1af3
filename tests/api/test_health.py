"""Health says of each part how bad its failure is, and of silence that it is one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fakes import eventually

from db.live import LiveStore

pytestmark = pytest.mark.integration
WELL = ("kafka", "iboss", "stream", "market:simulated", "live_equals_batch:w1", "live_equals_batch:w2")


async def report(store: LiveStore, **failing: str) -> None:
    """Report everything as well but for what fails."""
    for name in WELL:
        await store.report_health(name, name not in failing, failing.get(name, "is well"))


async def health(web: httpx.AsyncClient, summary: str) -> dict[str, Any]:
    """Return what the process says, once it says this summary; its answer is shared for half a second."""

    async def says() -> dict[str, Any] | None:
        found: dict[str, Any] = (await web.get("/api/health")).json()
        return found if found["summary"] == summary else None

    found: dict[str, Any] = await eventually(says, f"health is {summary}")
    return found


async def test_what_should_report_and_does_not_has_failed(web: httpx.AsyncClient) -> None:
    found = await health(web, "failed")
    for name in ("stream", "market", "live_equals_batch"):
        assert found["workers"][name]["status"] == "failed"
        assert "has not reported" in found["workers"][name]["detail"]


async def test_a_feed_that_is_silent_delays_prices(web: httpx.AsyncClient, store: LiveStore) -> None:
    await report(store)
    await health(web, "ok")
    await report(store, **{"market:simulated": "no quote for 12 s"})
    found = await health(web, "delayed")
    assert found["workers"]["market:simulated"]["level"] == "degraded"
    assert found["workers"]["stream"]["level"] == "ok"


async def test_drift_on_one_worker_is_not_hidden_by_another(web: httpx.AsyncClient, store: LiveStore) -> None:
    await report(store, **{"live_equals_batch:w1": "portfolio p: day_pnl is 2 live and 1 recomputed"})
    found = await health(web, "failed")
    assert found["workers"]["live_equals_batch:w1"]["level"] == "failed"
    assert found["workers"]["live_equals_batch:w2"]["level"] == "ok"


async def test_a_slow_back_office_delays_and_breaks_are_for_staff_and_fail_nothing(
    web: httpx.AsyncClient, store: LiveStore
) -> None:
    await report(store)
    await store.report_health("iboss:latency", False, "95 of 100 calls within 700 ms; the target is 500 ms")
    found = await health(web, "delayed")
    assert (found["status"], found["workers"]["iboss:latency"]["level"]) == ("ok", "degraded")
    await store.report_health("iboss:latency", True, "quick")
    await store.report_health("reconciliation", False, "open: 2 quantity")
    found = await health(web, "ok")
    assert found["workers"]["reconciliation"]["level"] == "degraded"
    await store.report_health("reconciliation", True, "nothing is open")
