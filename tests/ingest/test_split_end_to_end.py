"""A split announced by the back office passes through every process without anybody seeing a gain or a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from fakes import eventually
from fakes_iboss import QUICK, Simulator, open_simulator, portfolio_id, seed_tiny_bank, tiny_bank
from fakes_stream import open_worker, read_valuation

from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.iboss.client import open_iboss
from ingest.iboss.corporate_actions import ActionReader
from ingest.iboss.guard import CallGuard
from ingest.iboss.health import IbossHealth
from ingest.iboss.ledger_store import LedgerStore
from ingest.iboss.outbox import Outbox
from ingest.iboss.worker import IbossWorker
from ingest.market.source import SimulatedFeed
from ingest.market.worker import run_market
from stream.kafka import open_producer
from stream.messages import Valuation, ValuationRow
from stream.settings import StreamSettings

pytestmark = pytest.mark.integration
PORTFOLIO = str(portfolio_id("IB1"))  # 9,000 dollars, and 10 IBM that closed at 120
NOTICE_S = 8.0  # every process looks for splits each two seconds
JUMP = 60.0  # the walk moves 1,200 dollars by far less; half of them or twice as many are 600 or 1,200


@dataclass(frozen=True, slots=True)
class Platform:
    """Hold what is looked at while all processes run."""

    pool: asyncpg.Pool
    live: LiveStore
    simulator: Simulator

    async def valuation(self) -> Valuation | None:
        """Return the newest valuation of the portfolio."""
        document = await self.live.valuation(PORTFOLIO)
        return None if document is None else read_valuation(document)

    async def share(self) -> ValuationRow | None:
        """Return the row of the share once it is quoted."""
        found = await self.valuation()
        rows = [row for row in found.rows if row.symbol == "IBM" and row.state == "live"] if found else []
        return rows[0] if rows else None

    async def booked(self) -> int:
        """Return how many bookings of a split the ledger has."""
        return int(await self.pool.fetchval("select count(*) from transactions where type = 'split'"))

    async def agrees(self) -> bool:
        """Say whether the checker has found live to equal batch, and has looked."""
        reports = await self.live.health()
        found = [one for name, one in reports.items() if name.startswith("live_equals_batch")]
        return bool(found) and all(one.ok and "checked" in one.detail for one in found)


@asynccontextmanager
async def open_platform(folder: Path, postgres: str, redis_url: str, servers: str) -> AsyncIterator[Platform]:
    """Run back office, ingest of both kinds and the stream in this process."""
    redis = create_redis(redis_url, "tests")
    live, settings = (
        LiveStore(redis),
        StreamSettings(database_url=postgres, redis_url=redis_url, kafka_bootstrap_servers=servers),
    )
    async with open_pool(postgres, "tests") as pool, open_simulator(folder) as simulator:
        await seed(pool)
        async with (
            open_producer(servers, "tests") as producer,
            open_iboss(simulator.address(), QUICK) as client,
            open_worker(settings),
            asyncio.TaskGroup() as tasks,
        ):
            store, health = LedgerStore(pool), IbossHealth(live, CallGuard())
            worker = IbossWorker(client, store, Outbox(pool, producer), health, ActionReader(client, store, 0.2))
            running = [
                tasks.create_task(worker.run(0.2)),
                tasks.create_task(run_market([SimulatedFeed(400, 5)], pool, live, servers)),
            ]
            await live.watch([PORTFOLIO], 600)
            yield Platform(pool, live, simulator)
            for one in running:
                one.cancel()
    await redis.aclose()


async def seed(pool: asyncpg.Pool) -> None:
    """Write the tiny bank, and what its share and the euro closed at yesterday."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    async with pool.acquire() as connection:
        await seed_tiny_bank(connection, tiny_bank())
        await connection.executemany(
            "insert into daily_prices values ($1, $2, $3)", [(3, yesterday, 120.0), (2, yesterday, 1.25)]
        )


async def test_nobody_sees_a_gain_or_a_loss_over_a_split(
    tmp_path: Path, postgres_url: str, redis_url: str, kafka_servers: str
) -> None:
    async with open_platform(tmp_path, postgres_url, redis_url, kafka_servers) as platform:
        await eventually(platform.share, "the share is quoted and valued", 60)
        await platform.simulator.control(split={"symbol": "IBM", "ratio": "2", "in_seconds": NOTICE_S})
        seen: list[ValuationRow] = []
        while len(seen) < 2 or seen[-1].quantity == 10 or await platform.booked() < 3:
            row = await platform.share()
            assert row is not None
            seen.append(row)
            await asyncio.sleep(0.02)
        for _ in range(100):  # two more seconds: the bookings have been published and read
            row = await platform.share()
            assert row is not None
            seen.append(row)
            await asyncio.sleep(0.02)
        await eventually(platform.agrees, "live equals batch", 30)
    assert {(one.quantity, one.prior_close) for one in seen} == {(10.0, 120.0), (20.0, 60.0)}
    assert max(abs(one.day_pnl) for one in seen) < JUMP
    assert {round(one.price / one.prior_close, 1) for one in seen} == {1.0}
