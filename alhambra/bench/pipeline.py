"""Measure the whole way of a tick: source, broker, stream, Redis, api, socket."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from alhambra.bench.bank import BankSize, issue_tokens, portfolio_id
from alhambra.bench.crowd import Crowd, open_crowd, percentile_ms
from alhambra.bench.drain import drain
from alhambra.bench.stage import Stage, open_stage
from alhambra.bench.swarm import Task
from alhambra.ports import LOOPBACK
from db.live import Progress

WARM_UP_S = 5.0
WARM_UP_PER_PORTFOLIO_S = 2e-4  # a stream that has just begun closes the days that nobody saw end


@dataclass(frozen=True, slots=True)
class Load:
    """Say what to measure at: ticks a second, portfolios, clients, and how often each of them wants an update."""

    rate: float
    portfolios: int
    clients: int
    max_hz: float


class PipelineFigures(msgspec.Struct, frozen=True):
    """Hold what was seen at a rate of ticks.

    `sustained_ticks_per_s` is what the stream applied; `lag_records` what it had not yet read at the end. `p50_ms`
    and `p99_ms` are the age of the newest tick in an update when the update reaches a socket client, over all
    `updates` of all clients, each of which follows a portfolio of its own; `gaps` are updates that did not follow
    the one before. `cpu_share` is by process, 1 for a whole core, `clients` being the measuring side;
    `processor_us_per_tick` is that of the platform together. `bank_s` is how long the bank took to write,
    `start_s` until ingest, stream and api were ready.
    """

    rate: float
    portfolios: int
    clients: int
    sustained_ticks_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_share: dict[str, float]
    processor_us_per_tick: float
    updates: int
    updates_per_client_s: float
    gaps: int
    lost_clients: int
    lag_records: int
    bank_s: float
    start_s: float
    broker_to_book_ticks_per_core_s: float = 0.0


async def measure_pipeline(load: Load, seconds: float) -> PipelineFigures:
    """Run production's processes on a synthetic bank at a rate, with a crowd of clients; then drain a broker."""
    figures = await _measure_clients(load, seconds)
    drained = await drain(load.portfolios)
    return msgspec.structs.replace(figures, broker_to_book_ticks_per_core_s=drained.ticks_per_core_s)


async def _measure_clients(load: Load, seconds: float) -> PipelineFigures:
    with tempfile.TemporaryDirectory(prefix="alhambra-bench-") as folder:
        size, place = BankSize(load.portfolios), Path(folder)
        async with (
            open_stage(place / "data", size, load.clients, f"simulated:{load.rate:g}") as stage,
            open_crowd(_task(stage, load), place) as crowd,
        ):
            await asyncio.sleep(WARM_UP_S + WARM_UP_PER_PORTFOLIO_S * load.portfolios)
            return await _measure(stage, crowd, load, seconds)


def _task(stage: Stage, load: Load) -> Task:
    tokens = issue_tokens(stage.plan.secrets.jwt_secret, load.clients)
    clients = [(token, f"portfolio:{portfolio_id(number)}") for number, token in enumerate(tokens)]
    return Task(LOOPBACK, stage.plan.options.port, load.max_hz, clients)


async def _measure(stage: Stage, crowd: Crowd, load: Load, seconds: float) -> PipelineFigures:
    before, spent = await _progress(stage), _cpu_seconds(stage, crowd)
    began = time.monotonic()
    crowd.begin()
    await asyncio.sleep(seconds)
    elapsed = time.monotonic() - began
    spent_after, seen = _cpu_seconds(stage, crowd), await crowd.end()
    after = await _progress(stage)
    ticks = (after.ticks - before.ticks) / ((after.reported_ns - before.reported_ns) / 1e9)
    shares = {name: (spent_after[name] - spent[name]) / elapsed for name in spent}
    platform = sum(share for name, share in shares.items() if name != "clients")
    return PipelineFigures(
        rate=load.rate,
        portfolios=after.portfolios,
        clients=load.clients,
        sustained_ticks_per_s=round(ticks, 1),
        p50_ms=percentile_ms(seen, 0.50),
        p99_ms=percentile_ms(seen, 0.99),
        cpu_share={name: round(share, 3) for name, share in shares.items()},
        processor_us_per_tick=round(1e6 * platform / ticks, 3),
        updates=seen.updates,
        updates_per_client_s=round(seen.updates / load.clients / elapsed, 2),
        gaps=seen.gaps,
        lost_clients=seen.lost,
        lag_records=after.lag,
        bank_s=stage.seconds["bank"],
        start_s=stage.seconds["start"],
    )


async def _progress(stage: Stage) -> Progress:
    (progress,) = (await stage.store.progress()).values()
    return progress


def _cpu_seconds(stage: Stage, crowd: Crowd) -> dict[str, float]:
    return {**stage.cpu_seconds(), "clients": crowd.cpu_seconds()}
