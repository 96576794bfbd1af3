"""Restore a worker's state from PostgreSQL: instruments, prior closes and positions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import UTC, date, datetime, time
from uuid import UUID

import asyncpg
from aiokafka.partitioner import murmur2

from db.instruments import instruments, prior_closes
from db.ledger import PositionSet, latest_position_sets
from stream.prices import InstrumentSpec, PriceTable


async def load_prices(connection: asyncpg.Connection, today: date) -> PriceTable:
    """Return every instrument at its newest close of a day before `today`."""
    minor_units = {row[0]: row[1] for row in await connection.fetch("select code, minor_units from currencies")}
    return PriceTable(minor_units, await load_specs(connection, today))


async def load_specs(connection: asyncpg.Connection, today: date) -> list[InstrumentSpec]:
    """Return what every instrument is, with its prior close; NaN where it has none."""
    closes = await load_closes(connection, today)
    return [
        InstrumentSpec(
            one.id,
            one.symbol,
            one.name,
            one.asset_class,
            one.sector,
            one.country,
            one.currency,
            one.base_currency,
            one.price_factor,
            *closes.get(one.id, (float("nan"), 0)),
        )
        for one in await instruments(connection)
    ]


async def load_closes(connection: asyncpg.Connection, today: date) -> dict[int, tuple[float, int]]:
    """Return the newest close before `today` by instrument id, with the nanosecond that its day ended (UTC)."""
    found = await prior_closes(connection, today)
    return {number: (close, _end_of_day_ns(day)) for number, (close, day) in found.items()}


async def load_positions(
    connection: asyncpg.Connection, partitions: Collection[int], count: int
) -> AsyncIterator[tuple[int, PositionSet]]:
    """Yield (partition, newest position set) of the portfolios whose key falls into one of `partitions` of `count`."""
    async for stored in latest_position_sets(connection):
        partition = partition_of(str(stored.portfolio_id), count)
        if partition in partitions:
            yield partition, stored


async def portfolio_exists(connection: asyncpg.Connection, portfolio: str) -> bool:
    """Say whether this is the id of a portfolio, written as we write it."""
    try:
        identity = UUID(portfolio)
    except ValueError:
        return False
    found: bool = await connection.fetchval("select exists (select from portfolios where id = $1)", identity)
    return found and str(identity) == portfolio


def partition_of(portfolio: str, count: int) -> int:
    """Return the partition of `count` that Kafka's default partitioner gives a portfolio."""
    return int(murmur2(portfolio.encode()) & 0x7FFFFFFF) % count


def _end_of_day_ns(day: date) -> int:
    return int(datetime.combine(day, time(23, 59, 59), UTC).timestamp()) * 10**9
