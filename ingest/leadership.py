"""Lead a source: one process works it, others stand by, and what somebody does who lost it is refused.

A leader renews its lease well before the end. Its effects carry the epoch of the lease: the ledger's transactions ask
for it (`db.leases:require_lease`), and the stream drops quotes that come behind a higher one. A leader stops when
PostgreSQL says that another leads, not while PostgreSQL says nothing: nobody can take over then, or only somebody whose
higher epoch the fences know. After a pause in which a lease may have ended (a frozen machine, a laptop that slept)
nothing is sent before PostgreSQL has been asked. Why so: `docs/decisions/0015-leaders.md`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import structlog
from prometheus_client import Counter, Gauge
from redis import RedisError

from db.leases import Fence, LeaseLost, claim_lease, lease_holder, release_lease, renew_lease
from db.live import LiveStore
from db.postgres import DATABASE_AWAY, acquire
from ingest.process_name import ProcessName, is_dead, own_name, parse_name

REPORT_EVERY_S = 2.0
AWAY_AFTER = 2  # failures: the first may be that of a connection that broke while nobody used it

HELD = Gauge("alhambra_lease_held", "1 where this process leads the source, 0 where it stands by.", ["source"])
EPOCH = Gauge("alhambra_lease_epoch", "Epoch in which this process leads the source, 0 where it stands by.", ["source"])
CHANGES = Counter("alhambra_lease_changes_total", "Times that this process began or ceased to lead.", ["source"])

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Say how long a lease lasts and how often it is renewed, or asked for by others.

    PostgreSQL has `answer_s` to answer. A holder takes its lease for over `margin_s` before the end: what it has just
    sent arrives before somebody else begins.
    """

    lasts_s: float = 5.0
    renew_s: float = 1.5
    ask_s: float = 0.5
    answer_s: float = 1.0
    margin_s: float = 0.5


class Lease:
    """Hold a source in an epoch until a moment, which each renewal moves on; with none given, for ever."""

    def __init__(self, source: str, epoch: int, until_s: float = math.inf) -> None:
        self.source = source
        self.epoch = epoch
        self._until_s = until_s

    @property
    def fence(self) -> Fence:
        """Return what a transaction asks for."""
        return Fence(self.source, self.epoch)

    def holds(self) -> bool:
        """Say whether we lead, as far as we can know; to be asked right before an effect that no transaction fences."""
        return elapsed_s() < self._until_s

    def extend(self, until_s: float) -> None:
        """Hold it until a moment of `elapsed_s`."""
        self._until_s = until_s


