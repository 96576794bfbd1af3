"""Show portfolios as they were shown at a moment: from stored minutes, positions, prices and bookings, and prove it.

Only PostgreSQL is asked, so this works when nothing else runs, and on a restored backup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from alhambra.errors import CannotStart
from analytics.splits import Splits, create_splits
from api.portfolio.past import NotRebuilt, rebuild
from db.corporate_actions import splits
from db.instruments import Instrument, instruments
from db.ledger import LedgerBooking, bookings_since
from db.time_machine import Moment, read_moment
from stream.messages import Valuation

TIMEOUT_S = 30.0
_PORTFOLIOS = """
select p.id, p.name, c.first_name || ' ' || c.last_name, a.account_number
  from portfolios p join accounts a on a.id = p.account_id join users c on c.id = p.user_id
 where ($1::uuid is null or p.id = $1) and ($2::text is null or $2 in (a.account_number, p.iboss_account_id))
 order by c.last_name, c.first_name, p.created_at, p.id
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say of which moment (timezone-aware), and of which portfolio or account; without either, of all."""

    at: datetime
    portfolio: UUID | None = None
    account: str | None = None


class ReplayedBooking(msgspec.Struct, frozen=True):
    """Hold a booking of the day; `symbol` is None where only cash moved."""

    booked_at: datetime
    type: str
    symbol: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal
    currency: str
    reference: str


class Replayed(msgspec.Struct, frozen=True):
    """Hold a portfolio as it was shown when the minute ended, and the day's bookings until then.

    `differences` are totals that do not equal their recomputation: name → (stored, recomputed); `missing` says why
    nothing could be recomputed, and then there is no valuation.
    """

    portfolio: UUID
    name: str
    client: str
    account: str
    as_of: datetime
    matches: bool
    differences: dict[str, tuple[float, float]]
    missing: str | None
    valuation: Valuation | None
    bookings: list[ReplayedBooking]


class Replay(msgspec.Struct, frozen=True):
    """Hold what was asked and what was found."""

    at: datetime
    portfolios: list[Replayed]

    @property
    def matches(self) -> bool:
        """Say whether every portfolio's stored totals equal their recomputation."""
        return all(one.matches for one in self.portfolios)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """Hold what is fixed of instruments and currencies, and the splits that were known then."""

    instruments: Sequence[Instrument]
    minor_units: dict[str, int]
    splits: Splits

    def symbol(self, number: int | None) -> str | None:
        return next((one.symbol for one in self.instruments if one.id == number), None)


