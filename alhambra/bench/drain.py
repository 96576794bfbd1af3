"""Measure the way from the broker into the book: fetch, decode and apply, as a stream worker does it.

`python -m alhambra.bench.drain SERVERS PORTFOLIOS SECONDS` writes one line of JSON: a process of its own, because what
is measured is the processor time of one core, and the producer must have no part in it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
import numpy as np
import uvloop
from aiokafka import AIOKafkaProducer

from alhambra.bench.bank import INSTRUMENTS, POSITIONS
from alhambra.bench.book import Market, create_book
from alhambra.embedded.broker import open_broker
from alhambra.launch import python_module
from alhambra.settings import DoorSettings
from stream.consumer import QuoteReader
from stream.kafka import open_consumer, open_producer
from stream.messages import QUOTES_TOPIC, QuoteBatch, encode_quotes, partition_quotes
from stream.outbox import Outbox
from stream.processor import Processor

TICKS_A_RECORD = 10_000
TICKS_A_ROUND = 400_000  # what the embedded broker keeps: 5 MiB a partition, 44 bytes a tick
CYCLE_S = 0.05
POLL_S = 0.001
SECONDS = 3.0


class DrainFigures(msgspec.Struct, frozen=True):
    """Hold what one core drained, the book of `portfolios` being revalued twenty times a second meanwhile.

    `ticks_per_core_s` is ticks by processor time, `ticks_per_s` by the clock: the broker has its share in that.
    """

    portfolios: int
    ticks: int
    ticks_per_core_s: float
    ticks_per_s: float
    us_per_record: float


async def drain(portfolios: int) -> DrainFigures:
    """Measure in a process of its own, with the broker that the environment names or an embedded one."""
    with ExitStack() as stack:
        servers = DoorSettings().kafka_bootstrap_servers or stack.enter_context(open_broker())
        command = python_module("alhambra.bench.drain", servers, str(portfolios), str(SECONDS))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the broker could not be drained; the reason is above")
    return msgspec.json.decode(output, type=DrainFigures)


async def measure_drain(servers: str, portfolios: int, seconds: float) -> DrainFigures:
    """Fill the topic and drain it, in rounds of what an embedded broker keeps, for so many seconds of draining."""
    random = np.random.default_rng(1)
    processor, _ = create_book(random, portfolios, POSITIONS, INSTRUMENTS)
    market = Market(processor, random)
    async with open_producer(servers, "bench-drain") as producer, open_consumer(servers, "bench-drain") as consumer:
        partitions = len(await producer.partitions_for(QUOTES_TOPIC))
        reader = QuoteReader(consumer, processor, Outbox(producer), asyncio.Event())
        await reader.catch_up()
        spent = [0.0, 0.0]
        while spent[1] < seconds:
            consumer.pause(*reader.partitions)  # it would fetch ahead
            await _fill(producer, _records(market, random, partitions))
            consumer.resume(*reader.partitions)
            used = await _drain(reader, processor, reader.ticks + TICKS_A_ROUND)
            spent = [before + more for before, more in zip(spent, used, strict=True)]
    return DrainFigures(
        portfolios,
        reader.ticks,
        round(reader.ticks / spent[0]),
        round(reader.ticks / spent[1]),
        round(1e6 * spent[0] / reader.ticks * TICKS_A_RECORD, 1),
    )


def _records(market: Market, random: np.random.Generator, partitions: int) -> list[tuple[int, bytes]]:
    """Return a round's records, newer than those before, each with its partition: `TICKS_A_RECORD` or so in each."""
    wide = TICKS_A_RECORD * partitions
    batches = (market.tick(random.integers(0, INSTRUMENTS, wide)) for _ in range(TICKS_A_ROUND // wide))
    return [part for batch in batches for part in _encoded(batch, partitions)]


def _encoded(batch: QuoteBatch, partitions: int) -> list[tuple[int, bytes]]:
    return [(number, encode_quotes(quotes)) for number, quotes in partition_quotes(batch, partitions)]


async def _fill(producer: AIOKafkaProducer, records: Sequence[tuple[int, bytes]]) -> None:
    sent = [await producer.send(QUOTES_TOPIC, record, partition=partition) for partition, record in records]
    await asyncio.gather(*sent)


async def _drain(reader: QuoteReader, processor: Processor, until: int) -> tuple[float, float]:
    """Read up to so many ticks, valuing the book at least twenty times a second; return (processor, clock) seconds."""
    began, used = time.perf_counter(), time.process_time()
    reading = asyncio.create_task(reader.run(), name="quotes")
    turned = began
    try:
        while reader.ticks < until:
            await asyncio.sleep(POLL_S)
            if time.perf_counter() - turned > CYCLE_S:
                turned = time.perf_counter()
                processor.revalue(time.time_ns())
    finally:
        reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    processor.revalue(time.time_ns())
    return time.process_time() - used, time.perf_counter() - began


if __name__ == "__main__":
    figures = uvloop.run(measure_drain(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
