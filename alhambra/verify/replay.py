"""Replay a file through the staged pipeline and compare every portfolio with a recomputation."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import msgspec
from aiokafka import TopicPartition

from alhambra.bank import create_bank
from alhambra.verify.stage import Stage, open_stage
from alhambra.verify.survey import NothingToVerify, Tap, extra_instruments, survey_file
from analytics.opening import lines_of_day
from analytics.revaluation import BatchValuation, create_inputs, revalue
from db.ledger import latest_position_sets
from ingest.market.publisher import QuotePublisher
from ingest.market.pump import create_intake, create_refuse, pump_quotes
from ingest.market.recorded import RecordedSource
from ingest.market.source import QuoteSource, RecordedFeed
from stream.agreement import largest_difference
from stream.kafka import assign_all, open_consumer, open_producer
from stream.messages import QUOTES_TOPIC, QuoteBatch, decode_positions, decode_valuation
from stream.roll import NEWEST, restore_days

TOLERANCE = 1e-9


class Verdict(msgspec.Struct, frozen=True):
    """Hold what a verification found. `largest_difference` is relative to the portfolio's equity.

    `worst` is the portfolio it was found in, `seconds` the time from the first quote to the last valuation.
    """

    quotes: int
    refused: dict[str, int]
    instruments: int
    portfolios: int
    moved: int
    largest_difference: float
    worst: str
    seconds: float

    @property
    def holds(self) -> bool:
        """Say whether live equals batch, and whether anything was compared at all."""
        return self.portfolios > 0 and self.moved > 0 and self.largest_difference <= TOLERANCE


@dataclass(frozen=True, slots=True)
class TappedSource:
    """Pass a source's batches on, and show each one to the tap."""

    source: QuoteSource
    tap: Tap

    @property
    def name(self) -> str:
        """Return the name of the source behind."""
        return self.source.name

    async def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield the source's batches."""
        async for batch in self.source.batches():
            self.tap.take(batch)
            yield batch


async def verify_replay(feed: RecordedFeed, currency: str, portfolios: int, said: Callable[[str], None]) -> Verdict:
    """Send the file through a pipeline of its own, Kafka included, and compare all portfolios at its end.

    Raises `NothingToVerify`, `NotSettled`, and what the feed and the servers raise.
    """
    feed = replace(feed, restamp=False, speed=0.0)
    survey = await asyncio.to_thread(survey_file, feed)
    known = {one.symbol for one in create_bank(datetime.now(UTC).date(), 1).instruments}
    extra = extra_instruments(survey, known, currency)
    said(f"{len(survey.first_marks)} instruments quoted; {len(extra)} added to the bank. Starting the pipeline.")
    with tempfile.TemporaryDirectory(prefix="alhambra-verify-") as folder:
        async with open_stage(Path(folder) / "data", portfolios, extra) as stage:
            await stage.settled({})
            said("The pipeline is at rest. Sending the file.")
            return await _send_and_compare(stage, feed)


async def _send_and_compare(stage: Stage, feed: RecordedFeed) -> Verdict:
    began = time.monotonic()
    tap, refused = await _send(stage, feed)
    await stage.settled(await _end_offsets(stage))
    seconds = time.monotonic() - began
    connection = await asyncpg.connect(stage.plan.database_url)
    try:
        batch, units = await _recompute(connection, tap.marks)
    finally:
        await connection.close()
    differences = await _differences(stage, batch, units)
    worst = max(differences, key=lambda one: differences[one])
    moved = sum(1 for one in batch.values() if one.totals.day_pnl)
    return Verdict(
        tap.quotes, refused, len(tap.marks), len(differences), moved, differences[worst], worst, round(seconds, 3)
    )


async def _send(stage: Stage, feed: RecordedFeed) -> tuple[Tap, dict[str, int]]:
    """Send the whole file, exactly as the market worker does; what is refused becomes dead letters."""
    ids = {one.symbol: one.id for one in stage.bank.instruments}
    tap, publisher = Tap(), QuotePublisher()
    intake = create_intake(feed.name, list(ids.values()), publisher)
    source = RecordedSource(feed, ids, create_refuse(publisher, intake.state))
    async with open_producer(stage.plan.kafka_servers, "alhambra-verify") as producer:
        delivery = asyncio.create_task(publisher.deliver(producer), name="deliver")
        sending = asyncio.create_task(pump_quotes(TappedSource(source, tap), publisher, intake), name="pump")
        try:
            done, _ = await asyncio.wait({delivery, sending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (delivery, sending):
                task.cancel()
            await asyncio.gather(delivery, sending, return_exceptions=True)
    if not tap.quotes:
        raise NothingToVerify(f"{feed.path} holds no quote that can be used")
    return tap, dict(source.progress.refused)


async def _end_offsets(stage: Stage) -> dict[str, int]:
    async with open_consumer(stage.plan.kafka_servers, "alhambra-verify-ends") as consumer:
        partitions: list[TopicPartition] = await assign_all(consumer, QUOTES_TOPIC)
        ends = await consumer.end_offsets(partitions)
    return {str(one.partition): end for one, end in ends.items()}


async def _recompute(
    connection: asyncpg.Connection, marks: Mapping[int, float]
) -> tuple[dict[str, BatchValuation], dict[str, int]]:
    """Recompute every portfolio in `Decimal` from the ledger's positions, the file's last marks and the closes."""
    processor, days = await restore_days(connection, time.time_ns())
    shares = processor.prices
    units = {row[0]: row[1] for row in await connection.fetch("select code, minor_units from currencies")}
    newest = {spec.id: spec.prior_close for spec in days.specs(NEWEST) if spec.prior_close > 0}
    prices = {one: Decimal(price) for one, price in {**newest, **marks}.items()}
    inputs = {zone: create_inputs(days.specs(zone), prices, units) for zone in days.held}
    batch = {}
    async for stored in latest_position_sets(connection):
        record = decode_positions(stored.record)
        lines = lines_of_day(
            record.positions, record.event_ns, days.held[record.time_zone].start_ns, shares.splits, shares.shares_ns
        )
        batch[record.portfolio] = revalue(record.base_currency, lines, *inputs[record.time_zone])
    return batch, units


async def _differences(stage: Stage, batch: Mapping[str, BatchValuation], units: Mapping[str, int]) -> dict[str, float]:
    found = await stage.store.valuations(list(batch))
    differences = {}
    for (portfolio, recomputed), document in zip(batch.items(), found, strict=True):
        if document is None:
            differences[portfolio] = float("inf")
            continue
        live = decode_valuation(document)
        differences[portfolio] = largest_difference(live, recomputed, units[live.base_currency])
    return differences
