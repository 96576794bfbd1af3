"""Hold the streams that are followed, and bring them what Redis says: on opening, as it comes, and after a gap."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
import structlog
from redis.asyncio import Redis

from api.catalogue import Catalogue
from api.errors import UNAVAILABLE
from api.live.client_stream import ClientStream
from api.live.demo import STEPS_PER_S, DemoStream
from api.live.feed import Feed
from api.live.floor import FloorBook
from api.live.floor_view import FloorView
from api.live.metrics import FEED_CONNECTED, MESSAGES_DROPPED, STREAMS
from api.live.periodic import periodically
from api.live.protocol import StreamName, View
from api.live.quotes import QuoteBoard, QuoteStream, read_quotes
from api.live.rights import books, members
from api.live.stream import FloorStream, LiveStream, PortfolioStream, unreadable
from api.live.subscription import Rota
from api.live.valuation import UnreadableValuation
from db.live import ALERTS_CHANNEL, CALM_HZ, QUOTES_CHANNEL, LiveStore, decode_totals, totals_key
from db.postgres import acquire

WATCH_S = 3.0
WATCHED_FOR_S = 10.0
WORKERS_S = 10.0
KEPT_S = 30.0  # a stream without followers is kept this long: who comes back continues with a delta
VIEW_KEPT_S = 5.0  # who scrolls leaves many views behind, and a window is quickly sent anew

ValuedStream = PortfolioStream | ClientStream

Kind = TypeVar("Kind", bound=LiveStream)

log = structlog.get_logger()


class Streams:
    """Own the streams of one web process and their feed."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis, store: LiveStore, catalogue: Catalogue, name: str) -> None:
        self._pool = pool
        self._store = store
        self._catalogue = catalogue
        self._streams: dict[tuple[StreamName, View | None], LiveStream] = {}
        self._quoted: dict[str, QuoteStream] = {}
        self._rota = Rota()
        self._by_channel: dict[str, set[ValuedStream]] = defaultdict(set)
        self._book = FloorBook()
        self._board = QuoteBoard(store)
        # of which workers the layout is to be read: one reading brings the newest, so each stands here once
        self._layouts_wanted: set[str] = set()
        self._layout_wanted = asyncio.Event()
        self._feed = Feed(redis, name, self._arrived, self._read_all)
        self.on_alert: Callable[[bytes], None] = lambda _: None

    @property
    def is_live(self) -> bool:
        """Say whether news arrives: the link to Redis works, and a stream worker beats."""
        return self._feed.is_live

    @property
    def is_persisted(self) -> bool:
        """Say whether PostgreSQL has all that is shown, as far as the stream workers know."""
        return self._feed.is_persisted

    def jobs(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what has to run all the time, by name."""
        return {
            "live feed": self._feed.run(),
            "live layouts": self._read_layouts(),
            "live watch": periodically(WATCH_S, self._keep_watching),
            "live workers": periodically(WORKERS_S, self._look_for_workers),
            "live demo": self._tick_demo(),
        }

    async def open(self, name: StreamName, title: str, view: View | None = None) -> LiveStream:
        """Return a stream with its newest state read; `title` is the portfolio's, client's or instrument's name.

        Raises what asyncpg and redis-py raise where their servers are away.
        """
        floor = None if view is None else await self.open(name, title)
        stream = self._streams.get((name, view))
        if stream is None:
            stream = self._streams[name, view] = self._create(name, title, view, floor)
            stream.rota = self._rota
            if isinstance(stream, QuoteStream):
                self._quoted[name.key] = stream
        async with stream.opening:
            if not stream.is_open:
                await self._catalogue.refresh()
                await self._read([stream])
                stream.is_open = True
        return stream

    async def look_after(self) -> None:
        """Read which portfolios stand on the floors and belong to the clients that somebody follows."""
        await self._read_books(self._of(FloorStream))
        await self._read_members([one for one in self._of(ClientStream) if one.has_followers])

    def _of(self, kind: type[Kind]) -> list[Kind]:
        return [stream for stream in self._streams.values() if isinstance(stream, kind)]

    def _create(self, name: StreamName, title: str, view: View | None, floor: LiveStream | None) -> LiveStream:
        if view is not None and isinstance(floor, FloorStream):
            return FloorView(name, view, floor)
        if name.kind == "portfolio":
            return PortfolioStream(name, title, self._catalogue)
        if name.kind == "client":
            return ClientStream(name, title, self._catalogue, self._board)
        if name.kind == "quote":
            return QuoteStream(name, title, self._catalogue, self._board)
        return DemoStream(name) if name.kind == "demo" else FloorStream(name, self._book, self._catalogue)

    async def _read(self, streams: Sequence[LiveStream]) -> None:
        """Follow streams, ask that they be published, and read their newest state from where it is stored."""
        await self._read_members([one for one in streams if isinstance(one, ClientStream)])
        valued = [one for one in streams if isinstance(one, ValuedStream)]
        for stream in valued:
            await self._follow_channels(stream)
        await self._feed.follow([QUOTES_CHANNEL, ALERTS_CHANNEL])
        await self._watch(streams)
        await self._read_valuations(valued)
        await self._read_quotes(streams)
        floors = [one for one in streams if isinstance(one, FloorStream)]
        if floors:
            await self._read_books(floors)
            await self._read_workers()

    async def _follow_channels(self, stream: ValuedStream) -> None:
        for channel in stream.channels:
            self._by_channel[channel].add(stream)
        await self._feed.follow(stream.channels)

    async def _watch(self, streams: Sequence[LiveStream]) -> None:
        """Ask the stream processor for what is followed, no oftener than it is wanted."""
        keen, calm, symbols = set[str](), set[str](), set[str]()
        for stream in streams:
            if isinstance(stream, ValuedStream):
                (calm if stream.max_hz <= CALM_HZ else keen).update(stream.watched)
            if isinstance(stream, ClientStream):
                symbols.update(stream.rates)
            if isinstance(stream, QuoteStream):
                symbols.add(stream.name.key)
        await self._store.watch(keen, WATCHED_FOR_S, calm, symbols)

    async def _read_valuations(self, streams: Sequence[ValuedStream]) -> None:
        portfolios = sorted({portfolio for stream in streams for portfolio in stream.watched})
        stored = await self._store.valuations(portfolios)
        for portfolio, valuation in zip(portfolios, stored, strict=True):
            if valuation is not None:
                self._offer(f"valuation:{portfolio}", valuation)

    async def _read_quotes(self, streams: Sequence[LiveStream]) -> None:
        rates = {symbol for one in streams if isinstance(one, ClientStream) for symbol in one.rates}
        symbols = rates | {one.name.key for one in streams if isinstance(one, QuoteStream)}
        self._wake_quoted(await self._board.read(sorted(symbols)))

    async def _read_books(self, floors: Sequence[FloorStream]) -> None:
        """Read which portfolios stand on these floors; changes reach their followers."""
        if not floors:
            return
        async with acquire(self._pool) as connection:
            found = await books(connection, [floor.name.id for floor in floors])
        changed = [floor for floor in floors if floor.portfolios != found[floor.name.id]]
        for floor in changed:
            floor.portfolios = found[floor.name.id]
        self._wake_floors(changed)

    async def _read_members(self, clients: Sequence[ClientStream]) -> None:
        """Read which portfolios these clients have; changes reach their followers."""
        if not clients:
            return
        async with acquire(self._pool) as connection:
            found = await members(connection, [client.name.id for client in clients])
        changed = [client for client in clients if client.members != found[client.name.id]]
        for client in changed:
            client.take_members(found[client.name.id])
            await self._follow_channels(client)
        opened = [client for client in changed if client.is_open]
        await self._read_valuations(opened)
        for client in opened:
            client.wake()

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
            self._wake_floors(self._of(FloorStream))

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
        if kind == "valuation":
            self._offer(channel, data)
        elif kind == "totals":
            self._take_totals(identifier, data)
        elif channel == QUOTES_CHANNEL:
            self._take_quotes(data)
        elif channel == ALERTS_CHANNEL:
            self.on_alert(data)

    def _offer(self, channel: str, valuation: bytes) -> None:
        for stream in self._by_channel.get(channel, ()):
            try:
                if stream.offer(channel.partition(":")[2], valuation):
                    stream.wake()
                else:
                    MESSAGES_DROPPED.labels("older").inc()
            except UnreadableValuation as error:
                unreadable(stream.name, error)

    def _take_quotes(self, data: bytes) -> None:
        try:
            self._wake_quoted(self._board.take(read_quotes(data)))
        except ValueError as error:
            MESSAGES_DROPPED.labels("unreadable").inc()
            log.error("quotes cannot be read", error=str(error))  # noqa: TRY400  its trace says no more

    def _wake_quoted(self, symbols: Sequence[str]) -> None:
        """Wake who follows these quotes, and who converts at them."""
        for symbol in self._quoted.keys() & symbols:
            self._quoted[symbol].wake()
        if symbols:
            for client in self._of(ClientStream):
                if not client.rates.isdisjoint(symbols):
                    client.touch()
                    client.wake()

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
            self._wake_floors(self._of(FloorStream))

    def _wake_floors(self, floors: Sequence[FloorStream]) -> None:
        if not floors:
            return
        for floor in floors:
            floor.touch()
            floor.wake()
        names = {floor.name for floor in floors}
        for view in self._of(FloorView):
            if view.name in names:
                view.wake()

    async def _tick_demo(self) -> None:
        while True:
            await asyncio.sleep(1.0 / STEPS_PER_S)
            for demo in self._of(DemoStream):
                demo.wake()

    async def _keep_watching(self) -> None:
        await self._drop_unfollowed()
        STREAMS.set(len(self._streams))
        await self._watch(list(self._streams.values()))
        unknown = any(
            stream.has_unknown_symbols for stream in self._streams.values() if isinstance(stream, ValuedStream)
        )
        await self._catalogue.refresh(wanted=unknown)

    async def _drop_unfollowed(self) -> None:
        """Forget streams that nobody has followed for a while; a floor is kept for its views."""
        now = time.monotonic()
        shown = {view.name for view in self._of(FloorView)}
        for key, stream in list(self._streams.items()):
            kept_s = VIEW_KEPT_S if isinstance(stream, FloorView) else KEPT_S
            if stream.has_followers or now - stream.left_at <= kept_s or stream.opening.locked():
                continue
            if key == (stream.name, None) and stream.name in shown:
                continue
            del self._streams[key]
            if isinstance(stream, QuoteStream):
                del self._quoted[stream.name.key]
            for channel in stream.channels:
                self._by_channel[channel].discard(stream)
                if not self._by_channel[channel]:
                    del self._by_channel[channel]
                    await self._feed.forget([channel])

    async def _look_for_workers(self) -> None:
        if self._of(FloorStream):
            await self._read_workers()
