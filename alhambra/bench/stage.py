"""Put the platform on stage for a measurement: production's processes on a synthetic bank, thrown away afterwards."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import structlog

from alhambra.bench.bank import BankSize, write_bank
from alhambra.data_folder import open_data_folder
from alhambra.demonstration import Demonstration, IbossLogin
from alhambra.options import UpOptions
from alhambra.plan import Plan, create_plan, postgres_child, server_children, worker_children
from alhambra.ports import free_port
from alhambra.settings import DoorSettings
from alhambra.supervise import Supervisor, open_supervisor
from db.live import LiveStore, create_redis
from db.migrate import migrate

START_S = 600.0  # a hundred thousand portfolios take their time to be restored
NOBODY = IbossLogin("nobody", "nobody")
WORKERS = ("ingest-market", "stream", "api")
NO_BROKER = "none:9092"  # for a stage whose workers need none

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold the running platform; `seconds` says how long its bank took to write and its processes to be ready."""

    plan: Plan
    store: LiveStore
    supervisor: Supervisor
    seconds: dict[str, float]

    def resident_bytes(self, name: str) -> int:
        """Return the memory that a process holds."""
        return int(psutil.Process(self.supervisor.pids[name]).memory_info().rss)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time that each process has used, with its children."""
        return {name: _cpu_seconds(pid) for name, pid in self.supervisor.pids.items()}


@asynccontextmanager
async def open_stage(
    folder: Path, size: BankSize, clients: int, feed: str, workers: Collection[str] = WORKERS
) -> AsyncIterator[Stage]:
    """Start servers, write the bank, start the workers; all of it ends on leaving.

    Servers are always ours but for Kafka, which the environment may name: a bank is written into an empty database.
    The api alone needs no Kafka.
    """
    servers = NO_BROKER if set(workers) <= {"api"} else DoorSettings().kafka_bootstrap_servers
    settings = DoorSettings.model_construct(kafka_bootstrap_servers=servers)
    async with AsyncExitStack() as stack:
        data = stack.enter_context(open_data_folder(folder))
        plan = create_plan(UpOptions(free_port(), folder, feed), settings, data)
        supervisor = await stack.enter_async_context(open_supervisor(data.logs, log.warning))
        redis = create_redis(plan.redis_url, "alhambra-bench")
        stack.push_async_callback(redis.aclose)
        stage = Stage(plan, LiveStore(redis), supervisor, {})
        await _start(stage, size, clients, workers)
        yield stage


async def _start(stage: Stage, size: BankSize, clients: int, workers: Collection[str]) -> None:
    plan, supervisor = stage.plan, stage.supervisor
    assert plan.postgres is not None
    await supervisor.start(postgres_child(plan.postgres))
    await plan.postgres.create_database()
    await supervisor.start(*server_children(plan))
    began = time.monotonic()
    await migrate(plan.database_url)
    await write_bank(plan.database_url, size, clients)
    stage.seconds["bank"] = round(time.monotonic() - began, 1)
    nobody = Demonstration(datetime.now(UTC).date().isoformat(), "", size.portfolios, (), (NOBODY,))
    children = [one for one in worker_children(plan, nobody, stage.store) if one.name in workers]
    began = time.monotonic()
    await supervisor.start(*(dataclasses.replace(one, start_seconds=START_S) for one in children))
    stage.seconds["start"] = round(time.monotonic() - began, 1)


def _cpu_seconds(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)])
