"""Write what a plan makes, and read the ledger as plans and derivations want it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import msgspec

from alhambra.statements.outcome import refusals
from alhambra.statements.statement_file import StatementFile
from analytics.positions import DerivedPosition
from db import imports
from db.audit import record
from db.imports import BookedRow, Holdable, ImportRecord, ImportTarget
from db.ledger import LedgerBooking, PositionSet, store
from ingest.statements.bookings import StatementBooking
from ingest.statements.derivation import CarriedPrice, LedgerRow, ledger_symbol, position_lines
from ingest.statements.matching import BankInstrument, BankView, NewInstrument
from ingest.statements.planning import Booked, ImportPlan
from stream.messages import PortfolioPositions, encode_message

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def write_catalogue(
    connection: asyncpg.Connection, plan: ImportPlan, carried: Sequence[CarriedPrice], broker: str
) -> None:
    """Write the currencies and instruments that a plan makes, with what the broker calls them and their prices."""
    await imports.write_currencies(connection, [(one.code, one.name, one.minor_units) for one in plan.currencies])
    await imports.write_instruments(connection, plan.statement.source, [_row(one) for one in plan.instruments])
    await imports.write_aliases(connection, broker, [(one.alias, one.id) for one in plan.instruments if one.alias])
    await imports.write_closes(connection, [(number, day, float(price)) for number, day, price in plan.closes])
    await imports.carry_closes(connection, [(one.old, one.new, one.date, one.factor) for one in carried])


async def write_ledger(
    connection: asyncpg.Connection,
    plan: ImportPlan,
    target: ImportTarget,
    positions: PositionSet,
    now: datetime,
) -> None:
    """Write bookings and positions, which ingest publishes; days that are told otherwise now are forgotten."""
    bookings = [_ledger_booking(one, plan.statement.source, target, now) for one in plan.bookings]
    await store(connection, None, [positions], bookings)
    await imports.forget_days(connection, target.id, min(one.processed_at for one in bookings).date())


async def write_record(
    connection: asyncpg.Connection, plan: ImportPlan, target: ImportTarget, read: StatementFile
) -> None:
    """Keep what was imported and what was refused, and tell the audit trail."""
    refused = refusals(plan.rejections)
    kept = ImportRecord(
        portfolio_id=target.id,
        source=plan.statement.source,
        file_name=read.name,
        file_digest=read.digest,
        bookings=len(plan.bookings),
        duplicates=len(plan.duplicates),
        rejected=msgspec.json.encode(refused),
    )
    number = await imports.record_import(connection, kept)
    detail = {
        "import": str(number),
        "source": kept.source,
        "file": kept.file_name,
        "bookings": kept.bookings,
        "duplicates": kept.duplicates,
        "rejected": len(refused),
    }
    await record(connection, None, "statement_imported", str(target.id), detail)


async def make_positions(
    connection: asyncpg.Connection,
    target: ImportTarget,
    lines: Iterable[DerivedPosition],
    cash: Mapping[str, int],
    now: datetime,
) -> PositionSet:
    """Return the next version of a portfolio's positions."""
    version = await imports.next_version(connection, target.id)
    now_ns = _nanoseconds(now)
    made = PortfolioPositions(
        portfolio=str(target.id),
        version=version,
        base_currency=target.base_currency,
        positions=position_lines(lines, cash),
        event_ns=now_ns,
        received_ns=now_ns,
        time_zone=target.time_zone,
    )
    return PositionSet(target.id, version, now, now, encode_message(made))


def bank_view(bank: Holdable) -> BankView:
    """Return what the bank can hold, as plans want it."""
    return BankView(
        instruments=tuple(
            BankInstrument(
                one.id,
                one.symbol,
                one.isin,
                one.currency,
                one.asset_class,
                Decimal(repr(one.price_factor)),
                one.imported,
            )
            for one in bank.instruments
        ),
        aliases=bank.aliases,
        cash=frozenset(bank.cash),
        rated=frozenset(bank.dollars),
        dollars=bank.dollars,
    )


def booked_of(rows: Iterable[BookedRow], source: str) -> dict[str, Booked]:
    """Return what of a source is booked, by reference."""
    return {
        one.reference: Booked(one.type, one.amount, one.currency, one.quantity) for one in rows if one.source == source
    }


def ledger_rows(rows: Sequence[BookedRow], plan: ImportPlan) -> list[LedgerRow]:
    """Return what is booked and what a plan books, as positions are derived from it."""
    stored = [
        LedgerRow(
            f"{one.source} {one.reference}",
            one.type,
            one.processed_at,
            ledger_symbol(one.instrument_id),
            one.quantity,
            one.amount,
            one.currency,
            one.rate_to_base,
        )
        for one in rows
    ]
    return stored + [_ledger_row(one, plan.statement.source) for one in plan.bookings]


def _ledger_row(one: StatementBooking, source: str) -> LedgerRow:
    return LedgerRow(
        f"{source} {one.reference}",
        one.type,
        one.moment,
        ledger_symbol(one.instrument.id if one.instrument else None),
        one.quantity,
        one.amount,
        one.currency,
        one.rate_to_base,
    )


def _ledger_booking(one: StatementBooking, source: str, target: ImportTarget, now: datetime) -> LedgerBooking:
    return LedgerBooking(
        source=source,
        reference=one.reference,
        version=1,
        portfolio_id=target.id,
        type=one.type,
        amount=one.amount,
        currency=one.currency,
        processed_at=one.moment,
        received_at=now,
        instrument_id=one.instrument.id if one.instrument else None,
        quantity=one.quantity,
        price=one.price,
        description=one.description,
        rate_to_base=one.rate_to_base,
    )


def _row(one: NewInstrument) -> tuple[object, ...]:
    return (
        one.id,
        one.symbol,
        one.isin,
        one.name,
        one.asset_class,
        one.sector,
        one.country,
        one.currency,
        one.base_currency,
        float(one.price_factor),
        one.exchange,
    )


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
