"""Follow a venue as the market worker does, and keep what it published beside what is true."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fakes import eventually
from fakes_books import BookMarket
from fakes_documents import QuoteDocuments
from fakes_market import Letters
from fakes_markets import AlpacaMarket, BinanceMarket, CoinbaseMarket, FinnhubMarket
from fakes_venues import VenueServer

from db.instruments import Instrument
from ingest.market.hours import OpenHours
from ingest.market.polling import PolledSource
from ingest.market.quarantine import Quarantine
from ingest.market.symbols import Mapped, SymbolMap
from ingest.market.tops import FeedStatus
from ingest.market.venue_source import VenueSource
from ingest.venues.registry import create_venue
from ingest.venues.venue import Keys

KEYS = Keys(*AlpacaMarket.keys, FinnhubMarket.token)
SECRETS = (*AlpacaMarket.keys, FinnhubMarket.token)
MEMORY_OF_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one quote that was published."""

    bid: float
    ask: float
    last: float
    event_ns: int

    @property
    def top(self) -> tuple[float, float]:
        """Return bid and ask."""
        return self.bid, self.ask


def instrument(number: int, symbol: str, asset_class: str = "crypto") -> Instrument:
    """Make an instrument whose market never closes."""
    return Instrument(number, symbol, None, symbol, asset_class, "none", "US", "USD", None, 1.0, 0.01, "test", "24/7")


def symbol_map(*symbols: str) -> SymbolMap:
    """Map symbols to instruments from 1 on."""
    return SymbolMap({symbol: Mapped(instrument(number, symbol)) for number, symbol in enumerate(symbols, 1)})


@dataclass
class Followed:
    """Hold a source that is being read, and all that came out of it."""

    source: VenueSource | PolledSource
    letters: Letters
    names: Mapping[int, str]
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    troubles: set[str] = field(default_factory=set)
    states: set[FeedStatus] = field(default_factory=set)
    batches: int = 0

    @property
    def reasons(self) -> Counter[str]:
        """Return what was refused, counted by reason."""
        return self.source.quarantine.reasons

    def newest(self, symbol: str) -> Row | None:
        """Return the newest quote of a symbol."""
        return self.rows[symbol][-1] if self.rows[symbol] else None

    def state_of(self, symbol: str) -> FeedStatus:
        """Return the state of a symbol."""
        return next(top.state for top in self.source.tops if top.symbol == symbol)

    def all_live(self) -> bool:
        """Say whether every symbol is LIVE."""
        return all(top.state is FeedStatus.LIVE for top in self.source.tops)

    async def read(self) -> None:
        """Take batches until cancelled."""
        async with aclosing(self.source.batches()) as batches:
            async for batch in batches:
                self.batches += 1
                columns = zip(batch.instrument, batch.bid, batch.ask, batch.last, batch.event_ns, strict=True)
                for number, bid, ask, last, event_ns in columns:
                    rows = self.rows[self.names[int(number)]]
                    assert len(rows) < MEMORY_OF_ROWS
                    rows.append(Row(float(bid), float(ask), float(last), int(event_ns)))

    async def watch(self) -> None:
        """Note troubles and states as they come and go."""
        while True:
            self.troubles.add(self.source.trouble)
            self.states.update(top.state for top in self.source.tops)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(
    source: VenueSource | PolledSource, letters: Letters, symbols: SymbolMap
) -> AsyncIterator[Followed]:
    """Read a source until the end; it must not end by itself, and must end at once when it is cancelled."""
    source.remap(symbols, OpenHours())
    names = {mapped.instrument.id: symbol for symbol, mapped in symbols.mapped.items()}
    followed = Followed(source, letters, names)
    tasks = [asyncio.create_task(followed.read()), asyncio.create_task(followed.watch())]
    try:
        yield followed
        for task in tasks:
            assert not task.done(), f"the feed has stopped: {task}"
    finally:
        for task in tasks:
            task.cancel()
        _, slow = await asyncio.wait(tasks, timeout=5.0)
        assert not slow, "the feed does not end when it is cancelled"


@dataclass(frozen=True, slots=True)
class VenueKind:
    """Say how a venue is run here: its market, and the options of its feed for a server."""

    name: str
    market: Callable[[], BookMarket]
    options: Callable[[VenueServer], dict[str, str]]
    finds_losses: bool = True  # notices each record that is missing or comes late, before it says anything wrong


BTC = {"BTC-USD": 68_900.0, "ETH-USD": 3_500.0}
TETHERS = {"BTCUSDT": 68_900.0, "ETHUSDT": 3_500.0}
STOCKS = {"AAPL": 190.0, "MSFT": 410.0}


def _at(server: VenueServer, **options: str) -> dict[str, str]:
    return {"url": server.ws_url, **options}


