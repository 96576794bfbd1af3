"""One process leads, another follows at once, and a leader stops for another leader only, not for silence."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from fakes import eventually
from fakes_faults import Link
from fakes_iboss import open_simulator, seed_tiny_bank, tiny_bank
from prometheus_client import REGISTRY

from db.leases import Fence, LeaseLost, claim_lease
from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.iboss.worker import run_iboss
from ingest.leadership import Lease, LeaseTimes, elapsed_s, lead
from ingest.process_name import own_name

pytestmark = pytest.mark.integration
PATIENT = LeaseTimes(lasts_s=60.0, renew_s=0.1, ask_s=0.05)  # whoever follows soon has not waited for the end
BRIEF = LeaseTimes(lasts_s=2.0, renew_s=0.1, ask_s=0.05, answer_s=0.3, margin_s=0.1)


class Job:
    """Work that goes on until it is cancelled, or until it is told to fail."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.working = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, lease: Lease) -> None:
        self.leases.append(lease)
        self.working = True
        try:
            async with asyncio.TaskGroup() as tasks:  # as the sources do it
                tasks.create_task(self._wait())
        finally:
            self.working = False

    async def _wait(self) -> None:
        await asyncio.shield(self._failure)

    def fail(self, error: Exception) -> None:
        failure, self._failure = self._failure, asyncio.get_running_loop().create_future()
        failure.set_exception(error)


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(postgres_url, "tests") as lent:
        yield lent


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(redis_url, "tests")
    yield LiveStore(redis)
    await redis.aclose()


