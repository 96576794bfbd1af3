"""Ten times what Kafka takes: memory stays flat, the newest prices arrive right after it, and nothing grows."""

import asyncio
import gc
import json
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from fakes import eventually
from fakes_books import Book, BookMarket, Change, Teller
from fakes_documents import QuoteDocuments
from fakes_feeds import instrument, quotes_at
from fakes_venues import VenueServer, Wire

from ingest.market.desk import Desk
from ingest.market.hours import OpenHours
from ingest.market.publisher import PublishLimits, QuotePublisher
from ingest.market.pump import pump_quotes
from ingest.market.source import parse_feed
from ingest.market.start import Listing, MarketStart
from ingest.venues.venue import Keys
from stream.messages import QUOTES_TOPIC, decode_quotes

SYMBOLS = 300
FLOOD_S = 6.0
GROWTH_BYTES = 8 << 20


class SlowKafka:
    """A producer whose broker acknowledges so many quotes a second, and one that holds what it was sent last."""

    def __init__(self, quotes_a_second: float) -> None:
        self.quotes_a_second = quotes_a_second
        self.taken = 0
        self.newest: dict[int, tuple[float, float]] = {}
        self.waiting: asyncio.Queue[tuple[bytes, asyncio.Future[None]]] = asyncio.Queue()
        self.sources: Counter[str] = Counter()

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    async def send(self, topic: str, value: bytes, partition: int | None = None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if topic == QUOTES_TOPIC:
            self.waiting.put_nowait((value, future))
        else:
            future.set_result(None)
        return future

    async def acknowledge(self) -> None:
        """Take what was sent, at the pace of the broker."""
        while True:
            value, future = await self.waiting.get()
            batch = decode_quotes(value)
            await asyncio.sleep(len(batch) / self.quotes_a_second)
            self.taken += len(batch)
            self.sources[batch.source] += len(batch)
            tops = zip(batch.bid.tolist(), batch.ask.tolist(), strict=True)
            self.newest.update(zip(batch.instrument.tolist(), tops, strict=True))
            if not future.cancelled():
                future.set_result(None)


class FloodMarket(BookMarket):
    """Binance with hundreds of symbols, each told as often as the wire takes it while `flooding`."""

    def __init__(self) -> None:
        super().__init__({f"S{number}USDT": 100.0 + number for number in range(SYMBOLS)}, moving=False)
        self.flooding = False
        self.told = 0
        self.tops: dict[str, tuple[float, float]] = {}
        self._number = 10_000

    def teller(self, wire: Wire, path: str) -> Teller:
        return Flooder(self, wire)

    async def pour(self) -> None:
        """Tell new tops of everything, again and again."""
        chance = random.Random(7)
        while True:
            await asyncio.sleep(0)
            if not self.flooding or not self.tellers:
                await asyncio.sleep(0.01)
                continue
            for number, symbol in enumerate(self.books):
                await self.tell(symbol, round(100.0 + number + chance.uniform(-0.5, 0.5), 2))

    async def tell(self, symbol: str, bid: float) -> None:
        """Tell a top."""
        self._number += 1
        self.tops[symbol] = (bid, round(bid + 0.01, 2))
        sides = {"b": f"{bid:.2f}", "B": "1.0", "a": f"{bid + 0.01:.2f}", "A": "1.0"}
        told = {"u": self._number, "s": symbol, **sides}
        record = json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": told}, separators=(",", ":"))
        for teller in tuple(self.tellers):
            self.told += 1
            await teller.say(record)


class Flooder(Teller):
    """Say nothing by itself."""

    def __init__(self, market: FloodMarket, wire: Wire) -> None:
        self._wire = wire

    async def begin(self) -> None:
        """Say nothing."""

    async def hear(self, text: str) -> None:
        """Confirm."""
        await self._wire.say(json.dumps({"result": None, "id": json.loads(text)["id"]}))

    async def changed(self, book: Book, changes: list[Change]) -> None:
        """Say nothing."""


@dataclass
class Flow:
    """A feed that runs into a Kafka that is too slow for it."""

    publisher: QuotePublisher
    kafka: SlowKafka
    desk: Desk
    sizes: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)

    async def measure(self, seconds: float) -> None:
        """Note every fifth of a second how much is held."""
        until = time.monotonic() + seconds
        process = psutil.Process()
        while time.monotonic() < until:
            await asyncio.sleep(0.2)
            self.sizes.append(process.memory_info().rss)
            self.pending.append(self.publisher.pending_ticks)
            self.in_flight.append(self.publisher.in_flight_bytes)


