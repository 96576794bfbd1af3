"""Be a source of quotes that streams from a venue: connections on one side, conflated batches on the other."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Iterable, Sequence

from ingest.market.connection import Connection, Tap, first_to_end
from ingest.market.hours import OpenHours
from ingest.market.link import create_link
from ingest.market.quarantine import Quarantine
from ingest.market.symbols import SymbolMap
from ingest.venues.venue import StreamVenue
from stream.messages import QuoteBatch

BATCH_S = 0.02
AGE_EVERY_S = 0.25


class VenueSource:
    """Yield what a streaming venue tells, at most each 20 ms and then the newest of each instrument.

    However slow its reader is, the sockets are read and memory is bounded by the number of instruments. Symbols can
    change while it runs: the connections that are not concerned stay.
    """

    def __init__(
        self,
        name: str,
        venue: StreamVenue,
        quarantine: Quarantine,
        tls: ssl.SSLContext,
        silent_after_s: float | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.name = name
        self.venue = venue
        self.quarantine = quarantine
        self.link = create_link(name, venue, quarantine, tls, silent_after_s)
        self.tops = self.link.tops
        self.offset = self.link.offset
        self._tap = tap
        self._hours = OpenHours()
        self._symbols: tuple[str, ...] = ()
        self._mapped = asyncio.Event()

    def remap(self, symbols: SymbolMap, hours: OpenHours) -> None:
        """Follow these symbols from now on."""
        self.tops.remap(symbols, time.time_ns())
        self._hours = hours
        if tuple(symbols.mapped) != self._symbols:
            self._symbols = tuple(symbols.mapped)
            self._mapped.set()

    @property
    def trouble(self) -> str:
        """Return why nothing or not all comes, in words; empty where nothing is wrong."""
        if not self._symbols:
            return "no instrument of the bank is quoted there"
        return self.link.trouble or self.link.complaint

    @property
    def connected(self) -> bool:
        """Say whether a connection is open."""
        return self.link.connected > 0

    @property
    def losses(self) -> int:
        """Return how many connections were lost, or could not be made."""
        return self.link.losses

    async def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield batches until closed; connections are lost and made meanwhile."""
        keeping = asyncio.create_task(first_to_end(self._keep_connections(), self._age()), name=f"{self.name} feed")
        changed = self.link.changed
        keeping.add_done_callback(lambda _: changed.set())
        try:
            while not keeping.done():
                await changed.wait()
                changed.clear()
                batch = self.tops.take(time.time_ns())
                if batch is not None:
                    yield batch
                    self.link.complaint = ""
                    await asyncio.sleep(BATCH_S)
            keeping.result()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self.link.http.aclose()

    async def _keep_connections(self) -> None:
        """Keep one connection for as many symbols as the venue takes on one; begin anew only what has changed."""
        running: dict[tuple[str, ...], asyncio.Task[None]] = {}
        changing: asyncio.Task[object] | None = None
        try:
            while True:
                changing = asyncio.create_task(self._mapped.wait())
                await asyncio.wait({changing, *running.values()}, return_when=asyncio.FIRST_COMPLETED)
                for task in running.values():
                    if task.done():
                        task.result()  # a connection ends by a fault of ours alone, which must be seen
                self._mapped.clear()
                groups = set(split_symbols(self._symbols, self.venue.limits.symbols))
                await _end(task for group, task in running.items() if group not in groups)
                running = {group: task for group, task in running.items() if group in groups}
                for group in groups - running.keys():
                    running[group] = asyncio.create_task(Connection(self.link, group, self._tap).run())
        finally:
            await _end([*running.values(), *([changing] if changing else [])])

    async def _age(self) -> None:
        while True:
            await asyncio.sleep(AGE_EVERY_S)
            self.tops.age(self._hours, time.time_ns())


def split_symbols(symbols: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Split symbols into groups of at most `most` (0: one group), in their order; none where there are none."""
    size = most or max(len(symbols), 1)
    return [tuple(symbols[first : first + size]) for first in range(0, len(symbols), size)]


async def _end(tasks: Iterable[asyncio.Task[object]] | Iterable[asyncio.Task[None]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
