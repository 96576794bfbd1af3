"""Keep the live state in Redis (or Valkey): newest valuations, newest quotes, health of the workers.

Nothing lives here alone: the stream processor rebuilds all of it from PostgreSQL and the topics.

| key | type | content |
|---|---|---|
| `valuation:<portfolio>` | string and channel | newest valuation, JSON (see `stream.valuation`) |
| `totals:<worker>` | string and channel | totals of every portfolio of a worker, columns (`Totals`) |
| `totals:<worker>:layout` | string | which portfolio stands at which index of the columns |
| `quotes` | hash symbol → JSON | newest quote of each instrument |
| `epochs` | hash partition → epoch | the newest takeover of each partition: older writers are refused (`db.fence`) |
| `watched` | sorted set portfolio → expiry | what a client looks at now: published as it changes |
| `watched:calm` | the same | what clients want at most four times a second: published so often |
| `watched:quotes` | sorted set symbol → expiry | whose quotes are published as they change |
| `quotes:live` | channel | the watched quotes that have changed, a JSON array |
| `alerts` | channel | whose alerts have become more, JSON `{"user_id"}`: look into PostgreSQL now |
| `progress:<worker>` | string with expiry | how far a worker has read and written (`Progress`) |
| `health:<component>` | string with expiry | last report of a worker |
| `feed:<source>` | string with expiry | last report of a market feed (`db.feed_reports`) |
| `stream:heartbeat` | channel | one message a second, so that a dead link shows |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from db.feed_reports import FeedReport
from db.fence import EPOCHS_KEY, Command, FencedWriter

HEARTBEAT_CHANNEL = "stream:heartbeat"
NOT_PERSISTED = b"not persisted"
QUOTES_KEY = "quotes"
QUOTES_CHANNEL = "quotes:live"
WATCHED_KEY = "watched"
CALM_KEY = "watched:calm"
WATCHED_QUOTES_KEY = "watched:quotes"
CALM_HZ = 4.0
ALERTS_CHANNEL = "alerts"
HEALTH_TTL_S = 15
TOTALS_TTL_S = 60  # a worker that is gone takes its totals with it


class HealthReport(msgspec.Struct, frozen=True):
    """Hold what a worker says of itself or of the system it speaks to.

    `component` is `stream`, `kafka`, `iboss` or `market:<source>`; `detail` is for people.
    """

    component: str
    ok: bool
    detail: str
    reported_ns: int


class Progress(msgspec.Struct, frozen=True):
    """Say how far a stream worker is: next offset by partition of the quotes, and what it still has to write.

    `pending` counts portfolios that changed and are not yet written, `lag` the records not yet read, `ticks` the quotes
    read since the worker began with its partitions.
    """

    offsets: dict[str, int]
    pending: int
    portfolios: int
    lag: int
    ticks: int
    reported_ns: int


class Totals(msgspec.Struct, frozen=True, array_like=True):
    """Hold the totals of all portfolios of a worker at `seq`; columns are little-endian runs of bytes.

    Amounts are int64 in minor units: `total_equity`, `day_pnl` in the portfolio's base currency,
    `equity_reference`, `day_pnl_reference` in `reference_currency`. `day_pnl_pct` (percent) and
    `stale_share` are float64. `layout` names the order: see `TotalsLayout`.
    """

    epoch: int
    seq: int
    event_ns: int
    computed_ns: int
    layout: int
    reference_currency: str
    total_equity: bytes
    day_pnl: bytes
    day_pnl_pct: bytes
    equity_reference: bytes
    day_pnl_reference: bytes
    stale_share: bytes


class TotalsLayout(msgspec.Struct, frozen=True):
    """Say which portfolio stands at which index of the columns of `Totals` with the same epoch and layout."""

    epoch: int
    layout: int
    portfolios: tuple[str, ...]


class StoredQuote(msgspec.Struct, frozen=True):
    """Hold a newest quote; `prior_close` is 0 where there is none.

    `event_ns` is 0, and `source` is `close`, where nobody has quoted it yet: the price is its newest close then.
    """

    symbol: str
    price: float
    prior_close: float = 0.0
    event_ns: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """Say what clients look at: portfolios by the pace they want, and symbols."""

    keen: frozenset[str] = frozenset()
    calm: frozenset[str] = frozenset()
    quotes: frozenset[str] = frozenset()

    @property
    def portfolios(self) -> frozenset[str]:
        """Return all portfolios among them."""
        return self.keen | self.calm


class CancellableConnection(AbstractConnection):
    """Pass on a cancellation that comes as a command is sent, which redis-py loses on Python 3.11.

    It sends under `asyncio.wait_for`, and that one returns, cancelled or not, where the sending is done. A task that
    went on would hold up whoever waits for its end: a rebalance, a shutdown.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send; raises `CancelledError` where the task was cancelled meanwhile, and closes, as a reply is due."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


