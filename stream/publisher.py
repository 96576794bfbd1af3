"""Write valuations to Redis: what somebody watches at once, the rest within a budget.

A portfolio that a client looks at is written and published in the cycle that changed it, or four times a second where
nobody wants more; every other one at most once a second. All have a budget a cycle, given in turn: so the time of a
cycle is bounded whatever the size of the book and the number of readers, and nobody waits longer than a round.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import structlog
from redis import RedisError

from analytics.revaluation import REFERENCE_CURRENCY
from db.live import LiveStore, Totals, TotalsLayout, Watched
from stream.messages import encode_message
from stream.metrics import OUTAGES, PUBLISHED, STALE_SHARE
from stream.outbox import Outbox
from stream.processor import BookTotals, Processor
from stream.quote_publisher import QuotePublisher
from stream.rounds import Round

log = structlog.get_logger()

WATCHED_PER_CYCLE = 250
CALM_EVERY_NS = 225_000_000  # with a cycle of 50 ms this makes four a second
BACKGROUND_PER_CYCLE = 50
BACKGROUND_EVERY_NS = 1_000_000_000
TOTALS_EVERY_NS = 250_000_000


class Publisher:
    """Write what a cycle computed. When Redis was away everything is written again, from the next cycle on."""

    def __init__(
        self,
        processor: Processor,
        store: LiveStore,
        outbox: Outbox,
        worker: str,
        epoch: int,
        *,
        speaks_for_all: bool = True,
    ) -> None:
        self._processor = processor
        self._store = store
        self._outbox = outbox
        self._worker = worker
        self._epoch = epoch
        self.watched = Watched()
        self._watching = Round(WATCHED_PER_CYCLE, 0)
        self._calm = Round(WATCHED_PER_CYCLE, CALM_EVERY_NS)
        self._background = Round(BACKGROUND_PER_CYCLE, BACKGROUND_EVERY_NS)
        self._totals_ns = 0
        self._totals_seq = 0
        self._totals_due = False
        self.is_away = False
        self._layout = -1
        self._quotes = QuotePublisher(processor.prices, store, speaks_for_all=speaks_for_all)

    async def publish(self, now_ns: int) -> None:
        """Write and publish what is due at `now_ns`; after a failure everything is due."""
        pending = self._processor.revaluation.pending[: len(self._processor.book)]
        self._totals_due = self._totals_due or bool(pending.any())
        totals = self._take_totals(now_ns)  # before anything is awaited: portfolios may join the book meanwhile
        watched = self._watching.due(self._held(self.watched.keen), pending, now_ns)
        calm = self._calm.due(self._held(self.watched.calm), pending, now_ns)
        try:
            await self._quotes.tell(self.watched.quotes)
            await self._write_valuations(np.concatenate([watched, calm]))  # a reader does not wait for the rest
            self._calm.took(calm, now_ns)
            rest = self._background.due(self._background.first(len(pending)), pending, now_ns)
            await self._write_valuations(rest)
            self._background.took(rest, now_ns)
            await self._write_totals(totals, now_ns)
            await self._quotes.store(now_ns)
        except RedisError as error:
            self.invalidate()  # whether it took a part, or comes back empty, nobody can say
            OUTAGES.labels("redis").inc()
            if not self.is_away:  # once an outage: a cycle comes twenty times a second
                log.warning("redis did not take the valuations; all are written again once it does", error=repr(error))
            self.is_away = True
        else:
            self.is_away = False

    def invalidate(self) -> None:
        """Have everything written anew: Redis has lost what it held, or may have."""
        self._processor.revaluation.pending[: len(self._processor.book)] = 1
        self._background.forget()
        self._calm.forget()
        self._quotes.invalidate()
        self._layout = -1

    def _held(self, portfolios: frozenset[str]) -> npt.NDArray[np.int64]:
        return np.array(sorted(self._processor.held(portfolios)), np.int64)

    async def _write_valuations(self, due: npt.NDArray[np.int64]) -> None:
        if not len(due):
            return
        taken = [self._processor.take(index, time.time_ns()) for index in due.tolist()]
        documents = {valuation.portfolio_id: encode_message(valuation) for valuation in taken}
        followed = self.watched.portfolios
        published = [portfolio for portfolio in documents if portfolio in followed]
        await self._store.write_valuations(documents, published)
        PUBLISHED.labels("watched").inc(len(published))
        PUBLISHED.labels("background").inc(len(documents) - len(published))
        self._outbox.add_valuations(documents)

    def _take_totals(self, now_ns: int) -> Totals | None:
        """Return the totals where they are due."""
        if not self._totals_due or now_ns - self._totals_ns < TOTALS_EVERY_NS:
            return None
        totals = self._processor.totals()
        STALE_SHARE.set(_stale_share(totals))
        self._totals_seq += 1
        return Totals(
            self._epoch,
            self._totals_seq,
            self._processor.prices.newest_ns,
            time.time_ns(),
            self._processor.book.layout,
            REFERENCE_CURRENCY,
            totals.total_equity.tobytes(),
            totals.day_pnl.tobytes(),
            totals.day_pnl_pct.tobytes(),
            totals.equity_reference.tobytes(),
            totals.day_pnl_reference.tobytes(),
            totals.stale_share.tobytes(),
        )

    async def _write_totals(self, totals: Totals | None, now_ns: int) -> None:
        """Write totals, before them the order of their columns where it is a new one."""
        if totals is None:
            return
        if self._layout != totals.layout:
            size = len(totals.total_equity) // 8
            order = tuple(one.id for one in self._processor.book.portfolios[:size])
            await self._store.write_layout(self._worker, TotalsLayout(self._epoch, totals.layout, order))
            self._layout = totals.layout
        await self._store.write_totals(self._worker, totals)
        self._totals_ns = now_ns
        self._totals_due = False


def _stale_share(totals: BookTotals) -> float:
    """Return the share of the value of the whole book that has a stale price."""
    sizes = np.abs(totals.equity_reference)
    whole = int(sizes.sum())
    return float((totals.stale_share * sizes).sum()) / whole if whole else 0.0
