"""Know which portfolio an IBOSS account is and which number an instrument has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg


@dataclass(frozen=True, slots=True)
class KnownPortfolio:
    """Hold the portfolio that an IBOSS account is with us; its day begins at midnight of `time_zone`."""

    id: UUID
    base_currency: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Directory:
    """Hold portfolios by IBOSS account id, instrument ids by symbol, and the currencies that have cash."""

    portfolios: Mapping[str, KnownPortfolio]
    instruments: Mapping[str, int]
    currencies: frozenset[str]


async def read_directory(connection: asyncpg.Connection) -> Directory:
    """Read the directory from PostgreSQL."""
    portfolios = await connection.fetch("select iboss_account_id, id, base_currency, time_zone from portfolios")
    instruments = await connection.fetch("select symbol, id from instruments")
    currencies = await connection.fetch("select code from currencies")
    return Directory(
        {row[0]: KnownPortfolio(row[1], row[2], row[3]) for row in portfolios},
        {row[0]: row[1] for row in instruments},
        frozenset(row[0] for row in currencies),
    )
