"""Be a source of quotes that asks a venue again and again: within its budget, and only for what has changed."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import structlog

from ingest.market import metrics
from ingest.market.clock_offset import ClockOffset
from ingest.market.errors import VenueLost
from ingest.market.fetching import Document, create_http_client, fetch_document
from ingest.market.hours import OpenHours
from ingest.market.losses import LOSSES, explain_loss, pause_s
from ingest.market.quarantine import Quarantine
from ingest.market.rate_limit import RateLimit
from ingest.market.symbols import SymbolMap
from ingest.market.tops import Tops
from ingest.venues.events import Complaint, Refused
from ingest.venues.venue import PolledVenue, Request
from stream.messages import QuoteBatch

DAY_S = 86_400.0
LOOK_EVERY_S = 0.25
JITTER = 0.05  # so that many of us do not ask at the same moment

log = structlog.get_logger()


@dataclass(slots=True)
class Asked:
    """Hold one document that is asked for: when it is due, what is known of it, and how often it has failed since."""

    request: Request
    due_s: float
    known: Document | None = None
    failures: int = 0


class PolledSource:
    """Yield what a polled venue answers. Nothing is asked while its reader is busy, so a slow Kafka pauses it.

    Calls are counted in this process: after a restart the day's budget begins anew.
    """

    def __init__(
        self,
        name: str,
        venue: PolledVenue,
        quarantine: Quarantine,
        tls: ssl.SSLContext,
        silent_after_s: float | None = None,
    ) -> None:
        self.name = name
        self.venue = venue
        self.quarantine = quarantine
        self.offset = ClockOffset()
        # A fixing of yesterday is the newest there is: what can be missed is an answer, not a price.
        self.tops = Tops(name, self.offset, silent_after_s or 3.0 * venue.budget.every_s + 30.0)
        self.trouble = "no instrument of the bank is quoted there"
        self.connected = False
        self.losses = 0
        self._http = create_http_client(tls)
        self._minute = RateLimit(venue.budget.calls_a_minute, 60.0)
        self._day = RateLimit(venue.budget.calls_a_day, DAY_S)
        self._hours = OpenHours()
        self._symbols: tuple[str, ...] = ()
        self._asked: list[Asked] = []

    def remap(self, symbols: SymbolMap, hours: OpenHours) -> None:
        """Ask for these symbols from now on; what is known of a document that stays is kept."""
        self.tops.remap(symbols, time.time_ns())
        self._hours = hours
        if tuple(symbols.mapped) == self._symbols:
            return
        self._symbols = tuple(symbols.mapped)
        before = {(one.request.url, one.request.symbols): one for one in self._asked}
        now_s = time.monotonic()
        requests = self.venue.requests(self._symbols) if self._symbols else ()
        self._asked = [before.get((one.url, one.symbols)) or Asked(one, now_s) for one in requests]
        if self._asked:
            self.trouble = ""

    async def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield a batch for each document that says something new, until closed."""
        try:
            while True:
                due = min(self._asked, key=lambda one: one.due_s, default=None)
                wait_s = LOOK_EVERY_S if due is None else self._wait_s(due)
                if due is None or wait_s > 0.0:
                    self.tops.age(self._hours, time.time_ns())
                    await asyncio.sleep(min(wait_s, LOOK_EVERY_S))
                    continue
                await self._ask(due)
                batch = self.tops.take(time.time_ns())
                if batch is not None:
                    yield batch
        finally:
            await self._http.aclose()

    def _wait_s(self, due: Asked) -> float:
        """Return how long to wait for the next call: until it is due, and as the budget says."""
        now_s = time.monotonic()
        spent_s = self._day.wait_s(now_s)
        if spent_s > 0.0 and self.connected:
            self.connected = False
            self.trouble = f"the {self.venue.budget.calls_a_day:,} calls of a day are used up"
            log.warning("budget used up", source=self.name, again_in_s=round(spent_s))
        return max(due.due_s - now_s, self._minute.wait_s(now_s), spent_s)

    async def _ask(self, asked: Asked) -> None:
        """Ask for one document, and say when it is asked for again."""
        self._minute.take(time.monotonic())
        self._day.take(time.monotonic())
        try:
            document = await fetch_document(self._http, asked.request.url, asked.request.headers, asked.known)
            self._take(asked, document)
        except LOSSES as error:
            asked.failures += 1
            loss = explain_loss(error)
            pause = max(pause_s(asked.failures, loss), 0.0 if loss.pause_s else min(self.venue.budget.every_s, 60.0))
            self._lose(loss, pause)
            self._postpone(asked, loss, pause)
        else:
            asked.failures = 0
            asked.due_s = time.monotonic() + self.venue.budget.every_s * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311

    def _take(self, asked: Asked, document: Document) -> None:
        """Take an answer. Raises `VenueLost` where the venue says that it will not serve us."""
        now_ns, symbols = time.time_ns(), asked.request.symbols
        counts = self.tops.counts
        counts.messages += 1
        if document.body is None:
            self.tops.heard(symbols, now_ns)
        else:
            counts.bytes += len(document.body)
            events = self.venue.decode(asked.request, document.body, now_ns)
            for remark in self.tops.apply(events, now_ns, symbols):
                if isinstance(remark, Refused):
                    self.quarantine.add_record(remark.reason, remark.detail, document.body, now_ns)
                elif isinstance(remark, Complaint):
                    raise VenueLost(f"it says: {remark.text}", lasting=remark.lasting)
            asked.known = Document(None, document.etag, document.last_modified)
        if not self.connected:
            log.info("connected", source=self.name, symbols=len(self._symbols))
        self.connected, self.trouble = True, ""

    def _lose(self, loss: VenueLost, pause: float) -> None:
        self.connected = False
        self.losses += 1
        self.trouble = f"{loss}; asking again in {pause:.0f} s"
        metrics.RECONNECTS.labels(self.name).inc()
        log.warning("lost", source=self.name, reason=str(loss), again_in_s=round(pause, 1))

    def _postpone(self, asked: Asked, loss: VenueLost, pause: float) -> None:
        """Ask later: where the venue is busy or refuses us, everything; else this document alone."""
        until_s = time.monotonic() + pause
        asked.due_s = until_s
        if loss.pause_s is not None or loss.lasting:
            for one in self._asked:
                one.due_s = max(one.due_s, until_s)