@asynccontextmanager
async def flowing(
    feed: str, symbols: list[str], kafka: SlowKafka, limits: PublishLimits, ends: bool = False
) -> AsyncIterator[Flow]:
    """Run a feed as the worker does, into a slow Kafka."""
    publisher = QuotePublisher(limits)
    desk = Desk([parse_feed(feed)], publisher, Keys())
    found = tuple(instrument(number, symbol, "equity") for number, symbol in enumerate(symbols, 1))
    start = MarketStart(found, np.full((1, len(found)), math.nan))
    desk.begin(start, Listing(found, (), OpenHours()), {})
    (run,) = desk.runs
    source = desk.open(run, {})
    assert source is not None
    tasks = [
        asyncio.create_task(pump_quotes(source, publisher, run.intake)),
        asyncio.create_task(publisher.deliver(kafka)),  # type: ignore[arg-type]
        asyncio.create_task(kafka.acknowledge()),
    ]
    try:
        yield Flow(publisher, kafka, desk)
        assert ends or not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.timeout(180)
async def test_a_flood_of_ten_times_what_kafka_takes_leaves_memory_flat_and_ends_with_the_newest_prices() -> None:
    market, kafka = FloodMarket(), SlowKafka(300.0)
    aliases = "&".join(f"symbol.{symbol}=I{number}" for number, symbol in enumerate(market.books))
    async with VenueServer(market).open() as server:
        feed, limits = f"binance?url={server.ws_url}&{aliases}", PublishLimits(in_flight_bytes=64 << 10)
        names = [f"I{number}" for number in range(SYMBOLS)]
        async with flowing(feed, names, kafka, limits) as flow:
            pouring = asyncio.create_task(market.pour())
            market.flooding = True
            await flow.measure(2.0)  # what is allocated once is allocated
            gc.collect()
            flow.sizes.clear()
            told, taken, began = market.told, kafka.taken, time.monotonic()
            await flow.measure(FLOOD_S)
            lasted = time.monotonic() - began
            told_a_second, taken_a_second = (market.told - told) / lasted, (kafka.taken - taken) / lasted
            market.flooding = False
            growth = max(flow.sizes) - flow.sizes[0]
            print(f"{told_a_second:,.0f} records/s told, {taken_a_second:,.0f} quotes/s taken, +{growth >> 10} KiB")
            print(f"{max(flow.pending):,} quotes pending, {max(flow.in_flight) >> 10} KiB in flight at most")
            assert told_a_second >= 10.0 * taken_a_second, "it was a flood"
            assert growth < GROWTH_BYTES
            assert max(flow.pending) <= 1_000 + 2 * SYMBOLS
            assert max(flow.in_flight) <= limits.in_flight_bytes + (64 << 10)
            kafka.quotes_a_second = 1e6
            right = {number: market.tops[symbol] for number, symbol in enumerate(market.books, 1)}
            await eventually(lambda: kafka.newest == right, "the newest prices are there", 15.0)
            assert not flow.desk.runs[0].intake.quarantine.reasons
            pouring.cancel()
            with suppress(asyncio.CancelledError):
                await pouring


async def test_a_venue_that_is_polled_is_asked_no_faster_than_kafka_takes_it() -> None:
    tops = {f"I{number}": (10.0 + number, 10.5 + number) for number in range(200)}
    market, kafka = QuoteDocuments(tops), SlowKafka(60.0)
    async with VenueServer(market).open() as server:
        options = "&".join(f"{name}={value}" for name, value in quotes_at(server, batch="200").items())
        limits = PublishLimits(pending_ticks=100, in_flight_bytes=1_000)
        async with flowing(f"http?{options}", list(tops), kafka, limits) as flow:
            for step in range(20):
                await asyncio.sleep(0.1)
                for symbol, (bid, ask) in tops.items():
                    market.quote(symbol, bid + step / 100, ask + step / 100)
            assert len(server.requests) <= 2, "nobody is asked while nobody takes the answers"
            assert flow.publisher.pending_ticks <= 200
            assert not flow.publisher.conflating
            kafka.quotes_a_second = 1e6
            right = {number: market.top(symbol) for number, symbol in enumerate(tops, 1)}
            await eventually(lambda: kafka.newest == right, "the newest prices are there")


async def test_a_recording_waits_for_kafka_and_loses_nothing(tmp_path: Path) -> None:
    rows = [
        f"2026-11-20T10:00:{number // 1000:02d}.{number % 1000:03d}Z,I0,{100 + number / 100:.2f}"
        for number in range(4000)
    ]
    file = tmp_path / "prices.csv"
    file.write_text("\n".join(["time,symbol,last", *rows]) + "\n")
    kafka, limits = SlowKafka(2_000.0), PublishLimits(pending_ticks=200, in_flight_bytes=4_000, wait_s=0.05)
    feed = f"recorded:{file}?map=time=time,symbol=symbol,last=last&speed=max"
    async with flowing(feed, ["I0"], kafka, limits, ends=True) as flow:
        await eventually(lambda: kafka.taken >= 4_000, "all has arrived", 30.0)
        assert max([*flow.pending, flow.publisher.pending_ticks]) <= 8_192
        assert not flow.publisher.conflating
    assert kafka.taken == 4_000
