"""Read what an import of a statement goes by, and write what it makes; all of one import in one transaction.

A portfolio that imports feed has an IBOSS account id that begins with `import:`, which no account of IBOSS has: so the
back office and a statement never write the same portfolio.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

import asyncpg

IMPORTED = "import:"
MADE_BY_IMPORT = "Imported"  # how `history_source` begins of an instrument that an import made


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """Hold the portfolio that a statement goes to."""

    id: UUID
    user_id: UUID
    name: str
    base_currency: str
    time_zone: str
    iboss_account_id: str

    @property
    def is_imported(self) -> bool:
        """Say whether imports feed it, and not IBOSS."""
        return self.iboss_account_id.startswith(IMPORTED)


@dataclass(frozen=True, slots=True)
class InstrumentRow:
    """Hold what matching must know of an instrument; `imported` says that an import made it."""

    id: int
    symbol: str
    isin: str | None
    currency: str
    asset_class: str
    price_factor: float
    imported: bool


@dataclass(frozen=True, slots=True)
class Holdable:
    """Hold what the bank can hold: instruments, ids by what a broker calls them, currencies with cash and with a rate.

    `dollars` is by currency what one unit was worth in US dollars at the newest close.
    """

    instruments: tuple[InstrumentRow, ...]
    aliases: dict[str, int]
    cash: dict[str, int]
    dollars: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class BookedRow:
    """Hold one booking of an imported portfolio."""

    source: str
    reference: str
    type: str
    processed_at: datetime
    instrument_id: int | None
    quantity: Decimal | None
    amount: Decimal
    currency: str
    rate_to_base: Decimal


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """Hold what is kept of an import; `rejected` is JSON."""

    portfolio_id: UUID
    source: str
    file_name: str
    file_digest: bytes
    bookings: int
    duplicates: int
    rejected: bytes


_TARGET = "select id, user_id, name, base_currency, time_zone, iboss_account_id from portfolios"


async def lock_imports(connection: asyncpg.Connection) -> None:
    """Let nobody else import, or number instruments, until this transaction is over."""
    await connection.execute("select pg_advisory_xact_lock(hashtext('alhambra.import'))")
    await connection.execute("lock table instruments in share row exclusive mode")


async def find_target(connection: asyncpg.Connection, portfolio_id: UUID) -> ImportTarget | None:
    """Return a portfolio, or None where there is none; for the operator, who acts for no viewer."""
    row = await connection.fetchrow(_TARGET + " where id = $1", portfolio_id)
    return None if row is None else ImportTarget(*row.values())


async def target_of_source(connection: asyncpg.Connection, source: str) -> ImportTarget | None:
    """Return the portfolio that a source has been imported into, or that was made for it; None where neither is."""
    found = await connection.fetchval(
        "select coalesce((select portfolio_id from transactions where source = $1 limit 1), "
        "(select id from portfolios where iboss_account_id = $2))",
        source,
        IMPORTED + source,
    )
    return None if found is None else await find_target(connection, found)


async def find_client(connection: asyncpg.Connection, email: str) -> UUID | None:
    """Return the active client with this address, or None."""
    found: UUID | None = await connection.fetchval(
        "select id from users where email = lower($1) and role = 'client' and status = 'active'", email
    )
    return found


async def create_target(connection: asyncpg.Connection, client: UUID, source: str, base_currency: str) -> ImportTarget:
    """Make an account and a portfolio for a source, whose day begins at midnight UTC."""
    number = f"IMP-{blake2b(source.encode(), digest_size=6).hexdigest()}"
    account = await connection.fetchval(
        "insert into accounts (user_id, account_number, account_type, currency, status, opened_at) "
        "values ($1, $2, 'imported', $3, 'active', now()) returning id",
        client,
        number,
        base_currency,
    )
    row = await connection.fetchrow(
        "insert into portfolios (user_id, account_id, iboss_account_id, name, base_currency) "
        "values ($1, $2, $3, $4, $5) returning id, user_id, name, base_currency, time_zone, iboss_account_id",
        client,
        account,
        IMPORTED + source,
        f"Imported from {source}",
        base_currency,
    )
    return ImportTarget(*row.values())


async def holdable(connection: asyncpg.Connection, broker: str) -> Holdable:
    """Return what the bank can hold, with what `broker` calls it."""
    rows = await connection.fetch(
        "select id, symbol, isin, currency, asset_class, price_factor, history_source like $1 || '%' "
        "from instruments order by id",
        MADE_BY_IMPORT,
    )
    known = tuple(InstrumentRow(*row.values()) for row in rows)
    aliases = await connection.fetch("select symbol, instrument_id from instrument_symbols where source = $1", broker)
    rates = await connection.fetch(
        "select i.currency, i.base_currency, d.close from instruments i cross join lateral (select close from "
        "daily_prices where instrument_id = i.id order by date desc limit 1) d where i.asset_class = 'fx'"
    )
    dollars = {"USD": Decimal(1)}
    for currency, base, close in rates:
        if currency == "USD":
            dollars[base] = Decimal(repr(close))
        elif base == "USD":
            dollars[currency] = 1 / Decimal(repr(close))
    cash = {one.currency: one.id for one in known if one.asset_class == "cash"}
    return Holdable(known, {row[0]: row[1] for row in aliases}, cash, dollars)


async def portfolio_bookings(connection: asyncpg.Connection, portfolio_id: UUID) -> list[BookedRow]:
    """Return all bookings of an imported portfolio."""
    rows = await connection.fetch(
        "select source, reference_id, type, processed_at, instrument_id, quantity, amount, currency, rate_to_base "
        "from transactions where portfolio_id = $1 and status = 'booked' order by processed_at, source, reference_id",
        portfolio_id,
    )
    return [BookedRow(*row.values()) for row in rows]


async def write_currencies(connection: asyncpg.Connection, rows: Sequence[tuple[str, str, int]]) -> None:
    """Add currencies (code, name, minor units) that are not there."""
    await connection.executemany(
        "insert into currencies (code, name, minor_units) values ($1, $2, $3) on conflict do nothing", rows
    )


async def write_instruments(connection: asyncpg.Connection, source: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Add instruments that come from `source`.

    A row is (id, symbol, isin, name, asset class, sector, country, currency, base currency, price factor, exchange).
    Raises `asyncpg.UniqueViolationError` where one is there already.
    """
    note = f"{MADE_BY_IMPORT} from {source}: prices of its statements"
    await connection.executemany(
        "insert into instruments (id, symbol, isin, name, asset_class, sector, country, currency, base_currency, "
        "price_factor, exchange, history_source) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        [(*row, note) for row in rows],
    )