@asynccontextmanager
async def candidate(
    pool: asyncpg.Pool, live: LiveStore, job: Job, times: LeaseTimes = PATIENT
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(lead(pool, "market", job.run, live, times))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def works(job: Job, count: int = 1) -> Lease:
    await eventually(lambda: job.working and len(job.leases) == count, f"the work begins, time {count}")
    return job.leases[-1]


async def usurp(pool: asyncpg.Pool, lease: Lease, owner: str = "another", seconds: float = 60.0) -> int:
    """Take a lease over as somebody does for whom it has ended."""
    async with pool.acquire() as connection:
        epoch = await claim_lease(connection, lease.source, owner, seconds, over=lease.epoch)
    assert epoch is not None
    return epoch


def ended_pid() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def metric(name: str) -> Any:
    return REGISTRY.get_sample_value(name, {"source": "market"})


async def test_one_leads_and_when_it_stops_the_other_begins_without_waiting_for_the_end_of_the_lease(
    pool: asyncpg.Pool, live: LiveStore
) -> None:
    first, second = Job(), Job()
    async with candidate(pool, live, first) as task:
        older = await works(first)
        async with candidate(pool, live, second):

            async def stands_by() -> bool:
                reports = [one for name, one in (await live.health()).items() if name.startswith("standby:market:")]
                return any(one.ok and f"{own_name().label} leads" in one.detail for one in reports)

            await eventually(stands_by, "the second says that it stands by")
            assert not second.leases
            task.cancel()
            newer = await works(second)
            assert not first.working
            assert newer.epoch > older.epoch
            assert newer.fence.source == "market"


async def test_who_leads_is_shown_as_metrics(pool: asyncpg.Pool, live: LiveStore) -> None:
    changes = metric("alhambra_lease_changes_total") or 0
    job = Job()
    async with candidate(pool, live, job):
        lease = await works(job)
        assert (metric("alhambra_lease_held"), metric("alhambra_lease_epoch")) == (1, lease.epoch)
    assert (metric("alhambra_lease_held"), metric("alhambra_lease_epoch")) == (0, 0)
    assert metric("alhambra_lease_changes_total") == changes + 2


async def test_who_lost_the_lease_stops_and_leads_again_when_it_is_free(pool: asyncpg.Pool, live: LiveStore) -> None:
    job = Job()
    async with candidate(pool, live, job):
        lease = await works(job)
        await usurp(pool, lease)
        await eventually(lambda: not job.working, "the work is cancelled")
        await pool.execute("update leases set expires_at = now()")
        assert (await works(job, 2)).epoch > lease.epoch


async def test_work_that_a_fence_refuses_is_given_up_and_the_lease_waited_for_again(
    pool: asyncpg.Pool, live: LiveStore
) -> None:
    job = Job()
    async with candidate(pool, live, job, replace(PATIENT, renew_s=60.0)):  # it hears of it from the ledger first
        lease = await works(job)
        await usurp(pool, lease)
        job.fail(LeaseLost("another leads"))
        await eventually(lambda: not job.working, "the work has ended")
        await pool.execute("update leases set expires_at = now()")
        await works(job, 2)


async def test_work_that_fails_for_another_reason_ends_it_and_frees_the_source(
    pool: asyncpg.Pool, live: LiveStore
) -> None:
    job, next_one = Job(), Job()
    async with candidate(pool, live, job) as task:
        await works(job)
        job.fail(ZeroDivisionError())
        await asyncio.wait([task], timeout=10)
        assert isinstance(task.exception(), ExceptionGroup)
        async with candidate(pool, live, next_one):
            await works(next_one)


async def test_a_lease_lasts_while_it_is_renewed(pool: asyncpg.Pool, live: LiveStore) -> None:
    job, waiting = Job(), Job()
    async with candidate(pool, live, job, BRIEF), candidate(pool, live, waiting, BRIEF):
        lease = await eventually(lambda: [*job.leases, *waiting.leases], "one of them leads")
        until_s = elapsed_s() + 1.5 * BRIEF.lasts_s
        await eventually(lambda: elapsed_s() > until_s)
        assert [*job.leases, *waiting.leases] == lease
        assert lease[0].holds()


@pytest.mark.skipif(not own_name().machine, reason="this system does not tell its processes apart for sure")
async def test_the_lease_of_a_process_of_this_machine_that_was_killed_is_not_waited_for(
    pool: asyncpg.Pool, live: LiveStore
) -> None:
    async with pool.acquire() as connection:
        name = replace(own_name(), pid=ended_pid())
        before = await claim_lease(connection, "market", str(name), 600.0)
    job = Job()
    async with candidate(pool, live, job):
        assert (await works(job)).epoch > (before or 0)


async def test_a_lease_that_somebody_left_without_a_word_is_taken_when_it_ends(
    pool: asyncpg.Pool, live: LiveStore
) -> None:
    async with pool.acquire() as connection:
        await claim_lease(connection, "market", "a machine that has lost its power", 1.0)
    job = Job()
    async with candidate(pool, live, job):
        await works(job)


async def test_a_leader_goes_on_while_postgresql_does_not_answer_and_stops_when_it_hears_of_another(
    postgres_url: str, pool: asyncpg.Pool, live: LiveStore
) -> None:
    address = urlsplit(postgres_url)
    job = Job()
    async with Link(address.port or 0).open() as link:
        through = postgres_url.replace(f":{address.port}/", f":{link.port}/")
        async with open_pool(through, "tests") as own_pool, candidate(own_pool, live, job, BRIEF):
            lease = await works(job)
            with link.black_hole():
                over_s = elapsed_s() + BRIEF.lasts_s
                await eventually(lambda: elapsed_s() > over_s and lease.holds(), "it holds on, past the end")
                assert job.working
                await usurp(pool, lease)  # somebody whose PostgreSQL does answer
                still_s = elapsed_s() + BRIEF.lasts_s
                await eventually(lambda: elapsed_s() > still_s and lease.holds(), "it has not heard of it")
                assert job.working
            await eventually(lambda: not job.working, "it hears of it")


def test_after_a_pause_a_lease_does_not_hold_before_somebody_has_asked() -> None:
    lease = Lease("market", 7, elapsed_s() - 0.001)
    assert not lease.holds()
    lease.extend(elapsed_s() + 60.0)
    assert lease.holds()
    assert Lease("market", 7).holds()


async def test_one_broken_connection_does_not_pass_for_an_outage(pool: asyncpg.Pool, live: LiveStore) -> None:
    """A leader that was frozen finds its connections closed; it must ask once more before it takes that for silence."""
    job = Job()
    times = replace(PATIENT, renew_s=0.5, ask_s=0.05)
    async with candidate(pool, live, job, times):
        lease = await works(job)
        lease.extend(elapsed_s() - 1.0)  # it was frozen for longer than the lease lasts,
        await usurp(pool, lease)  # another has followed,
        await pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
            "and datname = current_database()"
        )  # and what it had open is gone
        held = []

        def stopped() -> bool:
            held.append(lease.holds())
            return not job.working

        await eventually(stopped, "it hears of the other")
        assert not any(held)


async def test_reading_iboss_ends_when_another_leads_and_has_written_nothing(
    pool: asyncpg.Pool, live: LiveStore, tmp_path: Path, kafka_servers: str
) -> None:
    async with pool.acquire() as connection:
        await seed_tiny_bank(connection, tiny_bank())
        epoch = await claim_lease(connection, "iboss", "another", 600.0)
    async with open_simulator(tmp_path) as simulator:
        with pytest.raises(ExceptionGroup) as ended:
            await run_iboss(simulator.address(), pool, live, kafka_servers, 0.05, Fence("iboss", (epoch or 0) - 1))
    assert ended.value.subgroup(LeaseLost) is not None
    assert await pool.fetchval("select count(*) from transactions") == 0
    assert await pool.fetchval("select count(*) from position_sets") == 0
