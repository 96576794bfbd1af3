"""The simulated market follows splits at their moment, and the time of each quote says in which shares it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import asyncpg
import numpy as np
import pytest
from fakes_iboss import seed_tiny_bank, tiny_bank
from fakes_market import FakeClock

from analytics.splits import Split, Splits
from db.corporate_actions import CorporateAction, insert_actions
from db.postgres import open_pool
from ingest.market.model import MarketModel, create_model
from ingest.market.simulated import SimulatedSource
from ingest.market.source import SimulatedFeed
from ingest.market.splits import KnownSplits
from ingest.market.start import load_market
from stream.messages import QuoteBatch

SHARE, OTHER = 1, 2
BEGAN_NS = 1_800_000_000_000_000_000
SPLIT_NS = BEGAN_NS + 1_010_000_000  # in the middle of a batch


class Listed:
    """An instrument as the model reads it."""

    def __init__(self, number: int) -> None:
        self.id, self.asset_class, self.tick_size = number, "equity", 0.01


def split(ratio: str, at_ns: int = SPLIT_NS) -> Split:
    return Split(SHARE, date(2027, 1, 15), at_ns, Decimal(ratio))


@pytest.fixture
def model() -> MarketModel:
    return create_model(np.array([[200.0, 50.0]]), [Listed(SHARE), Listed(OTHER)], {})


async def quotes_of(
    batches: AsyncGenerator[QuoteBatch, None], instrument: int, until_ns: int
) -> list[tuple[int, float]]:
    """Return (event time, last price) of an instrument until a time of day."""
    found: list[tuple[int, float]] = []
    async for batch in batches:
        chosen = batch.instrument == instrument
        found += zip(batch.event_ns[chosen].tolist(), batch.last[chosen].tolist(), strict=True)
        if batch.received_ns >= until_ns:
            return found
    return found


async def test_prices_split_at_their_moment_to_the_nanosecond_and_only_those(model: MarketModel) -> None:
    known, clock = KnownSplits(), FakeClock(BEGAN_NS)
    known.newest = Splits([split("4")])
    async with aclosing(SimulatedSource(SimulatedFeed(2000, 3), model, clock, known).batches()) as batches:
        found = await quotes_of(batches, SHARE, SPLIT_NS + 2_000_000_000)
    before, after = ([price for at, price in found if (at < SPLIT_NS) is old] for old in (True, False))
    assert before == pytest.approx([200.0] * len(before), rel=0.02)
    assert after == pytest.approx([50.0] * len(after), rel=0.02)
    assert min(len(before), len(after)) > 100


async def test_another_instrument_goes_on_as_before(model: MarketModel) -> None:
    known = KnownSplits()
    known.newest = Splits([split("4")])
    async with aclosing(
        SimulatedSource(SimulatedFeed(2000, 3), model, FakeClock(BEGAN_NS), known).batches()
    ) as batches:
        found = await quotes_of(batches, OTHER, SPLIT_NS + 1_000_000_000)
    assert [price for _, price in found] == pytest.approx([50.0] * len(found), rel=0.02)


async def test_a_split_learned_of_late_is_followed_then_and_one_of_before_the_start_never(model: MarketModel) -> None:
    known, clock = KnownSplits(), FakeClock(BEGAN_NS)
    async with aclosing(SimulatedSource(SimulatedFeed(2000, 3), model, clock, known).batches()) as batches:
        await quotes_of(batches, SHARE, SPLIT_NS + 500_000_000)
        known.newest = Splits([split("0.1"), split("7", BEGAN_NS - 1)])
        found = await quotes_of(batches, SHARE, SPLIT_NS + 1_000_000_000)
    assert [price for _, price in found] == pytest.approx([2000.0] * len(found), rel=0.02)


@pytest.mark.integration
async def test_closes_of_before_a_split_come_in_new_shares_and_stay_raw_in_the_table(postgres_url: str) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in (3, 2, 1)]
    async with open_pool(postgres_url, "tests") as pool:
        async with pool.acquire() as connection:
            await seed_tiny_bank(connection, tiny_bank())
            await connection.executemany(
                "insert into daily_prices values (3, $1, $2)", zip(days, (100.0, 102.0, 26.0), strict=True)
            )
            now = datetime.now(UTC)
            past = CorporateAction("iboss", "A", 1, 3, "split", days[2], now - timedelta(hours=20), Decimal(4))
            coming = replace(past, reference="B", ex_date=today, effective_at=now + timedelta(hours=1))
            assert await insert_actions(connection, [past, coming, past]) == 2
        start = await load_market(pool, today)
        known = KnownSplits()
        await known.look(pool)
        async with pool.acquire() as connection:
            raw = await connection.fetch("select close from daily_prices order by date")
    column = [one.id for one in start.instruments].index(3)
    assert start.closes[:, column].tolist() == [25.0, 25.5, 26.0]
    assert [row[0] for row in raw] == [100.0, 102.0, 26.0]
    assert len(known.newest) == 2


async def refuse(connection: asyncpg.Connection, **wrong: object) -> None:
    """Write an action that cannot be."""
    sound = CorporateAction("iboss", "A", 1, 3, "split", date(2026, 1, 1), datetime.now(UTC), Decimal(4))
    await insert_actions(connection, [replace(sound, **wrong)])  # type: ignore[arg-type]  # one wrong field


@pytest.mark.integration
@pytest.mark.parametrize("wrong", [{"instrument_id": 99}, {"ratio": Decimal(0)}, {"kind": "merger"}])
async def test_the_table_refuses_what_cannot_be(postgres_url: str, wrong: dict[str, object]) -> None:
    async with open_pool(postgres_url, "tests") as pool, pool.acquire() as connection:
        await seed_tiny_bank(connection, tiny_bank())
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await refuse(connection, **wrong)
