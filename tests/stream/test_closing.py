"""A day is closed where it ended: at the midnight of its portfolios' own time zone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from books import quotes
from fakes_stream import SmallBank, open_small_bank, positions_now

from analytics.sessions import day_start
from db.epochs import take_epochs
from db.ledger import LedgerBooking, store
from stream.messages import POSITIONS_TOPIC
from stream.processor import Processor
from stream.recorder import Recorder
from stream.restore import load_prices
from stream.roll import Days

pytestmark = pytest.mark.integration
TODAY = datetime.now(UTC).date()
TOMORROW, DAY_AFTER = TODAY + timedelta(days=1), TODAY + timedelta(days=2)
DUBAI, NEW_YORK = ZONES = ("Asia/Dubai", "America/New_York")
MINUTE = timedelta(minutes=1)


def ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9


@dataclass
class Desk:
    """Ten shares in each of two zones, and what records them."""

    bank: SmallBank
    processor: Processor
    days: Days
    recorder: Recorder
    portfolios: dict[str, str]

    async def minute(self, at: datetime, price: float) -> None:
        """Let a minute end at a price."""
        self.processor.apply_quotes(quotes((3, price), event_ns=ns(at)), ns(at))
        self.processor.revalue(ns(at))
        self.recorder.keep(at)
        await self.recorder.write()

    async def roll(self, at: datetime) -> None:
        async with self.bank.pool.acquire() as connection:
            changed = await self.days.look(connection, ns(at))
            await self.recorder.close_days(changed)
            await self.days.begin(connection, changed, ns(at))

    async def closed(self, zone: str) -> dict[date, tuple[Decimal, Decimal]]:
        """Return (equity, flow) by day as stored."""
        rows = await self.bank.pool.fetch(
            "select date, total_equity, net_flow from daily_valuations where portfolio_id = $1",
            UUID(self.portfolios[zone]),
        )
        return {row[0]: (row[1], row[2]) for row in rows}


@pytest.fixture
async def desk(postgres_url: str) -> AsyncIterator[Desk]:
    async with open_small_bank(postgres_url) as bank:
        portfolios = {zone: await bank.add_portfolio("USD") for zone in ZONES}
        for zone, portfolio in portfolios.items():
            await bank.pool.execute("update portfolios set time_zone = $2 where id = $1", UUID(portfolio), zone)
        async with bank.pool.acquire() as connection:
            epochs = await take_epochs(connection, POSITIONS_TOPIC, [0], "this")
            processor = Processor(await load_prices(connection))
        days = Days(processor)
        desk = Desk(bank, processor, days, Recorder(bank.pool, processor, epochs, 1, days), portfolios)
        noon = day_start(TODAY, "UTC") + timedelta(hours=12)
        await desk.roll(noon)
        for zone, portfolio in portfolios.items():
            record = positions_now(portfolio, "USD", 1, (3, "10"), event_ns=ns(noon - timedelta(days=9)))
            processor.apply_positions(msgspec.structs.replace(record, time_zone=zone), 0, epochs[0])
        yield desk


async def test_each_zone_closes_its_day_at_its_own_midnight(desk: Desk) -> None:
    dubai, new_york = (day_start(TOMORROW, zone) for zone in ZONES)
    await desk.minute(dubai - MINUTE, 150.0)
    await desk.minute(dubai, 160.0)
    await desk.roll(dubai + MINUTE)
    assert {zone: set(await desk.closed(zone)) for zone in ZONES} == {DUBAI: {TODAY}, NEW_YORK: set()}
    await desk.minute(new_york - MINUTE, 170.0)
    await desk.minute(new_york, 180.0)
    await desk.roll(new_york + MINUTE)
    await desk.roll(day_start(DAY_AFTER, DUBAI))
    assert await desk.closed(DUBAI) == {TODAY: (Decimal(1500), 0), TOMORROW: (Decimal(1800), 0)}
    assert await desk.closed(NEW_YORK) == {TODAY: (Decimal(1700), 0)}
    ended = await desk.bank.pool.fetch("select distinct ended_at from daily_valuations where date = $1", TODAY)
    assert {row[0] for row in ended} == {dubai, new_york}


async def test_a_flow_belongs_to_the_day_of_its_own_portfolio(desk: Desk) -> None:
    """A deposit an hour before midnight in New York is of today there; in Dubai it is tomorrow's."""
    at = day_start(TOMORROW, NEW_YORK) - timedelta(hours=1)
    for zone, portfolio in desk.portfolios.items():
        deposit = LedgerBooking(
            "test", zone, 1, UUID(portfolio), "deposit", Decimal(100), "USD", processed_at=at, received_at=at
        )
        async with desk.bank.pool.acquire() as connection:
            await store(connection, None, [], [deposit])
    await desk.minute(day_start(TOMORROW, DUBAI) - MINUTE, 150.0)
    await desk.minute(at + MINUTE, 150.0)
    await desk.roll(day_start(DAY_AFTER, NEW_YORK))
    assert {day: flow for day, (_, flow) in (await desk.closed(DUBAI)).items()} == {TODAY: 0, TOMORROW: 100}
    assert {day: flow for day, (_, flow) in (await desk.closed(NEW_YORK)).items()} == {TODAY: 100}
