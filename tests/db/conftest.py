"""Lend each test a migrated database with a small bank: two advisors, two clients, a portfolio each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.postgres import open_pool


@dataclass
class SmallBank:
    """Hold the ids of what is in the database."""

    connection: asyncpg.Connection
    users: dict[str, UUID] = field(default_factory=dict)
    portfolios: dict[str, UUID] = field(default_factory=dict)

    async def add_user(self, name: str, role: str) -> UUID:
        """Add a user, active, without a password."""
        user_id = self.users[name] = uuid4()
        await self.connection.execute(
            "insert into users (id, email, first_name, last_name, role) values ($1, $2, $3, 'Test', $4)",
            user_id,
            f"{name}@example.com",
            name.capitalize(),
            role,
        )
        return user_id

    async def add_portfolio(self, client: str) -> UUID:
        """Add an account with a portfolio for a client."""
        account_id = uuid4()
        portfolio_id = self.portfolios[client] = uuid4()
        await self.connection.execute(
            "insert into accounts (id, user_id, account_number, account_type) values ($1, $2, $3, 'advisory')",
            account_id,
            self.users[client],
            f"A-{client}",
        )
        await self.connection.execute(
            "insert into portfolios (id, user_id, account_id, iboss_account_id, name, base_currency) "
            "values ($1, $2, $3, $4, 'Growth', 'USD')",
            portfolio_id,
            self.users[client],
            account_id,
            f"IB-{client}",
        )
        return portfolio_id


@pytest.fixture
async def connection(module_postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection as the processes have it, in a transaction that is rolled back after the test."""
    async with open_pool(module_postgres_url, "tests", size=1) as pool, pool.acquire() as lent:
        transaction = lent.transaction()
        await transaction.start()
        yield lent
        await transaction.rollback()


@pytest.fixture
async def bank(connection: asyncpg.Connection) -> SmallBank:
    """Lend the small bank; what a test writes is rolled back."""
    return await fill(connection)


@pytest.fixture
async def own_bank(postgres_url: str) -> AsyncIterator[SmallBank]:
    """Lend the small bank in a database of its own, for tests that commit and use several connections."""
    async with open_pool(postgres_url, "tests", size=1) as pool, pool.acquire() as lent:
        yield await fill(lent)


async def fill(connection: asyncpg.Connection) -> SmallBank:
    """Fill the small bank: anna advises carol, ben advises dora."""
    await connection.execute("insert into currencies values ('USD', 'US Dollar', 2), ('EUR', 'Euro', 2)")
    await connection.execute(
        "insert into instruments (id, symbol, name, asset_class, sector, country, currency) values "
        "(1, 'AAPL', 'Apple', 'equity', 'Information Technology', 'US', 'USD'), "
        "(2, 'USD', 'US dollar', 'cash', 'Cash', 'US', 'USD')"
    )
    small = SmallBank(connection)
    for name, role in (("anna", "advisor"), ("ben", "advisor"), ("carol", "client"), ("dora", "client")):
        await small.add_user(name, role)
    for name in ("kyc_agent", "compliance", "admin"):
        await small.add_user(name, name)
    for advisor, client in (("anna", "carol"), ("ben", "dora")):
        pair = (small.users[advisor], small.users[client])
        await connection.execute("insert into advisor_clients values ($1, $2)", *pair)
        await small.add_portfolio(client)
    return small
