"""Run the whole platform on one machine: servers, bank, workers and page, until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import redis

from alhambra.data_folder import open_data_folder
from alhambra.demonstration import Demonstration, prepare_demonstration
from alhambra.errors import CannotStart
from alhambra.given import require_answers
from alhambra.http_probe import http_get
from alhambra.options import UpOptions
from alhambra.plan import (
    Plan,
    create_plan,
    iboss_child,
    iboss_worker,
    postgres_child,
    server_children,
    worker_children,
)
from alhambra.ports import require_free
from alhambra.running import Address, forget_running, write_running
from alhambra.screen import Screen
from alhambra.settings import DEFAULT_FEED, DoorSettings
from alhambra.supervise import Supervisor, open_supervisor
from db.live import HealthReport, LiveStore, create_redis

ANSWER_SECONDS = 120.0
POLL_S = 0.1
STATUS_EVERY_S = 1.0
HEALTHY = 200


@dataclass(frozen=True, slots=True)
class Run:
    """Hold what a run works with."""

    plan: Plan
    supervisor: Supervisor
    screen: Screen
    store: LiveStore


def up(options: UpOptions, settings: DoorSettings) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; everything started is ended within ten seconds of it.

    Raises `CannotStart` with one sentence for people.
    """
    asyncio.run(_until_signalled(_up(options, settings)))


async def _until_signalled(main: Any) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        asked.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask)
    try:
        await task
    except asyncio.CancelledError:
        if not asked.is_set():
            raise


async def _up(options: UpOptions, settings: DoorSettings) -> None:
    began = time.monotonic()
    _check(options, settings)
    await require_answers(settings)
    with open_data_folder(options.data) as folder, Screen(options.ready_json) as screen:
        plan = create_plan(options, settings, folder)
        screen.say(f"Starting in {folder.path}; logs are in {folder.logs}.")
        async with _open_run(plan, screen) as run:
            bank = await _start(run)
            address = _address(run, bank)
            write_running(folder, address)
            screen.say_ready(address)
            screen.say(f"Everything answers, after {time.monotonic() - began:.1f} s.")
            await _attend(run, bank)


def _check(options: UpOptions, settings: DoorSettings) -> None:
    require_free(options.port)
    if options.feed == DEFAULT_FEED:
        return  # needs no reading, and the reader costs a start a third of a second
    from ingest.market.errors import FeedUnclear
    from ingest.market.source import check_feeds, parse_feeds

    try:
        check_feeds(parse_feeds(options.feed), settings.venue_keys())
    except FeedUnclear as error:
        raise CannotStart(str(error)) from error


@asynccontextmanager
async def _open_run(plan: Plan, screen: Screen) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:
        store = create_redis(plan.redis_url, "alhambra-up")
        stack.push_async_callback(store.aclose)
        stack.callback(forget_running, plan.folder)
        stack.callback(screen.say, "Everything has ended.")
        supervisor = await stack.enter_async_context(open_supervisor(plan.folder.logs, screen.warn))
        yield Run(plan, supervisor, screen, LiveStore(store))


async def _start(run: Run) -> Demonstration:
    """Start what can be started side by side; return when everything answers and a portfolio has its value."""
    showing = asyncio.create_task(_show(run), name="status line")
    plan, start = run.plan, run.supervisor.start
    try:
        async with _task_group() as group:
            servers = group.create_task(start(*server_children(plan)), name="start servers")
            iboss = group.create_task(start(*iboss_child(plan)), name="start IBOSS")
            bank = await _prepare_database(run)
            await servers
            workers = worker_children(plan, bank, run.store)
            group.create_task(start(*workers), name="start workers")
            await iboss
            group.create_task(start(iboss_worker(plan, bank, run.store)), name="start the IBOSS worker")
        await _everything_answers(run)
    finally:
        showing.cancel()
    return bank


async def _prepare_database(run: Run) -> Demonstration:
    postgres = run.plan.postgres
    if postgres is not None:
        await run.supervisor.start(postgres_child(postgres))
        await postgres.create_database()
    portfolios = run.plan.options.portfolios
    kept = postgres is not None
    return await prepare_demonstration(run.plan.database_url, run.plan.folder, portfolios, run.screen.say, kept)


@asynccontextmanager
async def _task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a task group whose first failure to start is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    found = failures.subgroup(CannotStart) or failures
    first = found.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _everything_answers(run: Run) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while waiting_for := await _missing(run):
        if time.monotonic() > deadline:
            raise CannotStart(
                f"After {ANSWER_SECONDS:.0f} s there is still no {waiting_for}: see the logs in {run.plan.folder.logs}."
            )
        await asyncio.sleep(POLL_S)


async def _missing(run: Run) -> str:
    """Return what is not there yet, or an empty string."""
    answer = await http_get(f"{run.plan.url}/api/health")
    if answer is None:
        return "answer from the page"
    status, body = answer
    if status != HEALTHY:
        return f"health (it says {body[:500].decode(errors='replace')})"
    return "" if await _has_valuation(run.store) else "valuation of a portfolio"


async def _has_valuation(store: LiveStore) -> bool:
    for worker in await store.workers():
        layout = await store.layout(worker)
        if layout and any(await store.valuations(layout.portfolios[:1])):
            return True
    return False


def _address(run: Run, bank: Demonstration) -> Address:
    plan = run.plan
    return Address(
        url=plan.url,
        logins=[{"role": one.role, "email": one.email, "password": one.password} for one in bank.logins],
        iboss_logins=[{"username": one.username, "password": one.password} for one in bank.iboss_logins],
        kafka=plan.kafka_servers,
        database=plan.database_url,
        redis=plan.redis_url,
        iboss=plan.iboss_url,
        pids={"alhambra": os.getpid(), **run.supervisor.pids},
    )


async def _attend(run: Run, bank: Demonstration) -> None:
    """Supervise, show how it goes, and keep the addresses right, until cancelled."""
    async with _task_group() as group:
        group.create_task(run.supervisor.watch(), name="watch")
        group.create_task(_show(run), name="status line")
        group.create_task(_keep_address(run, lambda: _address(run, bank)), name="address")


async def _keep_address(run: Run, current: Callable[[], Address]) -> None:
    written = None
    while True:
        address = current()
        if address != written:
            write_running(run.plan.folder, address)
            written = address
        await asyncio.sleep(STATUS_EVERY_S)


async def _show(run: Run) -> None:
    while True:
        run.screen.show(run.supervisor.states, await _health(run.store))
        await asyncio.sleep(STATUS_EVERY_S)


async def _health(store: LiveStore) -> dict[str, HealthReport]:
    """Return what the workers report, or, while Redis is away or starts, nothing: its own state says so."""
    try:
        return await store.health()
    except (redis.RedisError, msgspec.MsgspecError):
        return {}
