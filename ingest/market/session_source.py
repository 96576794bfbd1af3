"""Replay a venue's recorded session: the records go through the same decoder, books and checks as live ones."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from ingest.market.clock import Clock, SystemClock
from ingest.market.clock_offset import ClockOffset
from ingest.market.errors import RecordingUnreadable
from ingest.market.hours import OpenHours
from ingest.market.quarantine import Quarantine
from ingest.market.symbols import SymbolMap
from ingest.market.tops import Tops
from ingest.market.venue_feed import SessionFeed
from ingest.venues.events import Refused
from ingest.venues.session_file import Line, Read, Way, open_session, read_session
from ingest.venues.session_reader import PolledReader, StreamReader, create_reader
from ingest.venues.venue import PolledVenue, StreamVenue
from stream.messages import QuoteBatch

LINES_AT_ONCE = 256
BATCH_NS = 20_000_000
DAMAGED = "unreadable_line"


class SessionSource:
    """Yield what a session tells, when it is due: as a live venue's source does, conflated in 20 ms of recorded time.

    With `restamp` its times are moved to now. It waits for its reader, and loses nothing by that.
    """

    def __init__(
        self,
        feed: SessionFeed,
        venue: StreamVenue | PolledVenue,
        quarantine: Quarantine,
        clock: Clock | None = None,
    ) -> None:
        self.name = feed.name
        self.venue = venue
        self.quarantine = quarantine
        self.offset = ClockOffset()
        self.tops = Tops(feed.name, self.offset)
        self.trouble = ""
        self.connected = False
        self.losses = 0
        self._feed = feed
        self._clock = clock or SystemClock()
        self._symbols: tuple[str, ...] = ()
        self._first_ns: int | None = None
        self._began_ns = 0
        self._taken_ns = 0
        self._read_ns = 0

    def remap(self, symbols: SymbolMap, hours: OpenHours) -> None:  # noqa: ARG002 - a recording is never silent
        """Follow these symbols from now on."""
        self.tops.remap(symbols, self._clock.now_ns())
        self._symbols = tuple(symbols.mapped)
        self.trouble = "" if self._symbols else "no instrument of the bank is quoted there"

    async def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield batches until the session ends; raises `RecordingUnreadable` where there is no such file."""
        try:
            file = await asyncio.to_thread(open_session, self._feed.path)
        except (OSError, zlib.error) as error:
            raise RecordingUnreadable(f"{self._feed.path} cannot be read: {error}") from error
        try:
            self.connected = True
            lines, reader = read_session(file), create_reader(self.venue, self._symbols)
            while found := await asyncio.to_thread(_take, lines):
                for line in found:
                    if isinstance(line, Line) and line.at_ns - self._taken_ns >= BATCH_NS:
                        if (batch := self._batch()) is not None:
                            yield batch
                        await self._wait(line.at_ns)
                    self._read(reader, line)
            if (batch := self._batch()) is not None:
                yield batch
        finally:
            self.connected = False
            await asyncio.to_thread(file.close)

    def _read(self, reader: StreamReader | PolledReader, line: Read) -> None:
        if not isinstance(line, Line):
            self.quarantine.add_record(DAMAGED, f"line {line.number}: {line.reason}", b"", self._clock.now_ns())
            return
        self._read_ns = line.at_ns
        if line.way is Way.OPENED:
            self.tops.reset(self._symbols, line.at_ns)
        elif line.way in (Way.RECEIVED, Way.FETCHED):
            self.tops.counts.messages += 1
            self.tops.counts.bytes += len(line.body)
        for remark in self.tops.apply(reader.read(line), line.at_ns, self._symbols):
            if isinstance(remark, Refused):
                detail = f"line {line.number}: {remark.detail}"
                self.quarantine.add_record(remark.reason, detail, line.body, self._clock.now_ns())

    async def _wait(self, at_ns: int) -> None:
        """Wait until a moment of the recording is due, measured from its first, so that delays do not add up."""
        if self._first_ns is None:
            self._first_ns, self._began_ns = at_ns, self._clock.monotonic_ns()
        due_ns = 0 if not self._feed.speed else round((at_ns - self._first_ns) / self._feed.speed)
        await self._clock.sleep(max(0, self._began_ns + due_ns - self._clock.monotonic_ns()) / 1e9)
        self._taken_ns = at_ns

    def _batch(self) -> QuoteBatch | None:
        now_ns = self._clock.now_ns()
        batch = self.tops.take(now_ns)
        if batch is None or not self._feed.restamp:
            return batch
        return replace(batch, event_ns=np.minimum(batch.event_ns + (now_ns - self._read_ns), now_ns))


def _take(lines: Iterator[Read]) -> list[Read]:
    return list(islice(lines, LINES_AT_ONCE))
