"""Hold the streams that are followed, and bring them what Redis says: on opening, as it comes, and after a gap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import asyncpg
import msgspec
import structlog
from redis.asyncio import Redis

from api.catalogue import Catalogue
from api.errors import UNAVAILABLE
from api.live.feed import Feed
from api.live.floor import FloorBook
from api.live.metrics import FEED_CONNECTED, MESSAGES_DROPPED, STREAMS
from api.live.periodic import periodically
from api.live.protocol import StreamName
from api.live.rights import books
from api.live.stream import FloorStream, LiveStream, PortfolioStream
from api.live.valuation import UnreadableValuation
from db.live import LiveStore, decode_totals, totals_key
from db.postgres import acquire

WATCH_S = 3.0
WATCHED_FOR_S = 10.0
WORKERS_S = 10.0
KEPT_S = 30.0  # a stream without followers is kept this long: who comes back continues with a delta

log = structlog.get_logger()


class Streams:
    """Own the streams of one web process and their feed."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis, store: LiveStore, catalogue: Catalogue, name: str) -> None:
        self._pool = pool
        self._store = store
        self._catalogue = catalogue
        self._streams: dict[str, LiveStream] = {}
        self._book = FloorBook()
        # of which workers the layout is to be read: one reading brings the newest, so each stands here once
        self._layouts_wanted: set[str] = set()
        self._layout_wanted = asyncio.Event()
        self._feed = Feed(redis, name, self._arrived, self._read_all)

    @property
    def is_live(self) -> bool:
        """Say whether news arrives: the link to Redis works, and a stream worker beats."""
        return self._feed.is_live

    @property
    def portfolios(self) -> list[PortfolioStream]:
        """Return the streams of portfolios."""
        return [stream for stream in self._streams.values() if isinstance(stream, PortfolioStream)]

    @property
    def floors(self) -> list[FloorStream]:
        """Return the streams of floors."""
        return [stream for stream in self._streams.values() if isinstance(stream, FloorStream)]

    def jobs(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what has to run all the time, by name."""
        return {
            "live feed": self._feed.run(),
            "live layouts": self._read_layouts(),
            "live watch": periodically(WATCH_S, self._keep_watching),
            "live workers": periodically(WORKERS_S, self._look_for_workers),
        }

    async def open(self, name: StreamName, title: str) -> LiveStream:
        """Return a stream with its newest state read; `title` is the portfolio's name.

        Raises what asyncpg and redis-py raise where their servers are away.
        """
        stream = self._streams.get(str(name))
        if stream is None:
            stream = self._create(name, title)
            self._streams[str(name)] = stream
        async with stream.opening:
            if not stream.is_open:
                await self._catalogue.refresh()
                await self._feed.follow(stream.channels)
                await self._read([stream])
                stream.is_open = True
        return stream

    async def read_books(self, floors: Sequence[FloorStream]) -> None:
        """Read which portfolios stand on these floors; changes reach their followers."""
        async with acquire(self._pool) as connection:
            found = await books(connection, [floor.name.id for floor in floors])
        for floor in floors:
            if floor.portfolios != found[floor.name.id]:
                floor.portfolios = found[floor.name.id]
                floor.touch()
                floor.wake()

    def _create(self, name: StreamName, title: str) -> LiveStream:
        if name.kind == "portfolio":
            return PortfolioStream(name, title, self._catalogue)
        return FloorStream(name, self._book, self._catalogue)

    async def _read(self, streams: Sequence[LiveStream]) -> None:
        """Read the newest state of streams from where it is stored, and ask that they be published."""
        portfolios = [stream for stream in streams if isinstance(stream, PortfolioStream)]
        floors = [stream for stream in streams if isinstance(stream, FloorStream)]
        if portfolios:
            await self._read_valuations(portfolios)
        if floors:
            await self.read_books(floors)
            await self._read_workers()

    async def _read_valuations(self, portfolios: Sequence[PortfolioStream]) -> None:
        identifiers = [str(stream.name.id) for stream in portfolios]
        await self._store.watch(identifiers, WATCHED_FOR_S)
        stored = await self._store.valuations(identifiers)
        for stream, valuation in zip(portfolios, stored, strict=True):
            if valuation is not None:
                self._offer(stream, valuation)

    async def _read_all(self) -> None:
        """Read everything anew: the feed has just been connected, and what came before was missed."""
        FEED_CONNECTED.inc()
        await self._read([stream for stream in self._streams.values() if stream.is_open])

    async def _read_workers(self) -> None:
        """Find the workers there are, follow their totals and read the newest."""
        for worker in await self._store.workers():
            await self._feed.follow([totals_key(worker)])
            await self._read_totals(worker)

    async def _read_totals(self, worker: str) -> None:
        layout = await self._store.layout(worker)
        totals = await self._store.totals(worker)
        if layout is None or totals is None:
            return
        self._book.take_layout(worker, layout)
        if self._book.take_totals(worker, totals):
            self._wake_floors()

    async def _read_layouts(self) -> None:
        while True:
            await self._layout_wanted.wait()
            self._layout_wanted.clear()
            wanted, self._layouts_wanted = self._layouts_wanted, set()
            for worker in wanted:
                try:
                    await self._read_totals(worker)
                except UNAVAILABLE as error:  # the next totals of this worker ask again
                    log.warning("the layout of totals cannot be read", worker=worker, error=repr(error))

    def _arrived(self, channel: str, data: bytes) -> None:
        kind, _, identifier = channel.partition(":")
        if kind == "totals":
            self._take_totals(identifier, data)
            return
        stream = self._streams.get(f"portfolio:{identifier}")
        if isinstance(stream, PortfolioStream):
            self._offer(stream, data)

    def _offer(self, stream: PortfolioStream, valuation: bytes) -> None:
        try:
            if stream.offer(valuation):
                stream.wake()
            else:
                MESSAGES_DROPPED.labels("older").inc()
        except UnreadableValuation as error:
            MESSAGES_DROPPED.labels("unreadable").inc()
            log.error("a valuation cannot be read", stream=str(stream.name), error=str(error))  # noqa: TRY400  no trace

    def _take_totals(self, worker: str, data: bytes) -> None:
        try:
            totals = decode_totals(data)
        except msgspec.MsgspecError as error:
            MESSAGES_DROPPED.labels("unreadable").inc()
            log.error("totals cannot be read", worker=worker, error=str(error))  # noqa: TRY400  its trace says no more
            return
        if self._book.needs_layout(worker, totals):
            self._layouts_wanted.add(worker)
            self._layout_wanted.set()
        elif self._book.take_totals(worker, totals):
            self._wake_floors()

    def _wake_floors(self) -> None:
        for floor in self.floors:
            floor.touch()
            floor.wake()

    async def _keep_watching(self) -> None:
        await self._drop_unfollowed()
        STREAMS.set(len(self._streams))
        portfolios = self.portfolios
        await self._store.watch([str(stream.name.id) for stream in portfolios], WATCHED_FOR_S)
        await self._catalogue.refresh(wanted=any(stream.has_unknown_symbols for stream in portfolios))

    async def _drop_unfollowed(self) -> None:
        before = time.monotonic() - KEPT_S
        for name, stream in list(self._streams.items()):
            if not stream.followers and stream.left_at < before and not stream.opening.locked():
                del self._streams[name]
                await self._feed.forget(stream.channels)

    async def _look_for_workers(self) -> None:
        if self.floors:
            await self._read_workers()
