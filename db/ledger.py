"""Keep the ledger: positions by version and bookings, with the cursor of what was read, in one transaction.

The rows are the outbox: they are published to Kafka after the commit and then marked. Whoever dies between
publishes again, with the same keys, and whoever reads drops what it has.

    async with connection.transaction():
        stored = await store(connection, Cursor("iboss", "transactions", "4711"), position_sets, bookings)
    async with connection.transaction():          # the rows stay locked until they are marked
        rows = await unpublished_bookings(connection, 500)
        ...                                       # send, wait for Kafka's acknowledgement
        await mark_bookings_published(connection, [row.id for row in rows])
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from db.leases import Fence, require_lease

PREFETCH = 1000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Say how far a stream of a source is read; `position` is the source's own text."""

    source: str
    stream: str
    position: str


@dataclass(frozen=True, slots=True)
class PositionSet:
    """Hold a portfolio's full positions at a version; `record` is the JSON of `stream.messages.PortfolioPositions`."""

    portfolio_id: UUID
    version: int
    event_at: datetime
    received_at: datetime
    record: bytes


@dataclass(frozen=True, slots=True)
class LedgerBooking:
    """Hold a booking, unique by (source, reference, version); times are timezone-aware.

    `amount` is the signed effect on cash, to four places; `quantity` that on the position, to ten;
    `rate_to_base` to ten, None where the source does not say. `id` is None until it is stored.
    """

    source: str
    reference: str
    version: int
    portfolio_id: UUID
    type: str
    amount: Decimal
    currency: str
    processed_at: datetime
    received_at: datetime
    instrument_id: int | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    description: str = ""
    rate_to_base: Decimal | None = None
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Say how many rows were new."""

    positions: int
    bookings: int


async def store(
    connection: asyncpg.Connection,
    cursor: Cursor | None,
    positions: Sequence[PositionSet],
    bookings: Sequence[LedgerBooking],
    fence: Fence | None = None,
) -> Stored:
    """Write what was read and how far, in one transaction; what is there already is left as it is.

    Raises `asyncpg.IntegrityConstraintViolationError` for a portfolio, instrument or currency that is unknown, and
    `db.leases.LeaseLost` where a `fence` is given and another process leads its source by now; then nothing is written
    and the cursor stays.
    """
    async with connection.transaction():
        if fence is not None:
            await require_lease(connection, fence)
        stored = Stored(
            await _insert_positions(connection, positions) if positions else 0,
            await _insert_bookings(connection, bookings) if bookings else 0,
        )
        if cursor is not None:
            await connection.execute(
                "insert into ingest_cursors (source, stream, cursor) values ($1, $2, $3) "
                "on conflict (source, stream) do update set cursor = excluded.cursor, updated_at = now()",
                cursor.source,
                cursor.stream,
                cursor.position,
            )
    return stored


async def read_cursor(connection: asyncpg.Connection, source: str, stream: str) -> str | None:
    """Return how far the stream of a source is read, or None where nothing is."""
    found: str | None = await connection.fetchval(
        "select cursor from ingest_cursors where source = $1 and stream = $2", source, stream
    )
    return found


async def unpublished_positions(connection: asyncpg.Connection, limit: int) -> list[PositionSet]:
    """Return position sets that Kafka has not acknowledged, oldest version first, locked for this transaction.

    What another process is publishing is passed over.
    """
    rows = await connection.fetch(
        "select portfolio_id, version, event_at, received_at, record::text from position_sets "
        "where published_at is null order by portfolio_id, version limit $1 for update skip locked",
        limit,
    )
    return [_position_set(row) for row in rows]


async def mark_positions_published(connection: asyncpg.Connection, keys: Sequence[tuple[UUID, int]]) -> None:
    """Mark position sets, by (portfolio id, version), as acknowledged by Kafka."""
    await connection.execute(
        "update position_sets s set published_at = now() from unnest($1::uuid[], $2::bigint[]) as k (id, version) "
        "where s.portfolio_id = k.id and s.version = k.version",
        [portfolio_id for portfolio_id, _ in keys],
        [version for _, version in keys],
    )


async def unpublished_bookings(connection: asyncpg.Connection, limit: int) -> list[LedgerBooking]:
    """Return bookings that Kafka has not acknowledged, oldest first, locked for this transaction."""
    rows = await connection.fetch(
        _BOOKINGS + " where published_at is null order by processed_at, source, reference_id, version limit $1 "
        "for update skip locked",
        limit,
    )
    return [LedgerBooking(*row.values()) for row in rows]


async def mark_bookings_published(connection: asyncpg.Connection, ids: Sequence[UUID]) -> None:
    """Mark bookings, by the id they were read with, as acknowledged by Kafka."""
    await connection.execute("update transactions set published_at = now() where id = any($1::uuid[])", list(ids))


async def latest_versions(connection: asyncpg.Connection) -> dict[UUID, int]:
    """Return the newest version of positions of each portfolio that has any."""
    rows = await connection.fetch("select portfolio_id, max(version) from position_sets group by portfolio_id")
    return {row[0]: row[1] for row in rows}


async def latest_position_sets(connection: asyncpg.Connection) -> AsyncIterator[PositionSet]:
    """Stream the newest position set of each portfolio, a thousand at a time, in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = connection.cursor(
            "select s.portfolio_id, s.version, s.event_at, s.received_at, s.record::text from portfolios p "
            "cross join lateral (select * from position_sets where portfolio_id = p.id order by version desc limit 1) "
            "s order by s.portfolio_id",
            prefetch=PREFETCH,
        )
        async for row in rows:
            yield _position_set(row)