def create_redis(url: str, name: str) -> Redis:
    """Make a client that names its process and gives up a command within about three seconds."""
    client = Redis.from_url(
        url,
        client_name=name,
        socket_timeout=2.0,
        socket_connect_timeout=1.0,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), retries=1),
    )
    pool = client.connection_pool  # its class depends on the URL: plain, TLS or a Unix socket
    pool.connection_class = type("Connection", (CancellableConnection, pool.connection_class), {})
    return client


_quote_decoder = msgspec.json.Decoder(StoredQuote)
_quotes_decoder = msgspec.json.Decoder(list[StoredQuote])


def flat(pairs: Iterable[tuple[str, bytes]]) -> Iterator[str | bytes]:
    """Yield names and values in turn, as MSET and HSET want them."""
    return chain.from_iterable(pairs)


def valuation_key(portfolio: str) -> str:
    """Name the key, and the channel, of a portfolio's newest valuation."""
    return f"valuation:{portfolio}"


def totals_key(worker: str) -> str:
    """Name the key, and the channel, of a worker's totals."""
    return f"totals:{worker}"


class LiveStore:
    """Read and write the live state. Raises `redis.RedisError` when Redis does not answer in time.

    With a `writer`, what the stream computes is written through it, and its refusal (`PartitionsLost`) comes out.
    """

    def __init__(self, redis: Redis, writer: FencedWriter | None = None) -> None:
        self._redis: Any = redis  # its types admit decoded answers too; this client never decodes
        self._writer = writer

    def fenced(self, epochs: Mapping[int, int]) -> LiveStore:
        """Return the same live state, written under epochs (partition → epoch); to be closed by `aclose`."""
        return LiveStore(self._redis, FencedWriter(self._redis, epochs))

    async def claim(self) -> None:
        """Make the writer's epochs known before anything is written under them; raises `PartitionsLost`."""
        await self._write()

    async def overrule(self, epochs: Mapping[int, int]) -> None:
        """Set the epochs that Redis knows, newer ones too: PostgreSQL has said that these are the newest."""
        await self._redis.hset(EPOCHS_KEY, mapping=dict(epochs))

    async def aclose(self) -> None:
        """Close the connection of the writer."""
        if self._writer is not None:
            await self._writer.aclose()

    async def _write(self, *commands: Command) -> None:
        if self._writer is not None:
            await self._writer.write(*commands)
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            await pipe.execute()

    async def valuation(self, portfolio: str) -> bytes | None:
        """Return the newest valuation of a portfolio as JSON, or None where there is none yet."""
        found: bytes | None = await self._redis.get(valuation_key(portfolio))
        return found

    async def valuations(self, portfolios: Sequence[str]) -> list[bytes | None]:
        """Return the newest valuations in the order of `portfolios`."""
        if not portfolios:
            return []
        found: list[bytes | None] = await self._redis.mget([valuation_key(one) for one in portfolios])
        return found

    async def write_valuations(self, stored: Mapping[str, bytes], published: Iterable[str]) -> None:
        """Store valuations by portfolio and publish those named, in one exchange and in this order."""
        pairs = ((valuation_key(portfolio), document) for portfolio, document in stored.items())
        storing: list[Command] = [("MSET", *flat(pairs))] if stored else []
        await self._write(*storing, *(("PUBLISH", valuation_key(one), stored[one]) for one in published))

    async def write_totals(self, worker: str, totals: Totals) -> None:
        """Store and publish the totals of a worker's book."""
        key, document = totals_key(worker), msgspec.msgpack.encode(totals)
        await self._write(("SET", key, document, "EX", TOTALS_TTL_S), ("PUBLISH", key, document))

    async def write_layout(self, worker: str, layout: TotalsLayout) -> None:
        """Store the order of the columns; to be written before the first totals that use it."""
        await self._write(("SET", f"{totals_key(worker)}:layout", msgspec.msgpack.encode(layout)))

    async def totals(self, worker: str) -> Totals | None:
        """Return the newest totals of a worker."""
        found = await self._redis.get(totals_key(worker))
        return None if found is None else decode_totals(found)

    async def layout(self, worker: str) -> TotalsLayout | None:
        """Return the order of the columns that the newest totals of a worker use."""
        found = await self._redis.get(f"{totals_key(worker)}:layout")
        return None if found is None else msgspec.msgpack.decode(found, type=TotalsLayout)

    async def has_layout(self, worker: str) -> bool:
        """Say whether the order of a worker's columns is stored, without reading it."""
        return bool(await self._redis.exists(f"{totals_key(worker)}:layout"))

    async def workers(self) -> list[str]:
        """Return the names of the stream workers whose totals are stored."""
        found = [key.decode() async for key in self._redis.scan_iter(match="totals:*", count=1000)]
        return sorted(key.removeprefix("totals:") for key in found if not key.endswith(":layout"))

    async def write_quotes(self, quotes: Mapping[str, bytes]) -> None:
        """Store the newest quotes, JSON by symbol."""
        if quotes:
            await self._write(("HSET", QUOTES_KEY, *flat(quotes.items())))

    async def quotes(self) -> dict[str, bytes]:
        """Return the newest quote of every instrument, JSON by symbol."""
        found: dict[bytes, bytes] = await self._redis.hgetall(QUOTES_KEY)
        return {symbol.decode(): quote for symbol, quote in found.items()}

    async def quotes_of(self, symbols: Collection[str]) -> list[StoredQuote]:
        """Return the newest quotes of these symbols, of those that have one."""
        found = await self._redis.hmget(QUOTES_KEY, list(symbols)) if symbols else []
        return [_quote_decoder.decode(one) for one in found if one is not None]

    async def publish_quotes(self, quotes: Sequence[StoredQuote]) -> None:
        """Publish quotes to whoever follows them."""
        if quotes:
            await self._write(("PUBLISH", QUOTES_CHANNEL, msgspec.json.encode(quotes)))

    async def watch(
        self, portfolios: Iterable[str], seconds: float, calm: Iterable[str] = (), quotes: Iterable[str] = ()
    ) -> None:
        """Ask the stream to publish these as they change, those in `calm` at most four times a second, for a while."""
        wanted = {WATCHED_KEY: portfolios, CALM_KEY: calm, WATCHED_QUOTES_KEY: quotes}
        expiry = time.time() + seconds
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, members in wanted.items():
                if scores := dict.fromkeys(members, expiry):
                    pipe.zadd(key, scores)
            await pipe.execute()

    async def watched(self) -> Watched:
        """Return what is watched now, and forget what no longer is."""
        now = time.time()
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in (WATCHED_KEY, CALM_KEY, WATCHED_QUOTES_KEY):
                pipe.zremrangebyscore(key, "-inf", now)
                pipe.zrangebyscore(key, now, "+inf")
            found = (await pipe.execute())[1::2]
        keen, calm, quotes = (frozenset(one.decode() for one in members) for members in found)
        return Watched(keen, calm - keen, quotes)

    async def announce_alerts(self, users: Collection[UUID]) -> None:
        """Say that these users have new alerts."""
        if users:
            documents = [msgspec.json.encode({"user_id": str(user)}) for user in users]
            await self._write(*(("PUBLISH", ALERTS_CHANNEL, document) for document in documents))

    async def report_health(self, component: str, ok: bool, detail: str) -> None:
        """Say how a component is; the report expires after fifteen seconds, so silence shows."""
        report = HealthReport(component, ok, detail, time.time_ns())
        await self._redis.set(f"health:{component}", msgspec.json.encode(report), ex=HEALTH_TTL_S)

    async def health(self) -> dict[str, HealthReport]:
        """Return the reports that are fresh, by component."""
        keys = [key async for key in self._redis.scan_iter(match="health:*", count=1000)]
        found = await self._redis.mget(keys) if keys else []
        reports = [msgspec.json.decode(one, type=HealthReport) for one in found if one is not None]
        return {report.component: report for report in reports}

    async def report_feed(self, report: FeedReport) -> None:
        """Say how a market feed is doing; expires like a health report."""
        await self._redis.set(f"feed:{report.source}", msgspec.json.encode(report), ex=HEALTH_TTL_S)

    async def feeds(self) -> dict[str, FeedReport]:
        """Return the fresh reports of the market feeds, by source in their order of rank."""
        keys = [key async for key in self._redis.scan_iter(match="feed:*", count=1000)]
        found = await self._redis.mget(keys) if keys else []
        reports = [msgspec.json.decode(one, type=FeedReport) for one in found if one is not None]
        return {report.source: report for report in sorted(reports, key=lambda one: one.rank)}

    async def report_progress(self, worker: str, progress: Progress) -> None:
        """Say how far a worker is; expires like a health report."""
        await self._redis.set(f"progress:{worker}", msgspec.json.encode(progress), ex=HEALTH_TTL_S)

    async def progress(self) -> dict[str, Progress]:
        """Return the fresh reports of progress, by worker."""
        keys = [key async for key in self._redis.scan_iter(match="progress:*", count=1000)]
        found = await self._redis.mget(keys) if keys else []
        return {
            key.decode().removeprefix("progress:"): msgspec.json.decode(one, type=Progress)
            for key, one in zip(keys, found, strict=True)
            if one is not None
        }

    async def beat(self, *, persisted: bool = True) -> None:
        """Send the heartbeat that proves the channel alive; it says whether PostgreSQL has all that is shown."""
        await self._redis.publish(HEARTBEAT_CHANNEL, b"" if persisted else NOT_PERSISTED)

    @asynccontextmanager
    async def open_subscription(self) -> AsyncIterator[PubSub]:
        """Open a subscription on a connection of its own; it begins with the heartbeat channel."""
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True, push_handler_func=_pass_on)
        try:
            await pubsub.subscribe(HEARTBEAT_CHANNEL)
            yield pubsub
        finally:
            await pubsub.aclose()


async def _pass_on(response: Any) -> Any:
    """Take a pushed message as it is: redis-py's own handler writes each one out for its log, switched off or not."""
    return response


def decode_quotes(document: bytes) -> list[StoredQuote]:
    """Decode what was published on the channel of quotes."""
    return _quotes_decoder.decode(document)


def decode_totals(document: bytes) -> Totals:
    """Decode what was published on a totals channel."""
    return msgspec.msgpack.decode(document, type=Totals)