async def replay(database_url: str, wanted: Wanted) -> Replay:
    """Return the portfolios as they were shown at a moment. Raises `CannotStart` where there are none."""
    try:
        connection = await asyncpg.connect(database_url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CannotStart(f"PostgreSQL does not answer: {error}") from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = await _read(connection, wanted)
    finally:
        await connection.close(timeout=2)
    if not found:
        raise CannotStart(f"Nothing is stored of the month before {wanted.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.")
    return Replay(wanted.at, found)


async def _read(connection: asyncpg.Connection, wanted: Wanted) -> list[Replayed]:
    chosen = await connection.fetch(_PORTFOLIOS, wanted.portfolio, wanted.account)
    if not chosen:
        raise CannotStart("There is no such portfolio.")
    digits = await connection.fetch("select code, minor_units from currencies")
    known = create_splits(await splits(connection, wanted.at))
    catalogue = _Catalogue(await instruments(connection), {row[0]: row[1] for row in digits}, known)
    found = []
    for identity, name, client, account in chosen:
        moment = await read_moment(connection, identity, wanted.at)
        if moment is not None:
            bookings = await _bookings(connection, moment)
            found.append(_replayed(moment, (name, client, account), bookings, catalogue))
    return found


async def _bookings(connection: asyncpg.Connection, moment: Moment) -> list[LedgerBooking]:
    """Return what was booked on the portfolio's day until the minute ended; of the UTC day where its start is lost."""
    midnight = moment.minute.replace(hour=0, minute=0, second=0, microsecond=0)
    began = midnight if moment.inputs is None else moment.inputs.day_start
    return await bookings_since(connection, moment.portfolio_id, began, moment.ended_at + timedelta(microseconds=1))


def _replayed(
    moment: Moment, names: tuple[str, str, str], bookings: Sequence[LedgerBooking], catalogue: _Catalogue
) -> Replayed:
    listed = [
        ReplayedBooking(
            one.processed_at,
            one.type,
            catalogue.symbol(one.instrument_id),
            one.quantity,
            one.price,
            one.amount,
            one.currency,
            one.reference,
        )
        for one in bookings
    ]
    try:
        rebuilt = rebuild(moment, catalogue.instruments, catalogue.minor_units, catalogue.splits)
    except NotRebuilt as error:
        return Replayed(moment.portfolio_id, *names, moment.ended_at, False, {}, str(error), None, listed)
    differences = {one.field: (one.stored, one.recomputed) for one in rebuilt.differences}
    return Replayed(
        moment.portfolio_id, *names, moment.ended_at, not differences, differences, None, rebuilt.valuation, listed
    )


def show(found: Replay, console: Console) -> bool:
    """Print the portfolios, with rows and bookings where it is one; return whether all were proved."""
    console.print(_totals_table(found.portfolios))
    if len(found.portfolios) == 1:
        only = found.portfolios[0]
        if only.valuation is not None:
            console.print(_rows_table(only.valuation))
        console.print(_bookings_table(only.bookings))
    for one in found.portfolios:
        if one.missing is not None:
            console.print(f"{one.name} of {one.client}: not recomputed: {one.missing}.", highlight=False)
        for name, (stored, recomputed) in one.differences.items():
            console.print(f"{one.name} of {one.client}: {name} was {stored:,.2f}, recomputed {recomputed:,.2f}.")
    proved = sum(one.matches for one in found.portfolios)
    console.print(f"{proved} of {len(found.portfolios)} equal their recomputation to the minor unit.", highlight=False)
    return found.matches


def _totals_table(portfolios: Sequence[Replayed]) -> Table:
    table = Table("client", "portfolio", "as of (UTC)", "", title="As it was shown")
    for name in ("total equity", "cash", "day P&L", "unrealised P&L"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("proved")
    for one in portfolios:
        shown = one.valuation
        amounts = () if shown is None else (shown.total_equity, shown.cash, shown.day_pnl, shown.unrealised_pnl)
        table.add_row(
            one.client,
            one.name,
            f"{one.as_of.astimezone(UTC):%Y-%m-%d %H:%M}",
            shown.base_currency if shown else "",
            *(f"{amount:,.2f}" for amount in amounts or ()),
            *("" for _ in range(4 - len(amounts))),
            "yes" if one.matches else "NO",
        )
    return table


def _rows_table(valuation: Valuation) -> Table:
    table = Table("symbol", title="Holdings")
    for name in ("quantity", "price", "value", "day P&L", "unrealised P&L"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("price is")
    for row in sorted(valuation.rows, key=lambda one: -one.value):
        figures = (f"{row.value:,.2f}", f"{row.day_pnl:,.2f}", f"{row.unrealised_pnl:,.2f}")
        quantity = f"{row.quantity:,.6f}".rstrip("0").rstrip(".")
        table.add_row(row.symbol, quantity, f"{row.price:,.4f}", *figures, row.state)
    return table


def _bookings_table(bookings: Sequence[ReplayedBooking]) -> Table:
    table = Table("booked (UTC)", "type", "symbol", title="Bookings of the day until then")
    for name in ("quantity", "price", "amount"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("reference")
    for one in bookings:
        table.add_row(
            f"{one.booked_at.astimezone(UTC):%H:%M:%S}",
            one.type,
            one.symbol or "",
            "" if one.quantity is None else f"{one.quantity.normalize():f}",
            "" if one.price is None else f"{one.price.normalize():f}",
            f"{one.amount:,.2f} {one.currency}",
            one.reference,
        )
    return table
