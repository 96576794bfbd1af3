"""Put a pipeline on stage: the processes of production on a bank of its own, in a folder that is thrown away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from alhambra.bank import Bank, ExtraInstrument, create_bank
from alhambra.data_folder import open_data_folder
from alhambra.demonstration import Demonstration, Login
from alhambra.demonstration import IbossLogin as DemonstrationIbossLogin
from alhambra.iboss_sim.ledger import create_ledger
from alhambra.options import UpOptions
from alhambra.plan import Plan, create_plan, iboss_child, iboss_worker, postgres_child, server_children, worker_children
from alhambra.seed import seed
from alhambra.settings import DoorSettings
from alhambra.supervise import Supervisor, open_supervisor
from db.live import LiveStore, Progress, create_redis
from db.migrate import migrate

WORKERS = ("stream",)
SETTLE_S = 120.0
POLL_S = 0.1

log = structlog.get_logger()


class NotSettled(Exception):
    """Say that the pipeline did not come to rest in time, and how far it was."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold a running pipeline without a market feed."""

    plan: Plan
    bank: Bank
    store: LiveStore

    async def settled(self, offsets: dict[str, int], seconds: float = SETTLE_S) -> Progress:
        """Wait until the stream has every portfolio, has read up to `offsets` and has written all; say how far it is.

        Raises `NotSettled` after `seconds`.
        """
        began_ns, deadline = time.time_ns(), time.monotonic() + seconds
        wanted = len(self.bank.accounts)
        while True:
            reports = [one for one in (await self.store.progress()).values() if one.reported_ns > began_ns]
            for one in reports:
                read = all(one.offsets.get(partition, 0) >= offset for partition, offset in offsets.items())
                if read and one.portfolios >= wanted and one.pending == 0:
                    return one
            if time.monotonic() > deadline:
                raise NotSettled(f"after {seconds:.0f} s the stream reports {reports or 'nothing'}")
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def open_stage(folder: Path, portfolios: int, extra: Sequence[ExtraInstrument]) -> AsyncIterator[Stage]:
    """Start servers, IBOSS simulator, IBOSS worker and stream in `folder`; all of it ends on leaving.

    Servers that the environment names are used instead of ours, as by `alhambra up`.
    """
    settings = DoorSettings()
    bank = await asyncio.to_thread(create_bank, datetime.now(UTC).date(), portfolios, extra)
    async with AsyncExitStack() as stack:
        data = stack.enter_context(open_data_folder(folder))
        plan = create_plan(UpOptions(0, folder, "none", portfolios), settings, data)
        supervisor = await stack.enter_async_context(open_supervisor(data.logs, log.warning))
        redis = create_redis(plan.redis_url, "alhambra-verify")
        stack.push_async_callback(redis.aclose)
        stage = Stage(plan, bank, LiveStore(redis))
        await _start(stage, supervisor)
        yield stage


async def _start(stage: Stage, supervisor: Supervisor) -> None:
    plan, bank = stage.plan, stage.bank
    if plan.postgres is not None:
        await supervisor.start(postgres_child(plan.postgres))
        await plan.postgres.create_database()
    await asyncio.gather(supervisor.start(*server_children(plan)), _make_bank(plan, bank))
    await supervisor.start(*iboss_child(plan))
    known = _demonstration(bank)
    workers = [child for child in worker_children(plan, known, stage.store) if child.name in WORKERS]
    await supervisor.start(*workers, iboss_worker(plan, known, stage.store))


async def _make_bank(plan: Plan, bank: Bank) -> None:
    await migrate(plan.database_url)
    await seed(plan.database_url, bank)
    back_office = plan.folder.path / "iboss"
    back_office.mkdir(mode=0o700, exist_ok=True)
    await asyncio.to_thread(create_ledger, back_office / "iboss.sqlite3", bank)


def _demonstration(bank: Bank) -> Demonstration:
    """Name the service user of IBOSS, which the worker needs; nobody signs in to the page."""
    logins: tuple[Login, ...] = ()
    service = [DemonstrationIbossLogin(one.username, one.password) for one in bank.iboss_users if one.accounts is None]
    return Demonstration(bank.today.isoformat(), "", len(bank.accounts), logins, tuple(service))
