"""Send quotes to Kafka in batches, with a bound on memory and a policy for when Kafka is slow.

Two bounds, each with its policy:

1. In flight (sent, not acknowledged): at most `in_flight_bytes`. At the bound the sender **waits**.
2. Pending (taken from the source, not sent): at most `pending_ticks`, or one quote an instrument where
   those are more. At the bound a `patient` source (a replay, a venue that is polled) **waits** as long as it takes; any
   other **waits** up to `wait_s`, and after that pending quotes are **conflated** to the newest of each instrument,
   without another wait until Kafka has caught up.

So memory is bounded however long Kafka is away, the newest price always arrives, and a source that can wait loses
nothing. A venue that streams holds the newest of each instrument itself and **waits** for `calm`, so that no old price
stands before a new one. Dead letters wait in a queue of 1,000; beyond it the oldest are **dropped** and counted.

Under a lease every batch carries its epoch, and nothing is sent while the lease does not hold.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ingest.leadership import Lease
from ingest.market import metrics
from ingest.market.pending import PendingQuotes
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    QUOTES_TOPIC,
    DeadLetter,
    QuoteBatch,
    encode_message,
    encode_quotes,
    partition_quotes,
)

MAX_DEAD_LETTERS = 1_000
LEASE_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """Bound what waits; see the policy above. A record is sent at `record_ticks` or after `linger_s`.

    Fewer, fuller records: the embedded broker hands out one batch of a partition a request, on a busy laptop fifty a
    second, and readers that fall behind show old prices.
    """

    pending_ticks: int = 50_000
    in_flight_bytes: int = 512 << 10
    wait_s: float = 1.0
    linger_s: float = 0.04
    record_ticks: int = 1_000
    take_ticks: int = 8_192


class QuotePublisher:
    """Take batches on one side (`publish`), send them on the other (`deliver`), in two tasks."""

    def __init__(
        self, limits: PublishLimits | None = None, topic: str = QUOTES_TOPIC, lease: Lease | None = None
    ) -> None:
        self._limits = limits or PublishLimits()
        self._topic = topic
        self._lease = lease
        self._pending = PendingQuotes()
        self._dead: deque[DeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)
        self._in_flight = 0
        self._conflating = False
        self._failure: BaseException | None = None
        self._heard_at = time.monotonic()
        self._arrived, self._full, self._room, self._landed, self._calm = (asyncio.Event() for _ in range(5))

    @property
    def pending_ticks(self) -> int:
        """Return how many quotes wait to be sent."""
        return self._pending.ticks

    @property
    def in_flight_bytes(self) -> int:
        """Return how many bytes are sent and not acknowledged."""
        return self._in_flight

    @property
    def conflating(self) -> bool:
        """Say whether Kafka is so slow that quotes are being conflated."""
        return self._conflating

    @property
    def silent_s(self) -> float:
        """Return for how many seconds Kafka has acknowledged nothing of what is in flight."""
        return time.monotonic() - self._heard_at if self._in_flight else 0.0

    async def publish(self, batch: QuoteBatch, *, patient: bool = False) -> None:
        """Take a batch; returns within `wait_s`, having conflated what is pending where Kafka is too slow.

        With `patient` it returns when there is room, and nothing is conflated for it.
        """
        self._pending.add(batch)
        self._arrived.set()
        if self._pending.ticks >= self._limits.record_ticks:
            self._full.set()
        if self._pending.ticks < self._limits.pending_ticks or await self._room_comes(patient):
            return
        self._conflating = True
        metrics.CONFLATED.inc(self._pending.conflate())
        await asyncio.sleep(0)  # a source that never waits must not starve the sender

    async def calm(self) -> None:
        """Wait until less than a record is pending: whoever holds the newest quotes itself need not queue old ones."""
        while self._pending.ticks >= self._limits.record_ticks:
            self._calm.clear()
            await self._calm.wait()

    async def refuse(self, letter: DeadLetter) -> None:
        """Take what could not be used; it is sent with the next quotes, and never holds them up."""
        if len(self._dead) == MAX_DEAD_LETTERS:
            metrics.DEAD_LETTERS_DROPPED.inc()
        self._dead.append(letter)
        self._arrived.set()

    async def flush(self) -> None:
        """Wait until all that was taken is acknowledged; give it a deadline where Kafka may be away."""
        while self._pending.ticks or self._dead or self._in_flight:
            self._landed.clear()
            self._full.set()
            await self._landed.wait()

    async def deliver(self, producer: AIOKafkaProducer) -> None:
        """Send what is taken until cancelled.

        Raises `aiokafka.errors.KafkaError` when Kafka did not acknowledge in time: the producer is then to be
        replaced, and this called again. What was not sent is still pending.
        """
        self._failure = None
        partitions = len(await producer.partitions_for(self._topic))
        while True:
            await self._arrived.wait()
            await self._linger()
            while self._in_flight >= self._limits.in_flight_bytes and self._failure is None:
                self._landed.clear()
                await self._landed.wait()
            if self._failure is not None:
                raise self._failure
            await self._send_dead_letters(producer)
            await self._send_quotes(producer, partitions)

    async def _room_comes(self, patient: bool) -> bool:
        """Wait for room, unless the last wait of somebody who cannot wait for long was in vain."""
        if self._conflating and not patient:
            return False
        self._room.clear()
        try:
            async with asyncio.timeout(None if patient else self._limits.wait_s):
                await self._room.wait()
        except TimeoutError:
            return False
        return True

    async def _linger(self) -> None:
        """Let small batches gather for some milliseconds, unless there is a record's worth of them."""
        if self._pending.ticks < self._limits.record_ticks:
            try:
                async with asyncio.timeout(self._limits.linger_s):
                    await self._full.wait()
            except TimeoutError:
                pass

    async def _send_quotes(self, producer: AIOKafkaProducer, partitions: int) -> None:
        self._full.clear()
        if self._pending.ticks == 0:
            self._arrived.clear()
            return
        await self._lease_holds()
        chunk = self._pending.take(self._limits.take_ticks)
        if self._lease is not None:
            chunk = replace(chunk, epoch=self._lease.epoch)
        try:
            for partition, quotes in partition_quotes(chunk, partitions):
                record = encode_quotes(quotes)
                acknowledged = await producer.send(self._topic, record, partition=partition)
                self._track(acknowledged, len(record), len(quotes))
        except KafkaError:
            self._pending.put_back(chunk)  # parts of it may be sent twice: the newest event wins, so that is harmless
            raise
        self._make_room()

    async def _lease_holds(self) -> None:
        """Wait while another process may lead; whoever holds the lease cancels us when one does."""
        while self._lease is not None and not self._lease.holds():  # noqa: ASYNC110 - a lease tells nobody
            await asyncio.sleep(LEASE_LOOK_S)

    def _make_room(self) -> None:
        metrics.PENDING.set(self._pending.ticks)
        if self._pending.ticks < self._limits.record_ticks:
            self._calm.set()
        if self._pending.ticks < self._limits.pending_ticks // 2:
            self._conflating = False
            self._room.set()

    async def _send_dead_letters(self, producer: AIOKafkaProducer) -> None:
        while self._dead:
            record = encode_message(self._dead[0])
            acknowledged = await producer.send(DEAD_LETTERS_TOPIC, record)
            self._dead.popleft()
            self._track(acknowledged, len(record), 0)

    def _track(self, acknowledged: Future[Any], size: int, ticks: int) -> None:
        if not self._in_flight:
            self._heard_at = time.monotonic()
        self._in_flight += size
        metrics.IN_FLIGHT.set(self._in_flight)
        acknowledged.add_done_callback(partial(self._land, size, ticks))

    def _land(self, size: int, ticks: int, acknowledged: Future[Any]) -> None:
        self._in_flight -= size
        self._heard_at = time.monotonic()
        metrics.IN_FLIGHT.set(self._in_flight)
        failure = None if acknowledged.cancelled() else acknowledged.exception()
        if failure is None and not acknowledged.cancelled():
            metrics.RECORDS.inc()
        else:
            metrics.LOST.inc(ticks)
        if failure is not None:
            self._failure = failure
            self._arrived.set()
        self._landed.set()