async def bookings_since(
    connection: asyncpg.Connection, portfolio_id: UUID, since: datetime, until: datetime
) -> list[LedgerBooking]:
    """Return a portfolio's bookings processed from `since` up to but not at `until`, oldest first.

    For the workers: it asks for no viewer's rights.
    """
    rows = await connection.fetch(
        _BOOKINGS + " where portfolio_id = $1 and processed_at >= $2 and processed_at < $3 "
        "order by processed_at, source, reference_id, version",
        portfolio_id,
        since,
        until,
    )
    return [LedgerBooking(*row.values()) for row in rows]


_BOOKINGS = (
    "select source, reference_id, version, portfolio_id, type, amount, currency, processed_at, received_at, "
    "instrument_id, quantity, price, description, rate_to_base, id from transactions"
)


def _position_set(row: asyncpg.Record) -> PositionSet:
    portfolio_id, version, event_at, received_at, record = row.values()
    return PositionSet(portfolio_id, version, event_at, received_at, record.encode())


async def _insert_positions(connection: asyncpg.Connection, positions: Sequence[PositionSet]) -> int:
    rows = await connection.fetch(
        "insert into position_sets (portfolio_id, version, event_at, received_at, record) "
        "select id, version, event_at, received_at, record::jsonb "
        "from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::text[]) "
        "as s (id, version, event_at, received_at, record) order by id, version "
        "on conflict do nothing returning version",
        [one.portfolio_id for one in positions],
        [one.version for one in positions],
        [one.event_at for one in positions],
        [one.received_at for one in positions],
        [one.record.decode() for one in positions],
    )
    return len(rows)


async def _insert_bookings(connection: asyncpg.Connection, bookings: Sequence[LedgerBooking]) -> int:
    # A left join: an unknown portfolio must violate a constraint and not vanish.
    rows = await connection.fetch(
        "insert into transactions (source, reference_id, version, portfolio_id, account_id, type, amount, currency, "
        "processed_at, received_at, instrument_id, quantity, price, description, rate_to_base) "
        "select b.source, b.reference, b.version, b.portfolio, p.account_id, b.type, b.amount, b.currency, "
        "b.processed_at, b.received_at, b.instrument, b.quantity, b.price, b.description, b.rate_to_base "
        "from unnest($1::text[], $2::text[], $3::integer[], $4::uuid[], $5::text[], $6::numeric[], $7::text[], "
        "$8::timestamptz[], $9::timestamptz[], $10::integer[], $11::numeric[], $12::numeric[], $13::text[], "
        "$14::numeric[]) "
        "as b (source, reference, version, portfolio, type, amount, currency, processed_at, received_at, instrument, "
        "quantity, price, description, rate_to_base) left join portfolios p on p.id = b.portfolio "
        "order by b.source, b.reference, b.version on conflict (source, reference_id, version) do nothing returning id",
        [one.source for one in bookings],
        [one.reference for one in bookings],
        [one.version for one in bookings],
        [one.portfolio_id for one in bookings],
        [one.type for one in bookings],
        [one.amount for one in bookings],
        [one.currency for one in bookings],
        [one.processed_at for one in bookings],
        [one.received_at for one in bookings],
        [one.instrument_id for one in bookings],
        [one.quantity for one in bookings],
        [one.price for one in bookings],
        [one.description for one in bookings],
        [one.rate_to_base for one in bookings],
    )
    return len(rows)
