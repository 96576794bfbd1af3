"""Keep what was read of IBOSS in PostgreSQL: positions, bookings and the cursor in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from db.corporate_actions import CorporateAction, insert_actions
from db.leases import Fence
from db.ledger import Cursor, LedgerBooking, PositionSet, latest_versions, read_cursor, store
from db.postgres import acquire
from db.reconciliation import note_caught_up
from ingest.iboss.directory import Directory, read_directory
from ingest.iboss.outbox import booking_record, moment_of
from ingest.iboss.records import Refused
from ingest.iboss.translation import SOURCE
from stream.messages import Booking, PortfolioPositions, encode_message

CURSOR_STREAM = "transactions"
ACTIONS_STREAM = "corporate actions"
REFUSED_BY_LEDGER = "refused_by_ledger"
POISON = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)


@dataclass(frozen=True, slots=True)
class Kept:
    """Hold how far IBOSS was read before this process began: versions by account, and the cursor."""

    versions: dict[str, int]
    cursor: str | None


class LedgerStore:
    """Read and write the ledger for the IBOSS worker; with a fence, as long as nobody else leads the source.

    Whatever writes raises `db.leases.LeaseLost` after that, and has written nothing.
    """

    def __init__(self, pool: asyncpg.Pool, fence: Fence | None = None) -> None:
        self._pool = pool
        self._fence = fence

    async def directory(self) -> Directory:
        """Read which accounts, symbols and currencies are known."""
        async with acquire(self._pool) as connection:
            return await read_directory(connection)

    async def kept(self, directory: Directory) -> Kept:
        """Read how far an earlier process came."""
        async with acquire(self._pool) as connection:
            versions = await latest_versions(connection)
            cursor = await read_cursor(connection, SOURCE, CURSOR_STREAM)
        by_account = {account: versions.get(known.id, -1) for account, known in directory.portfolios.items()}
        return Kept(by_account, cursor)

    async def note_caught_up(self, at: datetime) -> None:
        """Write down that the bookings were read to their end at a moment."""
        async with acquire(self._pool) as connection:
            await note_caught_up(connection, SOURCE, at)

    async def keep(
        self, positions: Sequence[PositionSet], bookings: Sequence[LedgerBooking], cursor: str | None
    ) -> None:
        """Write all of it in one transaction, the cursor where there is one; raises as `db.ledger.store` does."""
        async with acquire(self._pool) as connection:
            await store(connection, None if cursor is None else _cursor(cursor), positions, bookings, self._fence)

    async def actions_cursor(self) -> str | None:
        """Read how far corporate actions were read by an earlier process."""
        async with acquire(self._pool) as connection:
            return await read_cursor(connection, SOURCE, ACTIONS_STREAM)

    async def keep_actions(self, actions: Sequence[CorporateAction], position: str) -> int:
        """Write corporate actions with how far they are read, in one transaction; return how many were new."""
        async with acquire(self._pool) as connection, connection.transaction():
            await store(connection, Cursor(SOURCE, ACTIONS_STREAM, position), [], [], self._fence)
            return await insert_actions(connection, actions)

    async def keep_singly(self, positions: Sequence[PositionSet], bookings: Sequence[LedgerBooking]) -> list[Refused]:
        """Write what can be written one by one, without the cursor, and return what PostgreSQL refuses.

        For the rare batch with a row that violates a constraint: the others must not wait for it.
        """
        refused = []
        async with acquire(self._pool) as connection:
            for one in positions:
                try:
                    await store(connection, None, [one], [], self._fence)
                except POISON as error:
                    identity = f"{one.portfolio_id}/{one.version}"
                    refused.append(Refused("GetPositions", identity, REFUSED_BY_LEDGER, str(error), one.record))
            for entry in bookings:
                try:
                    await store(connection, None, [], [entry], self._fence)
                except POISON as error:
                    identity, raw = f"{entry.reference}/{entry.version}", booking_record(entry)
                    refused.append(Refused("GetTransactions", identity, REFUSED_BY_LEDGER, str(error), raw))
        return refused


def position_set(record: PortfolioPositions) -> PositionSet:
    """Make the ledger's row of a record."""
    return PositionSet(
        UUID(record.portfolio),
        record.version,
        moment_of(record.event_ns),
        moment_of(record.received_ns),
        encode_message(record),
    )


def ledger_booking(record: Booking) -> LedgerBooking:
    """Make the ledger's row of a record."""
    return LedgerBooking(
        source=record.source,
        reference=record.reference,
        version=record.version,
        portfolio_id=UUID(record.portfolio),
        type=record.type,
        amount=record.amount,
        currency=record.currency,
        processed_at=moment_of(record.event_ns),
        received_at=moment_of(record.received_ns),
        instrument_id=record.instrument,
        quantity=record.quantity,
        price=record.price,
        description=record.description,
        rate_to_base=record.rate_to_base,
    )


def _cursor(position: str) -> Cursor:
    return Cursor(SOURCE, CURSOR_STREAM, position)
