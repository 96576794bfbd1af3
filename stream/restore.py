"""Restore a worker's state from PostgreSQL: instruments and positions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from uuid import UUID

import asyncpg
from aiokafka.partitioner import murmur2

from analytics.splits import Splits, create_splits
from db.corporate_actions import splits
from db.instruments import instruments
from db.ledger import PositionSet, latest_position_sets
from stream.prices import InstrumentSpec, PriceTable


async def load_prices(connection: asyncpg.Connection, now_ns: int = 0) -> PriceTable:
    """Return every instrument in the shares of now, without any price: closes come with the days, see `stream.roll`."""
    minor_units = {row[0]: row[1] for row in await connection.fetch("select code, minor_units from currencies")}
    return PriceTable(minor_units, await load_specs(connection), await load_splits(connection), now_ns)


async def load_splits(connection: asyncpg.Connection) -> Splits:
    """Return the splits that are known."""
    return create_splits(await splits(connection))


async def load_specs(connection: asyncpg.Connection) -> list[InstrumentSpec]:
    """Return what every instrument is, without its prior close."""
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
            float("nan"),
            0,
            one.exchange,
        )
        for one in await instruments(connection)
    ]


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
