"""Reconcile every portfolio with its bookings, at the start and each night, and list the breaks for operations.

What a break is `db.reconciliation` says. Portfolios are taken two hundred at a time, so that a hundred thousand need no
more memory than one batch; each batch is one transaction of its own. A portfolio in which something is under way is
left for the next look, which after a start comes a minute later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Gauge

from db.breaks import Break, count_open_breaks, record_breaks, resolve_account_breaks, resolve_portfolio_breaks
from db.imports import IMPORTED
from db.leases import Fence, require_lease
from db.portfolios import portfolios_by_iboss_account
from db.postgres import DATABASE_AWAY, acquire
from db.reconciliation import (
    SETTLED,
    Booked,
    BookedEntry,
    NewestPositions,
    as_of,
    booked_quantities,
    bookings_until,
    caught_up_at,
    comparable,
    differences,
    newest_positions,
)
from ingest.iboss.costs import derive_costs
from ingest.iboss.progress import Progress
from stream.messages import PortfolioPositions, decode_positions

BATCH = 200
AGAIN_S = SETTLED.total_seconds() + 5.0
LOOKS_AT_START = 5  # for what is under way; what trades without a pause is left to the night
DATABASE_PAUSE_S = 60.0
JITTER_S = 900.0
COST_TOLERANCE = Decimal("0.01")  # costs are averages: each of a thousand sales rounds its share to six places
FIRST = UUID(int=0)
EVER = datetime(9999, 1, 1, tzinfo=UTC)

OPEN_BREAKS = Gauge("iboss_reconciliation_breaks", "Breaks that persist, by what does not agree.", ["what"])
PORTFOLIOS = Gauge(
    "iboss_reconciliation_portfolios",
    "Portfolios at the last reconciliation, by outcome: compared, unsettled, unexplained.",
    ["outcome"],
)
LAST = Gauge("iboss_reconciliation_last_timestamp_seconds", "When all portfolios were last reconciled.")
SECONDS = Gauge("iboss_reconciliation_seconds", "How long the last reconciliation took.")

log = structlog.get_logger()


@dataclass(slots=True)
class Outcome:
    """Count what a reconciliation saw.

    `outcomes` counts portfolios: `compared`; `unsettled`, with something under way; `unexplained`, with positions and
    no booking. `open` counts the breaks that persist, by what they are.
    """

    at: datetime
    outcomes: Counter[str] = field(default_factory=Counter)
    open: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        """Return whether nothing is open."""
        return not any(self.open.values())

    def sentence(self) -> str:
        """Say it for people."""
        broken = ", ".join(f"{count} {what}" for what, count in self.open.items() if count)
        seen = [f"open: {broken}"] if broken else []
        seen += [f"{self.outcomes['compared']:,} portfolios held against their bookings"]
        seen += [f"{self.outcomes[one]:,} {one}" for one in ("unsettled", "unexplained") if self.outcomes[one]]
        return f"{', '.join(seen)}, at {self.at:%Y-%m-%d %H:%M} UTC" + ("" if self.well else "; see alhambra breaks")


class Reconciler:
    """Reconcile through a pool; with a fence, as long as nobody else leads the source."""

    def __init__(self, pool: asyncpg.Pool, fence: Fence | None = None, settled: timedelta = SETTLED) -> None:
        self._pool = pool
        self._fence = fence
        self._settled = settled

    async def reconcile(self, progress: Progress | None = None) -> Outcome:
        """Hold all portfolios against their bookings, and with `progress` our accounts against those of IBOSS.

        Raises one of `db.postgres.DATABASE_AWAY`, and `db.leases.LeaseLost` where another leads by now.
        """
        began_s = time.monotonic()
        outcome = Outcome(datetime.now(UTC))
        async with acquire(self._pool) as connection:
            cash = await connection.fetch("select id from instruments where asset_class = 'cash'")
        after: UUID | None = FIRST
        while after is not None:
            after = await self._batch(after, outcome, frozenset(row[0] for row in cash))
        if progress is not None:
            await self._accounts(progress, outcome.at)
        async with acquire(self._pool) as connection:
            outcome.open = await count_open_breaks(connection)
        outcome.seconds = time.monotonic() - began_s
        return outcome

    async def _batch(self, after: UUID, outcome: Outcome, cash: frozenset[int]) -> UUID | None:
        """Compare the next portfolios after one and return the last of them, None where there are no more."""
        async with acquire(self._pool) as connection:
            read_at = await caught_up_at(connection)  # before the bookings: what comes later must not count
            newest = await newest_positions(connection, after, BATCH)
            if not newest:
                return None
            records = {one.portfolio_id: decode_positions(one.positions.record) for one in newest if one.positions}
            until = {one: as_of(record.event_ns) for one, record in records.items()}
            until |= {one.portfolio_id: EVER for one in newest if one.positions is None}
            booked = await booked_quantities(connection, until)
            resting = [one for one in newest if self._note(one, booked[one.portfolio_id], read_at, outcome)]
            entries = await bookings_until(connection, {one.portfolio_id: until[one.portfolio_id] for one in resting})
        found = await asyncio.to_thread(_examine, resting, records, booked, entries, cash)
        async with self._writing() as connection:
            await record_breaks(connection, found, outcome.at)
            await resolve_portfolio_breaks(connection, [one.portfolio_id for one in resting], outcome.at)
        return newest[-1].portfolio_id

    def _note(self, one: NewestPositions, booked: Booked, read_at: datetime | None, outcome: Outcome) -> bool:
        """Count a portfolio and say whether it can be compared."""
        if booked.received_at is None:
            outcome.outcomes["unexplained"] += one.positions is not None
            return False
        positions_at = one.positions.received_at if one.positions else booked.received_at
        resting = comparable(positions_at, booked.received_at, read_at, datetime.now(UTC), self._settled)
        outcome.outcomes["compared" if resting else "unsettled"] += 1
        return resting

    async def _accounts(self, progress: Progress, at: datetime) -> None:
        """Hold the accounts of IBOSS against ours: ours as of its list, its as of ours."""
        async with acquire(self._pool) as connection:
            ours = await portfolios_by_iboss_account(connection)
        missing = {one: known for one, known in progress.known.items() if not one.startswith(IMPORTED)}
        found = [Break(one, "account_missing", missing[one]) for one in sorted(missing.keys() - progress.listed)]
        found += [Break(one, "account_unknown") for one in sorted(progress.listed - ours.keys())]

        async with self._writing() as connection:
            await record_breaks(connection, found, at)
            await resolve_account_breaks(connection, at)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[asyncpg.Connection]:
        async with acquire(self._pool) as connection, connection.transaction():
            if self._fence is not None:
                await require_lease(connection, self._fence)
            yield connection


def _examine(
    resting: Sequence[NewestPositions],
    records: Mapping[UUID, PortfolioPositions],
    booked: Mapping[UUID, Booked],
    entries: Mapping[UUID, Sequence[BookedEntry]],
    cash: frozenset[int],
) -> list[Break]:
    """Return the breaks of some portfolios."""
    found: list[Break] = []
    for one in resting:
        record = records.get(one.portfolio_id)
        if record is None:
            found.append(Break(one.account, "positions_missing", one.portfolio_id))
            continue
        found += _quantity_breaks(one, record, booked[one.portfolio_id], cash)
        broken = {each.instrument_id for each in found if each.portfolio_id == one.portfolio_id}
        found += _cost_breaks(one, record, entries[one.portfolio_id], cash | broken)
    return found


def _quantity_breaks(
    one: NewestPositions, record: PortfolioPositions, booked: Booked, cash: frozenset[int]
) -> Iterator[Break]:
    held = {line.instrument: line.quantity for line in record.positions}
    for each in differences(held, booked.quantities):
        what = "cash" if each.instrument in cash else "quantity"
        yield Break(one.account, what, one.portfolio_id, each.instrument, each.booked, each.held, record.version)


def _cost_breaks(
    one: NewestPositions, record: PortfolioPositions, entries: Sequence[BookedEntry], without: Set[int | None]
) -> Iterator[Break]:
    """Yield where costs differ; not of cash, and not where the quantities do already."""
    try:
        derived = derive_costs(entries)
    except ValueError as error:
        log.warning("bookings contradict each other", account=one.account, found=str(error))
        yield Break(one.account, "bookings_contradict", one.portfolio_id, version=record.version)
        return
    for line in record.positions:
        costs = derived.get(line.instrument)
        if costs is None or line.instrument in without:
            continue
        pairs = (("cost_basis", costs.local, line.cost_basis), ("cost_basis_base", costs.base, line.cost_basis_base))
        for what, expected, held in pairs:
            if expected is not None and abs(expected - held) > COST_TOLERANCE:
                yield Break(one.account, what, one.portfolio_id, line.instrument, expected, held, record.version)


def _export(outcome: Outcome) -> None:
    for what, count in outcome.open.items():
        OPEN_BREAKS.labels(what).set(count)
    for one in ("compared", "unsettled", "unexplained"):
        PORTFOLIOS.labels(one).set(outcome.outcomes[one])
    LAST.set(outcome.at.timestamp())
    SECONDS.set(outcome.seconds)
    log.info("reconciled", open=sum(outcome.open.values()), seconds=round(outcome.seconds, 2), **outcome.outcomes)


def seconds_until(hour: int, now: datetime, jitter_s: float) -> float:
    """Return the seconds from `now` (UTC) until so long after the next full hour of that number."""
    next_at = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    if next_at <= now:
        next_at += timedelta(days=1)
    return (next_at - now).total_seconds() + jitter_s


async def reconcile_nightly(
    reconciler: Reconciler, progress: Progress, say: Callable[[bool, str], None], hour: int
) -> None:
    """Reconcile once all was read, again until nothing is unsettled, then each night at an hour of UTC, for ever.

    `say` is told how each look ended. While PostgreSQL is away it is tried each minute.
    """
    await progress.caught_up.wait()
    looks = 0
    while True:
        try:
            outcome = await reconciler.reconcile(progress)
        except DATABASE_AWAY as error:
            say(False, f"not possible: PostgreSQL does not answer ({type(error).__name__}); tried again each minute")
            await asyncio.sleep(DATABASE_PAUSE_S)
            continue
        _export(outcome)
        say(outcome.well, outcome.sentence())
        looks += 1
        again = outcome.outcomes["unsettled"] and looks % LOOKS_AT_START
        jitter_s = random.uniform(0.0, JITTER_S)  # noqa: S311  spreads load, keeps no secret
        await asyncio.sleep(AGAIN_S if again else seconds_until(hour, datetime.now(UTC), jitter_s))
        looks = looks if again else 0
