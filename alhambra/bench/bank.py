"""Write a bank of any size straight into PostgreSQL: what IBOSS would take minutes to deliver.

Only measurements use it. Each portfolio has a client of its own; who is to connect gets a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import numpy as np

from alhambra.bench.book import CLASSES, COUNTRIES, CURRENCIES, RATES, SECTORS
from api.auth.tokens import AccessClaims, AccessTokens
from stream.messages import PortfolioPositions, Position, encode_message

INSTRUMENTS = 5_000
POSITIONS = 20
DAYS = 3
TOKEN_LIFETIME = timedelta(hours=2)
USERS, ACCOUNTS, PORTFOLIOS, SESSIONS = (kind << 120 for kind in range(1, 5))
CASH = len(RATES)
FIRST = CASH + len(CURRENCIES)
QUANTITIES = 4_096
INSTRUMENT_COLUMNS = "id symbol name asset_class sector country currency base_currency tick_size"

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class BankSize:
    """Say how many portfolios there are, how many instruments, and how many of those a portfolio holds."""

    portfolios: int
    instruments: int = INSTRUMENTS
    positions: int = POSITIONS


def portfolio_id(number: int) -> UUID:
    """Return the id of a portfolio, counted from 0."""
    return UUID(int=PORTFOLIOS + number)


async def write_bank(url: str, size: BankSize, clients: int) -> None:
    """Write the bank into a database that is migrated and empty, with sessions for the first `clients`.

    Raises `OSError` or `asyncpg.PostgresError` when the database cannot be reached or refuses.
    """
    connection = await asyncpg.connect(url, server_settings={"application_name": "alhambra bench"})
    now = datetime.now(UTC)
    try:
        async with connection.transaction():
            for table, columns, rows in _tables(size, clients, now):
                await connection.copy_records_to_table(table, columns=columns.split(), records=rows)
        await connection.execute("analyze")
    finally:
        await connection.close()


def issue_tokens(secret: str, clients: int) -> list[str]:
    """Return an access token for each of the first `clients`."""
    tokens = AccessTokens(secret, TOKEN_LIFETIME)
    return [
        tokens.issue(AccessClaims(UUID(int=USERS + number), "client", UUID(int=SESSIONS + number)))
        for number in range(clients)
    ]


def create_record(number: int, size: BankSize, random: np.random.Generator, now_ns: int) -> PortfolioPositions:
    """Return a portfolio's positions: cash, and instruments of which it holds none twice."""
    first = int(random.integers(0, size.instruments))
    amounts = (random.integers(1, QUANTITIES, size.positions) * 5).tolist()
    held = sorted((first + 37 * one) % size.instruments for one in range(size.positions - 1))
    lines = [_line(FIRST + one, amount) for one, amount in zip(held, amounts, strict=False)]
    lines.append(_line(CASH + number % len(CURRENCIES), amounts[-1]))
    return PortfolioPositions(str(portfolio_id(number)), 1, _base(number), tuple(lines), now_ns, now_ns)


def _line(instrument: int, amount: int) -> Position:
    quantity = Decimal(amount)
    return Position(instrument, quantity, quantity, quantity, quantity, Decimal(0))


def _tables(size: BankSize, clients: int, now: datetime) -> Iterator[tuple[str, str, Iterator[Row]]]:
    """Yield (table, columns, rows) in the order in which they refer to each other."""
    numbers = range(size.portfolios)
    yield "currencies", "code name minor_units", ((code, code, digits) for code, digits in CURRENCIES.items())
    yield "instruments", INSTRUMENT_COLUMNS, _instruments(size)
    yield "daily_prices", "instrument_id date close", _closes(size, now)
    yield "users", "id email first_name last_name", map(_user, numbers)
    sessions = (_session(one, now) for one in range(clients))
    yield "refresh_tokens", "family_id user_id token_hash expires_at", sessions
    accounts = ((*_account(one), now) for one in numbers)
    yield "accounts", "id user_id account_number account_type currency status opened_at", accounts
    yield "portfolios", "id user_id account_id iboss_account_id name base_currency", map(_portfolio, numbers)
    yield "position_sets", "portfolio_id version event_at record published_at", _positions(size, now)


def _user(number: int) -> Row:
    return UUID(int=USERS + number), f"client{number}@bench.example", "Client", str(number)


def _session(number: int, now: datetime) -> Row:
    return UUID(int=SESSIONS + number), UUID(int=USERS + number), number.to_bytes(32), now + TOKEN_LIFETIME


def _account(number: int) -> Row:
    owner = UUID(int=USERS + number)
    return UUID(int=ACCOUNTS + number), owner, _reference(number), "custody", _base(number), "active"


def _portfolio(number: int) -> Row:
    owner, account = UUID(int=USERS + number), UUID(int=ACCOUNTS + number)
    return portfolio_id(number), owner, account, _reference(number), f"Portfolio {number}", _base(number)


def _reference(number: int) -> str:
    return f"B{number:09}"


def _base(number: int) -> str:
    return list(CURRENCIES)[number % len(CURRENCIES)]


def _positions(size: BankSize, now: datetime) -> Iterator[Row]:
    random = np.random.default_rng(1)
    now_ns = round(now.timestamp()) * 10**9
    for number in range(size.portfolios):
        record = encode_message(create_record(number, size, random, now_ns))
        yield portfolio_id(number), 1, now, record.decode(), now


def _instruments(size: BankSize) -> Iterator[Row]:
    for number, code in enumerate(RATES):
        yield number, f"{code}/USD", code, "fx", "Currency", "US", "USD", code, 0.0001
    for number, code in enumerate(CURRENCIES, CASH):
        yield number, code, code, "cash", "Cash", "US", code, None, 0.01
    places = list(COUNTRIES.items())
    for number in range(size.instruments):
        country, currency = places[number % len(places)]
        kind, sector = CLASSES[number // 3 % len(CLASSES)], SECTORS[number // 7 % len(SECTORS)]
        yield FIRST + number, f"I{number}", f"Instrument {number}", kind, sector, country, currency, None, 0.01


def _closes(size: BankSize, now: datetime) -> Iterator[Row]:
    random = np.random.default_rng(2)
    prices = [*RATES.values(), *np.round(random.uniform(5, 500, size.instruments), 2).tolist()]
    numbers = [*range(CASH), *range(FIRST, FIRST + size.instruments)]
    for back in range(DAYS, 0, -1):
        day = now.date() - timedelta(days=back)
        moved = np.exp(random.normal(0.0, 0.01, len(prices)))
        for number, price, move in zip(numbers, prices, moved.tolist(), strict=True):
            yield number, day, price * move