async def write_aliases(connection: asyncpg.Connection, broker: str, rows: Sequence[tuple[str, int]]) -> None:
    """Remember what a broker calls instruments: (its name, our number)."""
    await connection.executemany(
        "insert into instrument_symbols (source, symbol, instrument_id) values ($1, $2, $3) on conflict do nothing",
        [(broker, *row) for row in rows],
    )


async def write_closes(connection: asyncpg.Connection, rows: Sequence[tuple[int, date, float]]) -> None:
    """Add closes that are final; what is there already is left as it is."""
    await connection.executemany(
        "insert into daily_prices (instrument_id, date, close) values ($1, $2, $3) on conflict do nothing", rows
    )


async def carry_closes(connection: asyncpg.Connection, rows: Sequence[tuple[int, int, date, Decimal]]) -> None:
    """Carry prices over splits and conversions: (old instrument, new instrument, date, factor), in order of time.

    Where an import made the new instrument, the newest close of the old one before the date, times the factor, is a
    close of the new one on that date, unless it has one.
    """
    for row in rows:  # one after the other: a second split goes by what the first one made
        await connection.execute(
            "insert into daily_prices (instrument_id, date, close) "
            "select n.id, $3, round((d.close * o.price_factor / n.price_factor)::numeric * $4, 8) "
            "from instruments o, instruments n, "
            "lateral (select close from daily_prices where instrument_id = o.id and date <= $3 "
            "and (o.id <> n.id or date < $3) order by date desc limit 1) d "
            "where o.id = $1 and n.id = $2 and n.history_source like $5 || '%' on conflict do nothing",
            *row,
            MADE_BY_IMPORT,
        )


async def next_version(connection: asyncpg.Connection, portfolio_id: UUID) -> int:
    """Return the version that the portfolio's next positions have."""
    found: int = await connection.fetchval(
        "select coalesce(max(version), 0) + 1 from position_sets where portfolio_id = $1", portfolio_id
    )
    return found


async def forget_days(connection: asyncpg.Connection, portfolio_id: UUID, since: date) -> None:
    """Remove what was recorded of a portfolio's days from `since` on: bookings have come that change them."""
    await connection.execute("delete from daily_valuations where portfolio_id = $1 and date >= $2", portfolio_id, since)


async def record_import(connection: asyncpg.Connection, record: ImportRecord) -> UUID:
    """Keep that a statement was imported; returns the import's id."""
    found: UUID = await connection.fetchval(
        "insert into statement_imports (portfolio_id, source, file_name, file_digest, bookings, duplicates, rejected) "
        "values ($1, $2, $3, $4, $5, $6, $7::text::jsonb) returning id",
        record.portfolio_id,
        record.source,
        record.file_name,
        record.file_digest,
        record.bookings,
        record.duplicates,
        record.rejected.decode(),
    )
    return found
