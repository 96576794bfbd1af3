"""The checker never sleeps: a corrupted book raises the alarm within seconds, and a mended one ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from books import create_prices, quotes
from fakes import eventually
from fakes_stream import InterruptedPool, SmallBank, open_small_bank
from prometheus_client import REGISTRY

from db.ledger import LedgerBooking, store
from db.live import HealthReport, LiveStore, create_redis
from stream.checker import Checker
from stream.processor import Processor

pytestmark = pytest.mark.integration


@dataclass
class Watched:
    """Hold a checker at work, the book it checks, and what it reports."""

    bank: SmallBank
    processor: Processor
    live: LiveStore
    checker: Checker
    pool: InterruptedPool

    async def report(self, component: str) -> HealthReport | None:
        """Return the newest report of a component."""
        return (await self.live.health()).get(f"{component}:w1")

    async def says(self, component: str, ok: bool, part: str) -> HealthReport | None:
        """Return the newest report where it is as wanted."""
        found = await self.report(component)
        return found if found is not None and found.ok is ok and part in found.detail else None


@pytest.fixture
async def watched(postgres_url: str, redis_url: str) -> AsyncIterator[Watched]:
    """Run a checker over two portfolios whose positions are in the ledger."""
    redis = create_redis(redis_url, "tests")
    async with open_small_bank(postgres_url) as bank:
        await bank.add_booked("USD", (1, "5000"), (3, "10"), (4, "7.5"))
        await bank.add_booked("CHF", (2, "1234.56"), (5, "20000"), (12, "33"))
        processor = Processor(create_prices())
        for record in bank.records.values():
            processor.apply_positions(record, 0, 1)
        processor.apply_quotes(quotes((3, 157.575), (5, 99.125), (12, 91.3), (7, 1.1234), (9, 0.8812)), time.time_ns())
        pool, live = InterruptedPool(bank.pool), LiveStore(redis)
        checker = Checker("w1", pool, live, processor, settled=timedelta(0), every_s=0.1)
        task = asyncio.create_task(checker.run(), name="checker")
        yield Watched(bank, processor, live, checker, pool)
        assert not task.done(), task
        task.cancel()
        await asyncio.wait([task])
    await redis.aclose()


async def book(bank: SmallBank, portfolio: str, *lines: tuple[int | None, str, str]) -> None:
    """Write bookings (instrument, quantity, amount in dollars) of an hour ago."""
    booked_at, now = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    bookings = [
        LedgerBooking(
            "test", f"{portfolio}-{number}", 1, UUID(portfolio), "buy", Decimal(amount), "USD", booked_at, now,
            instrument, Decimal(quantity) if instrument else None,
        )
        for number, (instrument, quantity, amount) in enumerate(lines)
    ]  # fmt: skip
    async with bank.pool.acquire() as connection:
        await store(connection, None, [], bookings)


async def test_a_right_book_is_checked_again_and_again(watched: Watched) -> None:
    await eventually(lambda: watched.checker.findings.checked >= 4)
    found = await eventually(lambda: watched.says("live_equals_batch", True, "valuations checked"))
    assert "largest difference before rounding" in found.detail
    assert REGISTRY.get_sample_value("alhambra_stream_live_batch_difference_minor_units") < 1e-6


async def test_a_corrupted_quantity_raises_the_alarm_within_seconds_and_its_mending_ends_it(watched: Watched) -> None:
    await eventually(lambda: watched.checker.findings.checked)
    failures = REGISTRY.get_sample_value("alhambra_stream_check_failures_total") or 0.0
    portfolio = watched.processor.book.portfolios[0]
    began = time.monotonic()
    watched.processor.book.quantity[watched.processor.book.run(portfolio)][1] += 0.5
    found = await eventually(lambda: watched.says("live_equals_batch", False, "value of AAPL"))
    assert time.monotonic() - began < 10.0
    assert portfolio.id in found.detail
    assert (REGISTRY.get_sample_value("alhambra_stream_check_failures_total") or 0.0) > failures
    watched.processor.book.quantity[watched.processor.book.run(portfolio)][1] -= 0.5
    await eventually(lambda: watched.says("live_equals_batch", True, "valuations checked"))


async def test_positions_that_the_ledger_does_not_hold_raise_the_alarm(watched: Watched) -> None:
    await watched.bank.pool.execute("update position_sets set version = 2")
    await eventually(lambda: watched.says("live_equals_batch", False, "version 1 are not in the ledger"))


async def test_positions_are_held_against_the_bookings_that_made_them(watched: Watched) -> None:
    portfolio = watched.processor.book.portfolios[0].id
    await book(watched.bank, portfolio, (3, "10", "-1000"), (4, "8.5", "-500"), (None, "0", "6500"))
    found = await eventually(lambda: watched.says("positions_equal_bookings", False, "XOM"))
    assert "7.5 of XOM are held and 8.5" in found.detail
    assert portfolio in found.detail
    assert "AAPL" not in found.detail


async def test_without_postgresql_it_waits_and_says_so_and_goes_on(watched: Watched) -> None:
    await eventually(lambda: watched.checker.findings.checked)
    watched.pool.away = True
    await eventually(lambda: watched.pool.refused)
    checked = watched.checker.findings.checked
    watched.pool.away = False
    await eventually(lambda: watched.checker.findings.checked > checked)
