"""Hold positions against bookings: what is held is the sum of what was booked. The one definition of a break.

The two are read from the back office at different moments, and that is no break. So positions as of a moment are held
against the bookings up to that moment, whatever was booked since; and only where the pair has come to rest
(`comparable`): the bookings were read to their end after the positions came, and nothing of either has come for a
minute, in case the back office itself writes the one before the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

from db.ledger import PositionSet

SETTLED = timedelta(minutes=1)
BOOKINGS_STREAM = "transactions"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZERO = Decimal(0)

_BOOKED = """
with asked as (select * from unnest($1::uuid[], $2::timestamptz[]) as a (id, until)),
     mine as (select t.portfolio_id, t.instrument_id, t.quantity, t.amount, t.currency
                from asked a join transactions t on t.portfolio_id = a.id and t.processed_at <= a.until
               where t.status = 'booked')
select portfolio_id, instrument_id, sum(quantity) from mine where quantity is not null and instrument_id is not null
 group by portfolio_id, instrument_id
 union all
select m.portfolio_id, c.id, sum(m.amount) from mine m
  join instruments c on c.symbol = m.currency and c.asset_class = 'cash'
 group by m.portfolio_id, c.id
"""
_NEWEST = """
select p.id, p.iboss_account_id, s.version, s.event_at, s.received_at, s.record::text
  from (select id, iboss_account_id from portfolios where id > $1 order by id limit $2) p
  left join lateral (select * from position_sets where portfolio_id = p.id order by version desc limit 1) s on true
 order by p.id
"""
_BOOKINGS_UNTIL = """
select t.portfolio_id, t.type, t.processed_at, t.instrument_id::text, t.quantity, t.amount, t.currency,
       coalesce(t.rate_to_base, 1), t.rate_to_base is not null
  from unnest($1::uuid[], $2::timestamptz[]) as a (id, until)
  join transactions t on t.portfolio_id = a.id and t.processed_at <= a.until
 where t.status = 'booked'
 order by t.portfolio_id, t.processed_at, t.source, t.reference_id, t.version
"""


@dataclass(slots=True)
class Booked:
    """Hold the sums of a portfolio's bookings by instrument (cash by its own), and when the last of all was received.

    `received_at` is None where there is no booking.
    """

    quantities: dict[int, Decimal] = field(default_factory=dict)
    received_at: datetime | None = None


@dataclass(slots=True)  # not frozen: millions are made in a night, and that takes twice the time
class BookedEntry:
    """Hold what costs follow from of a booking, with the fields of `analytics.positions.LedgerEntry`.

    `symbol` is the instrument's number as text; `rated` says whether there is a rate, which is 1 otherwise.
    """

    type: str
    booked_at: datetime
    symbol: str | None
    quantity: Decimal | None
    amount: Decimal
    currency: str
    rate_to_base: Decimal
    rated: bool


@dataclass(frozen=True, slots=True)
class NewestPositions:
    """Hold a portfolio with its newest positions, None where none ever came."""

    portfolio_id: UUID
    account: str
    positions: PositionSet | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Say what is held of an instrument and what was booked, where the two differ."""

    instrument: int
    held: Decimal
    booked: Decimal


def as_of(event_ns: int) -> datetime:
    """Return the moment of nanoseconds since 1970, rounded up to microseconds: no booking of then is left out."""
    return EPOCH + timedelta(microseconds=-(-event_ns // 1000))


def comparable(
    positions_at: datetime,
    booked_at: datetime | None,
    caught_up_at: datetime | None,
    now: datetime,
    settled: timedelta = SETTLED,
) -> bool:
    """Say whether positions and bookings, by when the last of each was received, can be held against each other.

    `caught_up_at` is when bookings were last read to their end, None where nobody reads them page by page. Where
    nothing was booked nobody has told us how the positions came about.
    """
    if booked_at is None or now - max(positions_at, booked_at) < settled:
        return False
    return caught_up_at is None or positions_at <= caught_up_at


def differences(held: Mapping[int, Decimal], booked: Mapping[int, Decimal]) -> list[Difference]:
    """Return the instruments of which not exactly as much is held as was booked, in order."""
    pairs = ((one, held.get(one, ZERO), booked.get(one, ZERO)) for one in sorted(held.keys() | booked.keys()))
    return [Difference(one, have, should) for one, have, should in pairs if have != should]


async def caught_up_at(connection: asyncpg.Connection) -> datetime | None:
    """Return when the bookings of all sources were last read to their end: 1970 while one never was, None without any.

    A source has a row here from its first page of bookings on.
    """
    moment: datetime | None = await connection.fetchval(
        "select min(coalesce(caught_up_at, 'epoch')) from ingest_cursors where stream = $1", BOOKINGS_STREAM
    )
    return moment


async def note_caught_up(connection: asyncpg.Connection, source: str, at: datetime) -> None:
    """Note that the bookings of a source were read to their end; nothing happens before its first booking."""
    await connection.execute(
        "update ingest_cursors set caught_up_at = greatest(caught_up_at, $3) where source = $1 and stream = $2",
        source,
        BOOKINGS_STREAM,
        at,
    )


async def booked_quantities(connection: asyncpg.Connection, until: Mapping[UUID, datetime]) -> dict[UUID, Booked]:
    """Return by portfolio what the bookings processed up to and including a moment add up to.

    For the workers: it asks no rights.
    """
    found = {portfolio: Booked() for portfolio in until}
    received = await connection.fetch(
        "select portfolio_id, max(received_at) from transactions where portfolio_id = any($1) group by portfolio_id",
        list(until),
    )
    for portfolio, received_at in received:
        found[portfolio].received_at = received_at
    for portfolio, instrument, quantity in await connection.fetch(_BOOKED, list(until), list(until.values())):
        found[portfolio].quantities[instrument] = quantity
    return found


async def newest_positions(connection: asyncpg.Connection, after: UUID, limit: int) -> list[NewestPositions]:
    """Return the newest positions of up to `limit` portfolios, in order of id after one."""
    rows = await connection.fetch(_NEWEST, after, limit)
    return [
        NewestPositions(
            portfolio,
            account,
            None if version is None else PositionSet(portfolio, version, event_at, received_at, record.encode()),
        )
        for portfolio, account, version, event_at, received_at, record in rows
    ]


async def bookings_until(
    connection: asyncpg.Connection, until: Mapping[UUID, datetime]
) -> dict[UUID, list[BookedEntry]]:
    """Return by portfolio the bookings processed up to and including a moment, in order of time."""
    found: dict[UUID, list[BookedEntry]] = {portfolio: [] for portfolio in until}
    for portfolio, *fields in await connection.fetch(_BOOKINGS_UNTIL, list(until), list(until.values())):
        found[portfolio].append(BookedEntry(*fields))
    return found


async def position_record(
    connection: asyncpg.Connection, portfolio_id: UUID, version: int
) -> tuple[bytes, datetime] | None:
    """Return a portfolio's positions at a version, JSON, and when they were received; None where there are none."""
    row = await connection.fetchrow(
        "select record::text, received_at from position_sets where portfolio_id = $1 and version = $2",
        portfolio_id,
        version,
    )
    return None if row is None else (row[0].encode(), row[1])
