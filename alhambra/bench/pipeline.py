"""Measure the whole pipeline: ticks in, updates out, and what each process spends on it."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
import psutil

from alhambra.bench.platform import Listener, open_platform, sign_in
from alhambra.running import Address
from db.live import LiveStore, Progress, create_redis

WARM_UP_S = 5.0
MAX_HZ = 20.0


class PipelineFigures(msgspec.Struct, frozen=True):
    """Hold what was seen at a rate of ticks.

    `sustained_ticks_per_s` is what the stream applied; `lag_records` what it had not yet read at the end. `p50_ms`
    and `p99_ms` are the age of the newest tick in an update when the update reaches a socket client that takes up
    to twenty a second. `cpu_share` is by process, 1 for a whole core.
    """

    rate: float
    portfolios: int
    clients: int
    sustained_ticks_per_s: float
    lag_records: int
    updates: int
    p50_ms: float
    p99_ms: float
    cpu_share: dict[str, float]


async def measure_pipeline(rate: float, seconds: float, portfolios: int) -> PipelineFigures:
    """Run the demonstration at a rate and watch one portfolio of it."""
    with tempfile.TemporaryDirectory(prefix="alhambra-bench-") as folder:
        options = ("--feed", f"simulated:{rate:g}", "--portfolios", str(portfolios))
        async with open_platform(Path(folder) / "data", *options) as address:
            redis = create_redis(address.redis, "alhambra-bench")
            try:
                return await _measure(address, LiveStore(redis), rate, seconds)
            finally:
                await redis.aclose()


async def _measure(address: Address, store: LiveStore, rate: float, seconds: float) -> PipelineFigures:
    token, portfolio = await sign_in(address, "client")
    listener = Listener()
    await listener.follow(address.url, token, f"portfolio:{portfolio}", MAX_HZ)
    await asyncio.sleep(WARM_UP_S)
    listener.latencies_ms.clear()
    before, began, spent = await _progress(store), time.monotonic(), _cpu_seconds(address)
    await asyncio.sleep(seconds)
    after, elapsed, spent_after = await _progress(store), time.monotonic() - began, _cpu_seconds(address)
    latencies = sorted(listener.latencies_ms)
    await listener.close()
    between_s = (after.reported_ns - before.reported_ns) / 1e9
    return PipelineFigures(
        rate=rate,
        portfolios=after.portfolios,
        clients=1,
        sustained_ticks_per_s=round((after.ticks - before.ticks) / between_s, 1),
        lag_records=after.lag,
        updates=len(latencies),
        p50_ms=round(statistics.median(latencies), 1),
        p99_ms=round(latencies[int(0.99 * (len(latencies) - 1))], 1),
        cpu_share={name: round((spent_after[name] - spent[name]) / elapsed, 3) for name in spent},
    )


async def _progress(store: LiveStore) -> Progress:
    (progress,) = (await store.progress()).values()
    return progress


def _cpu_seconds(address: Address) -> dict[str, float]:
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in address.pids.items()}
