"""Write to Redis under epochs: once another worker has taken a partition over, a batch of ours is refused, whole.

Hash `epochs` (partition → newest epoch) holds what Redis knows of takeovers. A writer keeps the hash under WATCH, and
each batch is a transaction: Redis refuses it when the hash has changed since it was read, whatever slept or stood in a
queue between. The same exchange watches and reads the hash anew for the batch after it, so a fenced batch takes one
round trip, and inside it is plain MSET. (A Lua script would copy every document twice: 1.8 times the time.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from redis import ConnectionError as RedisUnreachable
from redis import WatchError
from redis.asyncio import Redis

from db.epochs import PartitionsLost

EPOCHS_KEY = "epochs"
ATTEMPTS = 3  # the hash changes with every takeover, also of partitions that are not ours
Command = tuple[str | bytes | int, ...]


class FencedWriter:
    """Write batches of commands under epochs (partition → epoch), on a connection of its own."""

    def __init__(self, redis: Redis, epochs: Mapping[int, int]) -> None:
        self._redis: Any = redis
        self._epochs = dict(epochs)
        self._turn = asyncio.Lock()
        self._connection: Any = None
        self._known: dict[int, int] = {}  # what the hash held when it was last read; it is watched since

    async def write(self, *commands: Command) -> None:
        """Write all of it or nothing, and make our epochs known where they are newer or were forgotten.

        Raises `PartitionsLost` where a newer epoch is known, and `redis.RedisError` when Redis does not answer in
        time or the hash never stands still; then nobody can say whether the batch was taken.
        """
        async with self._turn:
            try:
                taken = False
                for _ in range(ATTEMPTS):
                    taken = taken or await self._attempt(commands)
            except BaseException:
                await self._drop()
                raise
        if not taken:
            raise WatchError(f"the epochs have changed {ATTEMPTS} times while a batch was written")

    async def aclose(self) -> None:
        """Close the connection; a writer that writes again opens another."""
        async with self._turn:
            await self._drop()

    async def _attempt(self, commands: Sequence[Command]) -> bool:
        """Write, unless a newer epoch is known; says whether Redis took it, which it does while the hash is as read."""
        if self._connection is None:
            self._connection = self._redis.connection_pool.make_connection()
            await self._connection.connect()
            self._learn(await self._exchange(self._watching()))
        if lost := {one for one, epoch in self._epochs.items() if self._known.get(one, 0) > epoch}:
            raise PartitionsLost(f"Redis knows newer epochs of partitions {sorted(lost)}")
        raising = () if self._known == self._epochs else (("HSET", EPOCHS_KEY, *chain(*self._epochs.items())),)
        answers = await self._exchange((("MULTI",), *raising, *commands, ("EXEC",), *self._watching()))
        self._learn(answers)
        return answers[-3] is not None

    def _watching(self) -> tuple[Command, Command]:
        return ("WATCH", EPOCHS_KEY), ("HMGET", EPOCHS_KEY, *self._epochs)

    def _learn(self, answers: Sequence[Any]) -> None:
        found = zip(self._epochs, answers[-1], strict=True)
        self._known = {partition: int(epoch) for partition, epoch in found if epoch is not None}

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send all, then read every answer. Never on a new connection in place of the old one: that watches nothing."""
        connection = self._connection
        if not connection.is_connected:
            raise RedisUnreachable("the connection is closed")
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        return [await connection.read_response() for _ in commands]

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
