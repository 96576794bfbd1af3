"""Hold what the connections of one venue share: its tops, its limits, its troubles, and what it is counted by."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import structlog

from ingest.market import metrics
from ingest.market.clock_offset import ClockOffset
from ingest.market.errors import VenueLost
from ingest.market.fetching import create_http_client
from ingest.market.quarantine import Quarantine
from ingest.market.rate_limit import RateLimit
from ingest.market.tops import Tops
from ingest.venues.events import Complaint, Event, Gap, Refused
from ingest.venues.venue import StreamVenue

LOG_EVERY_S = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class Link:
    """Share what belongs to all connections of a venue. `trouble` is why it does not serve us now, in words."""

    source: str
    venue: StreamVenue
    tops: Tops
    offset: ClockOffset
    quarantine: Quarantine
    tls: ssl.SSLContext
    http: httpx.AsyncClient
    connects: RateLimit
    silent_after_s: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    connected: int = 0
    losses: int = 0
    trouble: str = ""
    complaint: str = ""
    handshake_s: float = 0.0
    lost: Callable[[VenueLost], None] | None = None  # told of each loss, beside the log
    resume_s: float = 0.0  # by the monotonic clock: before it, no connection is tried
    _mended: int = 0
    _logged_s: dict[str, float] = field(default_factory=dict)

    async def turn(self) -> None:
        """Wait until the venue allows another connection: what it asked one of them to wait holds for all."""
        wait_s = self.resume_s - time.monotonic()
        while wait_s > 0.0:
            await asyncio.sleep(wait_s)
            wait_s = self.resume_s - time.monotonic()  # another connection may have been told to wait meanwhile
        await self.connects.turn()

    def connect(self, symbols: int, host: str, took_s: float) -> None:
        """Say that a connection is open."""
        self.connected += 1
        self.trouble = ""
        self.handshake_s = took_s
        log.info("connected", source=self.source, host=host, symbols=symbols, took_ms=round(took_s * 1e3))

    def lose(self, loss: VenueLost, pause_s: float) -> None:
        """Say that a connection is lost, and when the next one is tried."""
        self.losses += 1
        if loss.pause_s is not None or loss.lasting:
            self.resume_s = max(self.resume_s, time.monotonic() + pause_s)
        if self.lost is not None:
            self.lost(loss)
        self.trouble = f"{loss}; trying again in {pause_s:.0f} s" if pause_s >= 1 else str(loss)
        metrics.RECONNECTS.labels(self.source).inc()
        log.warning("lost", source=self.source, reason=str(loss), again_in_s=round(pause_s, 1))

    def take(self, events: Sequence[Event], record: bytes, received_ns: int, symbols: Sequence[str]) -> None:
        """Take what one record says. Raises `VenueLost` where the venue says that it will not serve us."""
        self.tops.counts.messages += 1
        self.tops.counts.bytes += len(record)
        for remark in self.tops.apply(events, received_ns, symbols):
            if isinstance(remark, Refused):
                self.quarantine.add_record(remark.reason, remark.detail, record, received_ns)
            elif isinstance(remark, Gap):
                self._log("gap", symbol=remark.symbol, detail=remark.detail, broken=remark.broken)
            else:
                self._complain(remark)
        if self.tops.counts.mended != self._mended:
            self._mended = self.tops.counts.mended
            self._log("resynced", so_far=self._mended)
        if self.tops.changed:
            self.changed.set()

    def _complain(self, complaint: Complaint) -> None:
        self.complaint = complaint.text
        if complaint.lasting:
            raise VenueLost(f"it says: {complaint.text}", lasting=True)
        self._log("complaint", text=complaint.text)

    def _log(self, event: str, **details: object) -> None:
        """Log one of a kind in five seconds, so that a venue that stumbles in every record fills no disk."""
        now_s = time.monotonic()
        if now_s - self._logged_s.get(event, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged_s[event] = now_s
            log.warning(event, source=self.source, **details)


def create_link(
    source: str,
    venue: StreamVenue,
    quarantine: Quarantine,
    tls: ssl.SSLContext,
    silent_after_s: float | None = None,
) -> Link:
    """Make what the connections of a venue are to share; its client of HTTP is to be closed."""
    offset = ClockOffset()
    return Link(
        source,
        venue,
        Tops(source, offset, silent_after_s),
        offset,
        quarantine,
        tls,
        create_http_client(tls),
        RateLimit(venue.limits.connects_a_minute, 60.0),
        silent_after_s,
    )
