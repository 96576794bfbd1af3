"""Write the demonstration bank to an empty database.

Bookings and positions are not written: they come from IBOSS, as in production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

import asyncpg
import structlog
from argon2 import PasswordHasher
from babel.numbers import get_currency_name, get_currency_precision

from alhambra.bank.account_ledger import BOOKS_OPEN
from alhambra.bank.model import Account, Bank, Person
from alhambra.bank.valuation import daily_histories, to_money

CONNECT_TIMEOUT_S = 10.0
_PORTFOLIO = ("portfolio_id", "account_id", "iboss_account_id", "name", "base_currency", "time_zone")
_LOCK = "select pg_advisory_xact_lock(hashtext('alhambra.seed'))"

log = structlog.get_logger()


async def seed(url: str, bank: Bank) -> None:
    """Write people, accounts, instruments and their history in one transaction, unless users are there already.

    The database must be migrated. Raises `OSError` or `asyncpg.PostgresError` when it cannot be reached or
    refuses.
    """
    connection = await asyncpg.connect(
        url, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "alhambra seed"}
    )
    try:
        async with connection.transaction():
            await connection.execute(_LOCK)
            if await connection.fetchval("select exists (select from users)"):
                log.info("the bank is there already")
                return
            await _write(connection, bank)
    finally:
        await connection.close()
    log.info("seeded the demonstration bank", clients=len(bank.assignments), portfolios=len(bank.accounts))


async def _write(connection: asyncpg.Connection, bank: Bank) -> None:
    async with asyncio.TaskGroup() as tasks:  # hashing takes as long as all the rest: beside it, on another core
        hashing = tasks.create_task(asyncio.to_thread(hash_passwords, bank.people), name="hash passwords")
        await _copy(connection, "currencies", ("code", "name", "minor_units"), _currencies(bank))
        await _write_people(connection, bank)
        await _write_accounts(connection, bank)
        await _write_market(connection, bank)
        await _copy(
            connection,
            "daily_valuations",
            ("portfolio_id", "date", "total_equity", "net_flow", "day_return"),
            _daily_valuations(bank),
        )
    await _write_passwords(connection, bank, hashing.result())
    for table in ("users", "portfolios", "daily_prices", "daily_valuations"):
        await connection.execute(f"analyze {table}")


async def _copy(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], records: Iterator[tuple[object, ...]]
) -> None:
    await connection.copy_records_to_table(table, columns=list(columns), records=records)


def hash_passwords(people: Sequence[Person]) -> dict[str, str]:
    """Return the Argon2id hash of each distinct password; each is meant to take time, some 100 ms."""
    hasher = PasswordHasher()
    return {password: hasher.hash(password) for password in sorted({p.password for p in people if p.password})}


def _currencies(bank: Bank) -> Iterator[tuple[object, ...]]:
    codes = {instrument.currency for instrument in bank.instruments}
    codes |= {instrument.base_currency for instrument in bank.instruments if instrument.base_currency}
    for code in sorted(codes):
        yield code, get_currency_name(code, locale="en"), get_currency_precision(code)


async def _write_people(connection: asyncpg.Connection, bank: Bank) -> None:
    columns = ("id", "email", "first_name", "last_name", "phone", "country", "language", "role")
    await _copy(
        connection, "users", columns, (tuple(getattr(person, column) for column in columns) for person in bank.people)
    )
    await _copy(connection, "advisor_clients", ("advisor_id", "client_id"), iter(bank.assignments))


async def _write_passwords(connection: asyncpg.Connection, bank: Bank, hashes: dict[str, str]) -> None:
    await connection.executemany(
        "update users set password_hash = $2 where id = $1",
        [(person.id, hashes[person.password]) for person in bank.people if person.password],
    )


async def _write_accounts(connection: asyncpg.Connection, bank: Bank) -> None:
    await _copy(
        connection,
        "accounts",
        ("id", "user_id", "account_number", "account_type", "currency", "status", "opened_at", "created_at"),
        (
            (a.account_id, a.client_id, a.account_number, a.account_type, a.base_currency, "active", opened, opened)
            for a, opened in _opened(bank)
        ),
    )
    await _copy(
        connection,
        "portfolios",
        ("user_id", "id", "account_id", "iboss_account_id", "name", "base_currency", "time_zone", "created_at"),
        ((a.client_id, *(getattr(a, one) for one in _PORTFOLIO), opened) for a, opened in _opened(bank)),
    )


def _opened(bank: Bank) -> Iterator[tuple[Account, datetime]]:
    """Yield each account with the moment at which its books were opened."""
    for account in bank.accounts:
        yield account, datetime.combine(account.opened_on, BOOKS_OPEN)


async def _write_market(connection: asyncpg.Connection, bank: Bank) -> None:
    columns = (
        "id",
        "symbol",
        "name",
        "asset_class",
        "sector",
        "country",
        "currency",
        "base_currency",
        "price_factor",
        "tick_size",
        "history_source",
        "exchange",
    )
    await _copy(
        connection,
        "instruments",
        columns,
        (tuple(getattr(instrument, column) for column in columns) for instrument in bank.instruments),
    )
    await _copy(connection, "daily_prices", ("instrument_id", "date", "close"), _closes(bank))


def _closes(bank: Bank) -> Iterator[tuple[object, ...]]:
    for column, instrument in enumerate(bank.instruments):
        for day, close in zip(bank.dates, bank.closes[:, column].tolist(), strict=True):
            if close == close:  # NaN, where absent, is not itself
                yield instrument.id, day, close


def _daily_valuations(bank: Bank) -> Iterator[tuple[object, ...]]:
    for history in daily_histories(bank):
        for day, equity, flow, gain in zip(
            history.dates,
            history.equity.tolist(),
            history.net_flow.tolist(),
            history.day_return.tolist(),
            strict=True,
        ):
            yield history.portfolio_id, day, to_money(equity), to_money(flow), gain
