"""Read what venues call our instruments, where their own rules of naming do not say so."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True)
class ListedSymbol:
    """Hold one row of `instrument_symbols`; see the comments on that table."""

    source: str
    symbol: str
    instrument_id: int
    quoted_in: str | None
    priority: int | None


async def listed_symbols(connection: asyncpg.Connection) -> list[ListedSymbol]:
    """Return all rows, in order of source and symbol."""
    rows = await connection.fetch(
        "select source, symbol, instrument_id, quoted_in, priority from instrument_symbols order by source, symbol"
    )
    return [ListedSymbol(*row.values()) for row in rows]
