"""Fence the writers: each partition has an epoch, and only its newest taker may write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import asyncpg


class PartitionsLost(RuntimeError):
    """Say that another worker has taken partitions over; nothing more is to be written of them."""


async def take_epochs(
    connection: asyncpg.Connection, topic: str, partitions: Iterable[int], owner: str
) -> dict[int, int]:
    """Take partitions over and return the epoch of each, one more than that of the last owner, from 1."""
    rows = await connection.fetch(
        "insert into partition_epochs as stored (topic, partition, epoch, owner) "
        "select $1, partition, 1, $3 from unnest($2::integer[]) as p (partition) order by partition "
        "on conflict (topic, partition) do update set "
        "epoch = stored.epoch + 1, owner = excluded.owner, taken_at = now() returning partition, epoch",
        topic,
        sorted(set(partitions)),
        owner,
    )
    return {row[0]: row[1] for row in rows}


async def lost_partitions(connection: asyncpg.Connection, topic: str, epochs: Mapping[int, int]) -> set[int]:
    """Return those of `epochs` (partition to epoch) that another worker has taken since.

    Those that are still ours stay so until the transaction ends: a worker asks in the transaction in which
    it writes, and writes nothing of the partitions it has lost.
    """
    rows = await connection.fetch(
        "select partition, epoch from partition_epochs where topic = $1 and partition = any($2::integer[]) "
        "order by partition for share",
        topic,
        list(epochs),
    )
    current = {row[0]: row[1] for row in rows}
    return {partition for partition, epoch in epochs.items() if current.get(partition) != epoch}