def elapsed_s() -> float:
    """Return the seconds of a clock that nobody sets and that, where there is one, goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


Work = Callable[[Lease], Coroutine[Any, Any, None]]


async def lead(pool: asyncpg.Pool, source: str, work: Work, live: LiveStore, times: LeaseTimes | None = None) -> None:
    """Do a source's work whenever this process leads it, until cancelled, or until the work ends by itself.

    Waits for the lease, and says so in the health reports. When the lease is lost the work is cancelled, and it waits
    again. On the way out the lease is given up, so that another begins at once. Raises what the work raises, but for
    `LeaseLost`.
    """
    candidate = _Candidate(pool, source, live, times or LeaseTimes())
    HELD.labels(source).set(0)
    while not await candidate.serve(await candidate.win(), work):
        pass


class _Candidate:
    """Stand for the leadership of one source."""

    def __init__(self, pool: asyncpg.Pool, source: str, live: LiveStore, times: LeaseTimes) -> None:
        self._pool = pool
        self._source = source
        self._live = live
        self._times = times
        self._name = own_name()
        self._said = ""
        self._reported_s = -math.inf

    async def win(self) -> Lease:
        """Wait until the source is ours, and say meanwhile that we stand by."""
        while True:
            began_s = elapsed_s()
            try:
                epoch, leader = await self._ask(self._claim)
            except DATABASE_AWAY as error:
                await self._say(False, f"standby: PostgreSQL does not answer: {error or type(error).__name__}")
            else:
                if epoch is not None:
                    return Lease(self._source, epoch, self._end(began_s))
                await self._say(True, f"standby: {leader} leads")
            await asyncio.sleep(self._times.ask_s)

    async def serve(self, lease: Lease, work: Work) -> bool:
        """Work while the lease is held; say whether the work has ended by itself."""
        self._note(lease.epoch)
        working = asyncio.create_task(work(lease), name=f"work of {self._source}")
        keeping = asyncio.create_task(self._keep(lease), name=f"lease of {self._source}")
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, keeping):
                task.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)
            await self._release(lease)
            self._note(0)
        return _has_ended(working) and keeping.cancelled()

    async def _claim(self, connection: asyncpg.Connection) -> tuple[int | None, str]:
        """Take the lease where it is over, or where its holder ran on this machine and is dead; else say who leads."""
        claim = (connection, self._source, str(self._name), self._times.lasts_s)
        epoch = await claim_lease(*claim)
        holder = None if epoch is not None else await lease_holder(connection, self._source)
        if holder is None:
            return epoch, "another process"
        leader = parse_name(holder.owner)
        if leader is None:
            return None, holder.owner
        if is_dead(leader, self._name):
            log.info("the leader has ended without a word", source=self._source, leader=leader.label)
            epoch = await claim_lease(*claim, over=holder.epoch)
        return epoch, leader.label

    async def _keep(self, lease: Lease) -> None:
        """Renew until another leads; while PostgreSQL does not answer, go on."""
        failures = 0
        while True:
            began_s = elapsed_s()
            try:
                renewed = await self._ask(lambda connection: renew_lease(connection, lease.fence, self._times.lasts_s))
            except DATABASE_AWAY as error:
                failures += 1
                self._go_on(lease, failures, error)
                await asyncio.sleep(self._times.ask_s)
                continue
            if not renewed:
                log.warning("another process leads", source=self._source, epoch=lease.epoch)
                return
            failures = 0
            lease.extend(self._end(began_s))
            await asyncio.sleep(self._times.renew_s)

    def _go_on(self, lease: Lease, failures: int, error: BaseException) -> None:
        """Hold the lease further where PostgreSQL has been asked in vain: nobody was heard of."""
        if failures == AWAY_AFTER:
            log.warning("leading without PostgreSQL", source=self._source, error=str(error) or type(error).__name__)
        if failures >= AWAY_AFTER:
            lease.extend(self._end(elapsed_s()))

    async def _release(self, lease: Lease) -> None:
        """Give the lease up; where that fails it ends by itself."""
        try:
            await self._ask(lambda connection: release_lease(connection, lease.fence))
        except DATABASE_AWAY as error:
            log.warning("the lease was not given up and ends by itself", source=self._source, error=repr(error))

    async def _ask(self, question: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Ask PostgreSQL, for a bounded time; raises one of `DATABASE_AWAY`."""
        async with asyncio.timeout(self._times.answer_s), acquire(self._pool) as connection:
            return await question(connection)

    def _end(self, began_s: float) -> float:
        """Return until when we hold a lease for which we asked at `began_s`, at the earliest."""
        return began_s + self._times.lasts_s - self._times.margin_s

    def _note(self, epoch: int) -> None:
        """Show whether we lead."""
        log.info("leading" if epoch else "no longer leading", source=self._source, epoch=epoch)
        HELD.labels(self._source).set(epoch > 0)
        EPOCH.labels(self._source).set(epoch)
        CHANGES.labels(self._source).inc()

    async def _say(self, ok: bool, state: str) -> None:
        """Log how we stand by where it is news, and report it now and again."""
        if state != self._said:
            log.info(state, source=self._source)
        elif elapsed_s() < self._reported_s + REPORT_EVERY_S:
            return
        self._said, self._reported_s = state, elapsed_s()
        try:
            await self._live.report_health(standby_component(self._source, self._name), ok, state)
        except (RedisError, OSError) as error:
            log.warning("health not reported: Redis does not answer", reason=str(error))


def standby_component(source: str, name: ProcessName) -> str:
    """Return under which name a standby reports its health: each its own, and none the leader's."""
    return f"standby:{source}:{name.label}"


def _has_ended(working: asyncio.Task[None]) -> bool:
    """Say whether work ended by itself; raises what it raised, unless it was that a fence refused it."""
    if working.cancelled():
        return False
    refused = False
    try:
        working.result()
    except* LeaseLost as lost:
        log.warning("refused: another process leads", reason=str(lost.exceptions[0]))
        refused = True
    return not refused
