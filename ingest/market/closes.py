"""Keep the closes of a venue's instruments: its history at the start, and each day that has ended, soon after it.

The profit of a day against live prices is only true against yesterday's close of the same market. Where a venue tells
its closes, an instrument's whole history is replaced by the venue's (`db.daily_closes:write_closes`), so that no return
is computed across the jump from an invented history into a real one. An instrument that two venues feed keeps the
history of the one that came first, for as long as that goes on.

Writing the same closes twice changes nothing, so this needs no fence: two leaders at once would write alike.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

import asyncpg
import httpx
import structlog

from db.daily_closes import write_closes
from db.postgres import DATABASE_AWAY, acquire
from ingest.market.errors import VenueLost
from ingest.market.fetching import create_http_client, fetch_document
from ingest.market.losses import LOSSES, explain_loss
from ingest.market.metrics import CLOSES, CLOSES_FAILED
from ingest.market.rate_limit import RateLimit
from ingest.venues.closes import LABELS, Close, CloseSource, close_source
from ingest.venues.errors import DocumentUnreadable
from ingest.venues.venue import PolledVenue, Request, StreamVenue

HISTORY = timedelta(days=760)  # two years and a month: a return of two years has its base
AFTER_MIDNIGHT = timedelta(minutes=5)  # UTC; a venue finishes a day's candle some seconds after it
CALLS_A_SECOND = 3  # a fraction of what each of the venues allows
INSTRUMENTS_AT_ONCE = 50  # so that memory is bounded however many instruments there are
MOST_PAGES = 100  # of one request: a venue cannot make us turn pages for ever
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0

log = structlog.get_logger()


async def keep_closes(
    pool: asyncpg.Pool,
    venue: StreamVenue | PolledVenue,
    symbols: Mapping[str, int],
    tls: ssl.SSLContext,
    tell: Callable[[str], None],
) -> None:
    """Keep the closes of instruments (venue's symbol → id) until cancelled; return at once where it tells none.

    What fails is tried again, first after a minute, then less and less often; prices are not kept waiting for it.
    `tell` is given the trouble in words for people, and an empty text when it is over.
    """
    source = close_source(venue)
    if source is None or not symbols:
        return
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            changed = await take_closes(pool, source, symbols, datetime.now(UTC).date(), tls)
        except (VenueLost, DocumentUnreadable, *DATABASE_AWAY) as error:
            CLOSES_FAILED.labels(venue.name).inc()
            asked_s = (error.pause_s or 0.0) if isinstance(error, VenueLost) else 0.0
            wait_s = max(pause_s, asked_s)
            log.warning("daily closes not taken", source=venue.name, reason=str(error), again_in_s=wait_s)
            tell(f"daily closes could not be taken: {error}")
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            CLOSES.labels(venue.name).inc(changed)
            log.info("daily closes taken", source=venue.name, instruments=len(symbols), days_changed=changed)
            tell("")
            wait_s, pause_s = seconds_until_next(datetime.now(UTC)), FIRST_PAUSE_S
        await asyncio.sleep(wait_s)


async def take_closes(
    pool: asyncpg.Pool,
    source: CloseSource,
    symbols: Mapping[str, int],
    today: date,
    tls: ssl.SSLContext,
) -> int:
    """Fetch the closes of two years before `today` and write them; return how many days are new or changed.

    A symbol that the venue refuses costs only itself. Raises `VenueLost` where the venue does not answer,
    `DocumentUnreadable` where it cannot be understood, and what `db.postgres.acquire` raises.
    """
    changed = 0
    client = create_http_client(tls)
    try:
        for batch in _batches(symbols, INSTRUMENTS_AT_ONCE):
            told = await _fetch(client, source, batch, today)
            async with acquire(pool) as connection:
                for symbol, closes in told.items():
                    changed += await write_closes(connection, symbols[symbol], source.label, closes, today, LABELS)
    finally:
        await client.aclose()
    return changed


def seconds_until_next(now: datetime) -> float:
    """Return how long it is until the day that is now in UTC has ended, and the venues had time to close it."""
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return (midnight + AFTER_MIDNIGHT - now).total_seconds()


async def _fetch(
    client: httpx.AsyncClient, source: CloseSource, symbols: Sequence[str], today: date
) -> dict[str, dict[date, float]]:
    """Return the closes by symbol and day; without the symbols of which anything was refused."""
    found: defaultdict[str, dict[date, float]] = defaultdict(dict)
    limit = RateLimit(CALLS_A_SECOND, 1.0)
    since = today - HISTORY
    refused: dict[str, str] = {}
    for request in source.requests(symbols, since, today):
        try:
            async for closes in _pages(client, source, request, limit):
                for one in closes:
                    if since <= one.day < today:
                        found[one.symbol][one.day] = one.close
        except VenueLost as loss:
            if not loss.lasting:
                raise
            refused.update(dict.fromkeys(request.symbols, str(loss)))
    if refused:
        log.warning("daily closes refused", label=source.label, symbols=dict(islice(refused.items(), 5)))
    return {symbol: found[symbol] for symbol in symbols if symbol in found and symbol not in refused}


async def _pages(
    client: httpx.AsyncClient, source: CloseSource, request: Request, limit: RateLimit
) -> AsyncGenerator[tuple[Close, ...], None]:
    """Yield the closes of each page of a request."""
    asked = request
    for _ in range(MOST_PAGES):
        await limit.turn()
        try:
            document = await fetch_document(client, asked.url, asked.headers)
        except LOSSES as error:
            raise explain_loss(error) from error
        page = source.parse(asked, document.body or b"")
        yield page.closes
        if page.more is None:
            return
        asked = page.more
    raise DocumentUnreadable(f"the venue has more than {MOST_PAGES} pages for one request")


def _batches(symbols: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    rest = iter(symbols)
    while batch := tuple(islice(rest, size)):
        yield batch