KINDS = {
    "coinbase": VenueKind("coinbase", lambda: CoinbaseMarket(BTC), _at, finds_losses=False),
    "coinbase, advanced": VenueKind("coinbase", lambda: CoinbaseMarket(BTC), lambda at: _at(at, api="advanced")),
    "binance": VenueKind("binance", lambda: BinanceMarket(TETHERS), _at),
    "binance, depth": VenueKind(
        "binance", lambda: BinanceMarket(TETHERS), lambda at: _at(at, channels="depth,aggTrade", rest=at.http_url)
    ),
    "alpaca": VenueKind("alpaca", lambda: AlpacaMarket(STOCKS), _at),
    "finnhub": VenueKind("finnhub", lambda: FinnhubMarket(STOCKS), _at),
}


@dataclass
class Scene:
    """A venue that misbehaves, and the feed that must live with it."""

    kind: str
    server: VenueServer
    market: BookMarket
    feed: Followed

    @property
    def finds_losses(self) -> bool:
        """Say whether the venue's records let every loss be noticed."""
        return KINDS[self.kind].finds_losses

    @property
    def tells_quotes(self) -> bool:
        """Say whether the venue tells bid and ask."""
        return not isinstance(self.market, FinnhubMarket)

    async def live(self, seconds: float = 20.0) -> None:
        """Wait until every symbol is live."""
        await eventually(self.feed.all_live, f"{self.kind}: everything is live", seconds)

    async def is_right(self, seconds: float = 20.0) -> None:
        """Wait until what is published is what is true, in a market that has become quiet.

        A deal a second goes on in each symbol: a venue where nothing at all happens could as well be dead.
        """
        self.market.moving = False
        async with asyncio.timeout(seconds):
            while True:
                await self.market.trade()
                with suppress(AssertionError):
                    await eventually(self._agrees, f"{self.kind}: the newest prices are the venue's", 1.0)
                    return

    async def first_prices(self) -> None:
        """Wait for a price of everything; where deals are all that is told, somebody must deal."""

        async def priced() -> bool:
            if self.server.wires:
                await self.market.trade()
            return all(self.feed.rows[symbol] for symbol in self.market.books) and self.feed.all_live()

        await eventually(priced, f"{self.kind}: the first prices")

    async def some_time(self, batches: int = 5) -> None:
        """Let the market move on."""
        before = self.feed.batches
        await eventually(lambda: self.feed.batches >= before + batches, f"{self.kind}: quotes come")

    async def lost(self, count: int = 1) -> None:
        """Wait until so many connections have been given up."""
        await eventually(lambda: self.feed.source.losses >= count, f"{self.kind}: the connection is given up")

    def _agrees(self) -> bool:
        return all(self._agrees_on(symbol) for symbol in self.market.books)

    def _agrees_on(self, symbol: str) -> bool:
        row = self.feed.newest(symbol)
        if row is None:
            return False
        return (
            row.top == self.market.top(symbol) if self.tells_quotes else row.last == self.market.true_deals[symbol][-1]
        )

    def check_published(self) -> None:
        """Check that nothing was ever published that was not true at its time, nor any secret said."""
        for symbol, rows in self.feed.rows.items():
            times = [row.event_ns for row in rows]
            assert times == sorted(times), f"{self.kind}: {symbol} goes back in time, and who keeps the newest loses it"
            for row in rows:
                if self.tells_quotes and not math.isnan(row.bid + row.ask):  # a deal can be known before the book is
                    assert row.top in self.market.true_tops[symbol], f"{self.kind}: {symbol} never was {row}"
                assert math.isnan(row.last) or row.last in self.market.true_deals[symbol], f"{symbol}: {row}"
        said = " ".join((*self.feed.troubles, *(str(letter) for letter in self.feed.letters)))
        assert not any(secret in said for secret in SECRETS)


@asynccontextmanager
async def scene(
    kind: str,
    *,
    market: BookMarket | None = None,
    symbols: Sequence[str] = (),
    keys: Keys = KEYS,
    tls: ssl.SSLContext | None = None,
    trust: Path | None = None,
    compress: bool = False,
    silent_after_s: float = 1.0,
    limits: Mapping[str, Any] = MappingProxyType({}),
) -> AsyncIterator[Scene]:
    """Run a venue and its feed; a connection counts as silent after a second, and `limits` replace the venue's own."""
    found = KINDS[kind]
    market = market or found.market()
    async with VenueServer(market, tls, compress).open() as server:
        venue: Any = create_venue(found.name, found.options(server), keys)
        venue.limits = replace(venue.limits, **limits)
        letters = Letters()
        quarantine = Quarantine(found.name, letters.refuse)
        context = ssl.create_default_context(cafile=trust)
        source = VenueSource(found.name, venue, quarantine, context, silent_after_s)
        async with following(source, letters, symbol_map(*(symbols or market.books))) as feed:
            yield Scene(kind, server, market, feed)
            await quarantine.flush()


def quotes_at(server: VenueServer, every: float = 0.5, **options: str) -> dict[str, str]:
    """Return the options of the feed `http` for a server of `QuoteDocuments`."""
    assert isinstance(server.market, QuoteDocuments)
    paths = {"items": "data.quotes", "symbol": "symbol", "bid": "quote.bid", "ask": "quote.ask", "time": "time"}
    address = {"url": server.http_url + "/quotes?symbols={symbols}", "every": str(every)}
    return {**address, **paths, "time_format": "ms", **options}
