"""Check without end that live equals batch: random portfolios, recomputed from the ledger, to the minor unit.

Each second a few portfolios are noted between two awaits, so that nothing moves meanwhile; their positions and
bookings are read from PostgreSQL; the recomputation runs in a thread. A portfolio that was found wrong is looked at
again each second until it is right, and until then the component `live_equals_batch` is reported as failed.

Positions are also held against the bookings that must have made them, as `db.reconciliation` defines it, where the
two have come to rest; what does not add up is reported as `positions_equal_bookings`. The nightly reconciliation of
ingest does the same with every portfolio.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog
from redis import RedisError

from db.live import LiveStore
from db.postgres import DATABASE_AWAY, acquire
from db.reconciliation import (
    SETTLED,
    Booked,
    as_of,
    booked_quantities,
    caught_up_at,
    comparable,
    differences,
    position_record,
)
from stream.book import Portfolio
from stream.messages import PortfolioPositions, decode_positions
from stream.metrics import (
    CHECK_FAILURES,
    CHECKED,
    LIVE_BATCH_DIFFERENCE,
    OUTAGES,
    RECONCILIATION_BREAKS,
)
from stream.processor import Processor
from stream.sample import Comparison, Sample, compare, minor_units_of, take_sample
from stream.tenure import wanted

log = structlog.get_logger()

EVERY_S = 1.0
AT_ONCE = 3  # random portfolios a round: a thousandth of a core with twenty positions each
AGAIN_AT_ONCE = 5  # of those that were found wrong
DRIFT = 0.01  # minor units before rounding: float64 alone makes some 1e-6
OLDEST_CHECK_S = 60.0
RECENT = 300  # comparisons whose largest difference is exported: those of some two minutes
NAMED = 3  # findings that a report names; the log has all


@dataclass(slots=True)
class Findings:
    """Hold what is wrong now, a sentence by portfolio, and how much was checked."""

    drift: dict[str, str] = field(default_factory=dict)
    breaks: dict[str, str] = field(default_factory=dict)
    checked: int = 0
    checked_ns: int = 0
    reconciled: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def largest(self) -> float:
        """Return the largest recent difference before rounding, in minor units."""
        return max(self.recent, default=0.0)

    def take(self, sample: Sample, comparison: Comparison) -> None:
        """Take the outcome of one comparison."""
        self.checked += 1
        self.checked_ns = time.time_ns()
        self.recent.append(comparison.largest)
        differences = list(comparison.differences)
        if comparison.largest > DRIFT:
            differences.append(f"{comparison.largest:.3g} minor units apart before rounding")
        portfolio = sample.valuation.portfolio_id
        if differences:
            self.drift[portfolio] = "; ".join(differences)
        else:
            self.drift.pop(portfolio, None)


class Checker:
    """Check one worker's book. Failures of PostgreSQL and Redis are waited out; they are no drift."""

    def __init__(
        self,
        name: str,
        pool: asyncpg.Pool,
        store: LiveStore,
        processor: Processor,
        settled: timedelta = SETTLED,
        every_s: float = EVERY_S,
    ) -> None:
        self._name = name
        self._pool = pool
        self._store = store
        self._processor = processor
        self._settled = settled
        self._every_s = every_s
        self._random = random.Random()  # noqa: S311  a choice of samples, no secret
        self._began = time.monotonic()
        self.findings = Findings()

    async def run(self) -> None:
        """Check for ever."""
        while wanted():
            try:
                await self.check()
            except DATABASE_AWAY as error:
                OUTAGES.labels("postgres").inc()
                log.warning("PostgreSQL does not answer; nothing is checked meanwhile", error=repr(error))
            await self._report()
            await asyncio.sleep(self._every_s)

    async def check(self) -> None:
        """Check a few portfolios: those found wrong before, and some at random."""
        processor = self._processor
        chosen = self._choose()
        now_ns = time.time_ns()
        processor.revalue(now_ns)  # so that document, kept sums and prices are of one moment
        samples = [take_sample(processor, portfolio, now_ns) for portfolio in chosen]
        for sample in samples:
            await self._check_one(sample)
        self._forget_the_gone()

    def _choose(self) -> list[Portfolio]:
        book = self._processor.book
        again = [book.by_id[one] for one in [*self.findings.drift, *self.findings.breaks] if one in book.by_id]
        size = len(book)
        fresh = [book.portfolios[self._random.randrange(size)] for _ in range(min(AT_ONCE, size))]
        return list({one.id: one for one in [*again[:AGAIN_AT_ONCE], *fresh]}.values())

    async def _check_one(self, sample: Sample) -> None:
        valuation = sample.valuation
        portfolio = UUID(valuation.portfolio_id)
        async with acquire(self._pool) as connection:
            found = await position_record(connection, portfolio, valuation.version)
            if found is None:
                lacking = f"its positions of version {valuation.version} are not in the ledger"
                self._conclude(sample, Comparison(0.0, (lacking,)))
                return
            record, received_at = decode_positions(found[0]), found[1]
            read_at = await caught_up_at(connection)  # before the bookings: what comes later must not count
            booked = (await booked_quantities(connection, {portfolio: as_of(record.event_ns)}))[portfolio]
        self._conclude(sample, await asyncio.to_thread(self._compare, sample, record))
        if comparable(received_at, booked.received_at, read_at, datetime.now(UTC), self._settled):
            self._reconcile(record, booked)

    def _compare(self, sample: Sample, record: PortfolioPositions) -> Comparison:
        try:
            return compare(sample, record, minor_units_of(self._processor.prices))
        except (KeyError, ArithmeticError) as error:
            return Comparison(0.0, (f"it cannot be recomputed: {error!r}",))

    def _conclude(self, sample: Sample, comparison: Comparison) -> None:
        valuation = sample.valuation
        known = self.findings.drift.get(valuation.portfolio_id)
        self.findings.take(sample, comparison)
        CHECKED.inc()
        LIVE_BATCH_DIFFERENCE.set(self.findings.largest)
        sentence = self.findings.drift.get(valuation.portfolio_id)
        if sentence is not None:
            CHECK_FAILURES.inc()
        if sentence != known:
            position = {"portfolio": valuation.portfolio_id, "epoch": valuation.epoch, "seq": valuation.seq}
            if sentence is None:
                log.info("live equals batch again", **position)
            else:
                log.error("live does not equal batch", found=sentence, version=valuation.version, **position)

    def _reconcile(self, record: PortfolioPositions, booked: Booked) -> None:
        self.findings.reconciled += 1
        sentence = self._break_of(record, booked)
        known = self.findings.breaks.pop(record.portfolio, None)
        if sentence:
            self.findings.breaks[record.portfolio] = sentence
            if sentence != known:
                log.error("positions do not equal bookings", portfolio=record.portfolio, found=sentence)
        RECONCILIATION_BREAKS.set(len(self.findings.breaks))

    def _break_of(self, record: PortfolioPositions, booked: Booked) -> str:
        held = {line.instrument: line.quantity for line in record.positions}
        symbols = self._processor.prices
        return "; ".join(
            f"{one.held} of {symbols.specs[symbols.index_of[one.instrument]].symbol} are held and {one.booked} booked"
            for one in differences(held, booked.quantities)
        )

    def _forget_the_gone(self) -> None:
        """Forget what was found of portfolios that are no longer this worker's."""
        book = self._processor.book
        for found in (self.findings.drift, self.findings.breaks):
            for portfolio in found.keys() - book.by_id.keys():
                del found[portfolio]

    async def _report(self) -> None:
        try:
            await self._store.report_health(f"live_equals_batch:{self._name}", *self._agreement())
            await self._store.report_health(f"positions_equal_bookings:{self._name}", *self._reconciliation())
        except RedisError:
            OUTAGES.labels("redis").inc()  # the worker's own report says it each second

    def _agreement(self) -> tuple[bool, str]:
        """Return whether live equals batch, and a sentence; what was not checked for a minute is not known to."""
        found = self.findings
        if found.drift:
            return False, _named(found.drift)
        if not len(self._processor.book):
            return True, "there is nothing to check"
        since = time.monotonic() - self._began if not found.checked_ns else (time.time_ns() - found.checked_ns) / 1e9
        what = f"{found.checked} valuations checked, the last {since:.0f} s ago; "
        return since < OLDEST_CHECK_S, f"{what}largest difference before rounding {found.largest:.1e} minor units"

    def _reconciliation(self) -> tuple[bool, str]:
        if self.findings.breaks:
            return False, _named(self.findings.breaks)
        return True, f"{self.findings.reconciled} comparisons of positions with bookings; none differs now"


def _named(found: dict[str, str]) -> str:
    named = [f"portfolio {portfolio}: {sentence}" for portfolio, sentence in list(found.items())[:NAMED]]
    more = len(found) - len(named)
    return " | ".join(named) + (f" | and {more} more" if more else "")
