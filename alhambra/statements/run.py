"""Run an import against the bank: read, plan, and with `apply` write all of it in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from alhambra.statements.outcome import Outcome, create_outcome
from alhambra.statements.statement_file import StatementFile, read_statement_file
from alhambra.statements.writing import (
    bank_view,
    booked_of,
    ledger_rows,
    make_positions,
    write_catalogue,
    write_ledger,
    write_record,
)
from analytics.positions import DerivedPosition
from analytics.sessions import ROUND_THE_CLOCK, day_start, trading_day
from db import imports
from db.imports import ImportTarget
from db.sessions import sessions
from ingest.statements.derivation import derive
from ingest.statements.errors import ImportRefused
from ingest.statements.planning import ImportPlan, plan_import

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 60.0  # of one statement to the server: years of bookings are some ten thousand rows
KNOWN_BACK = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class ImportWish:
    """Hold what is asked: the file, and the portfolio or the client that it goes to."""

    file: Path
    portfolio: UUID | None = None
    client: str | None = None
    mapping: str | None = None
    account: str | None = None
    base_currency: str | None = None
    apply: bool = False
    create_instruments: bool = False


async def run_import(url: str, wish: ImportWish) -> Outcome:
    """Return what an import does, or did; nothing is written without `apply`, and with it all or nothing.

    Raises what `ingest.statements.errors` names for what cannot be imported, `OSError` and `asyncpg.PostgresError`
    where the file or the database cannot be read.
    """
    read = read_statement_file(wish.file, wish.mapping, wish.account, wish.base_currency)
    async with _transaction(url, wish.apply) as connection:
        return await _Import(connection, read, wish).run()


@asynccontextmanager
async def _transaction(url: str, apply: bool) -> AsyncIterator[asyncpg.Connection]:
    settings = {"application_name": "alhambra import", "timezone": "UTC"}
    connection = await asyncpg.connect(
        url, timeout=CONNECT_TIMEOUT_S, command_timeout=TIMEOUT_S, server_settings=settings
    )
    try:
        # an import that waited for another must see what that one wrote
        isolation = "read_committed" if apply else "repeatable_read"
        async with connection.transaction(isolation=isolation, readonly=not apply):
            if apply:
                await imports.lock_imports(connection)
            yield connection
    finally:
        await connection.close()


class _Import:
    """Carry one import from the plan to the positions."""

    def __init__(self, connection: asyncpg.Connection, read: StatementFile, wish: ImportWish) -> None:
        self._connection = connection
        self._read = read
        self._statement = read.statement
        self._wish = wish
        self._now = datetime.now(UTC)

    async def run(self) -> Outcome:
        """Plan, write where that is asked, and say what the portfolio is then."""
        target, client = await self._target()
        base = self._base_currency(target)
        broker = self._statement.source.rpartition(":")[0]
        bank = await imports.holdable(self._connection, broker)
        rows = await imports.portfolio_bookings(self._connection, target.id) if target else []
        booked = booked_of(rows, self._statement.source)
        plan = plan_import(self._statement, base, bank_view(bank), booked, self._wish.create_instruments)
        opening_at = await self._day_start(target.time_zone if target else "UTC")
        derived = derive(ledger_rows(rows, plan), opening_at)
        applied = self._wish.apply and bool(plan.bookings)
        if applied:
            await write_catalogue(self._connection, plan, derived.carried, broker)
            target = target or await imports.create_target(self._connection, client, self._statement.source, base)
            cash = bank.cash | {one.currency: one.id for one in plan.instruments if one.asset_class == "cash"}
            await self._write(plan, target, derived.lines, cash)
        names = {one.id: one.symbol for one in bank.instruments} | {one.id: one.symbol for one in plan.instruments}
        return create_outcome(plan, derived, names, target, self._read.name, applied)

    async def _write(
        self, plan: ImportPlan, target: ImportTarget, lines: tuple[DerivedPosition, ...], cash: dict[str, int]
    ) -> None:
        positions = await make_positions(self._connection, target, lines, cash, self._now)
        await write_ledger(self._connection, plan, target, positions, self._now)
        await write_record(self._connection, plan, target, self._read)

    async def _target(self) -> tuple[ImportTarget | None, UUID]:
        """Return the portfolio the statement goes to, None where one is to be made, and its client."""
        source = self._statement.source
        fed = await imports.target_of_source(self._connection, source)
        if self._wish.portfolio is not None:
            target = await self._chosen(self._wish.portfolio)
            if fed is not None and fed.id != target.id:
                raise ImportRefused(f"{source} goes into portfolio {fed.id} ({fed.name}) already.")
            return target, target.user_id
        client = await imports.find_client(self._connection, self._wish.client or "")
        if client is None:
            raise ImportRefused(f"There is no active client with the address {self._wish.client!r}.")
        if fed is not None and fed.user_id != client:
            raise ImportRefused(f"{source} goes into portfolio {fed.id} ({fed.name}) of another client already.")
        return fed, client

    async def _chosen(self, portfolio: UUID) -> ImportTarget:
        target = await imports.find_target(self._connection, portfolio)
        if target is None:
            raise ImportRefused(f"There is no portfolio {portfolio}.")
        if not target.is_imported:
            raise ImportRefused(
                f"Portfolio {target.name!r} is fed by IBOSS account {target.iboss_account_id}, and with two "
                "sources none is true: import for the client instead, with --client, into a portfolio of its own."
            )
        return target

    def _base_currency(self, target: ImportTarget | None) -> str:
        said = self._wish.base_currency or self._statement.base_currency
        if target is None:
            if said is None:
                raise ImportRefused("The statement does not say its base currency: give it with --base.")
            return said
        if said not in (None, target.base_currency):
            raise ImportRefused(
                f"The statement is in {said}, portfolio {target.name!r} in {target.base_currency}: import it for the "
                "client, with --client, into a portfolio of its own."
            )
        return target.base_currency

    async def _day_start(self, zone: str) -> datetime:
        """Return when the day began that the portfolio is on, as the stream has it."""
        known = await sessions(self._connection, self._now.date() - KNOWN_BACK)
        dates = {one.date for one in known if one.exchange not in ROUND_THE_CLOCK}
        today = self._now.astimezone(ZoneInfo(zone)).date()
        return day_start(trading_day(today, dates), zone)
