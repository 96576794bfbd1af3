"""Replay a recorded file at its own pace, a multiple of it, or as fast as it is taken."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ingest.market.clock import Clock, SystemClock
from ingest.market.recording import RawRows, RecordingReader, open_recording
from ingest.market.rows import ParsedRows, parse_rows
from ingest.market.source import RecordedFeed, Refuse
from ingest.market.times import find_time_format
from stream.messages import DeadLetter, QuoteBatch

BATCH_TICKS = 1_000
GATHER_NS = 10_000_000  # rows due within 10 ms go out together: a sleep costs more than a row


@dataclass(slots=True)
class ReplayProgress:
    """Count what a replay has read: rows (malformed ones too), quotes sent on, and rows refused by reason."""

    rows: int = 0
    quotes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    finished: bool = False


class RecordedSource:
    """Yield the quotes of a file. What is refused goes to `refuse`: at most one dead letter a chunk and reason."""

    def __init__(
        self,
        feed: RecordedFeed,
        instruments: Mapping[str, int],
        refuse: Refuse,
        clock: Clock | None = None,
    ) -> None:
        self.name = feed.name
        self.progress = ReplayProgress()
        self._feed = feed
        self._instruments = feed.mapping.instrument_ids(instruments)
        self._refuse = refuse
        self._clock = clock or SystemClock()
        self._time_format = feed.time_format
        self._pace = Pace(feed.speed, self._clock)

    async def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield batches when they are due; raises `RecordingUnreadable` where the file is missing or broken.

        File and parser run in a thread, one chunk of about a mebibyte at a time.
        """
        reader = await asyncio.to_thread(open_recording, self._feed)
        while True:
            parsed = await asyncio.to_thread(self._read, reader)
            if parsed is None:
                break
            await self._report(parsed)
            async for batch in self._replay(parsed):
                yield batch
        self.progress.finished = True

    def _read(self, reader: RecordingReader) -> ParsedRows | None:
        raw = reader.read()
        if raw is None:
            return None
        self.progress.rows += len(raw) + len(raw.malformed)
        return parse_rows(raw, self._instruments, self._format_of(raw), self._feed.utc_offset_minutes)

    def _format_of(self, raw: RawRows) -> str:
        """Keep the format of the first readable time: a file that changes it midway is refused row by row."""
        self._time_format = self._time_format or find_time_format(raw.columns["time"])
        return self._time_format or "iso"

    async def _report(self, parsed: ParsedRows) -> None:
        for rows in parsed.refused:
            self.progress.refused[rows.reason] += rows.count
            await self._refuse(
                DeadLetter(
                    topic=f"{self.name}:{os.path.basename(self._feed.path)}",
                    partition=0,
                    offset=rows.first_row,
                    reason=rows.reason,
                    detail=f"{rows.count} rows of {self._feed.path}, the first is {rows.first_row}",
                    payload=rows.sample,
                    received_ns=self._clock.now_ns(),
                    count=rows.count,
                )
            )

    async def _replay(self, parsed: ParsedRows) -> AsyncIterator[QuoteBatch]:
        start = 0
        while start < len(parsed):
            stop = await self._pace.wait(parsed.event_ns, start)
            yield self._batch(parsed, slice(start, stop))
            self.progress.quotes += stop - start
            start = stop

    def _batch(self, parsed: ParsedRows, rows: slice) -> QuoteBatch:
        now = self._clock.now_ns()
        event_ns = parsed.event_ns[rows]
        return QuoteBatch(
            self.name,
            now,
            parsed.instrument[rows],
            parsed.bid[rows],
            parsed.ask[rows],
            parsed.last[rows],
            parsed.volume[rows],
            self._pace.restamp(event_ns, now) if self._feed.restamp else event_ns,
        )


class Pace:
    """Say when recorded events are due: measured from the first event, so that delays do not add up."""

    def __init__(self, speed: float, clock: Clock) -> None:
        self._speed = speed
        self._clock = clock
        self._first_event_ns: int | None = None
        self._start_ns = 0
        self._start_wall_ns = 0

    async def wait(self, event_ns: npt.NDArray[np.int64], start: int) -> int:
        """Wait until the event at `start` is due; return the end of what is due with it, `BATCH_TICKS` at most."""
        if self._first_event_ns is None:
            self._first_event_ns = int(event_ns[start])
            self._start_ns, self._start_wall_ns = self._clock.monotonic_ns(), self._clock.now_ns()
        window = event_ns[start : start + BATCH_TICKS]
        if not self._speed:
            await self._clock.sleep(0)
            return start + len(window)
        due = self._elapsed(window)
        waiting = int(due[0]) + self._start_ns + GATHER_NS - self._clock.monotonic_ns()
        await self._clock.sleep(max(0, waiting) / 1e9)
        late = np.flatnonzero(due > self._clock.monotonic_ns() - self._start_ns)
        return start + max(1, int(late[0]) if len(late) else len(window))

    def restamp(self, event_ns: npt.NDArray[np.int64], now_ns: int) -> npt.NDArray[np.int64]:
        """Move event times to now, keeping their distances at the replay's speed; never into the future."""
        if not self._speed:
            return np.full(len(event_ns), now_ns, np.int64)
        return np.minimum(self._start_wall_ns + self._elapsed(event_ns), now_ns)

    def _elapsed(self, event_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return nanoseconds from the start of the replay to each event."""
        since_first = event_ns - np.int64(self._first_event_ns or 0)
        return np.round(since_first / self._speed).astype(np.int64)
