"""What minutes cost to write and to read, as ratios of two ways measured in the same run; no time fails a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pytest

from db.binary_copy import Rows, timestamp
from db.hours import minute_points, pack_hours
from db.minutes import MINUTE_LAYOUT, write_minutes

pytestmark = pytest.mark.integration
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
PORTFOLIOS, MINUTES = 100_000, 8
READ_PORTFOLIOS, READ_MINUTES = 4_000, 390


@dataclass
class Table:
    """A database of our own, and portfolios in order of id."""

    runner: asyncio.Runner
    connection: asyncpg.Connection
    ids: list[UUID]
    rows: Rows

    def do(self, work: Awaitable[Any]) -> Any:
        """Wait for a piece of work."""

        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    def minute(self, number: int) -> tuple[datetime, Rows]:
        """Return the rows of a minute of the day."""
        minute = MIDNIGHT + timedelta(minutes=number)
        self.rows["minute"], self.rows["seq"] = timestamp(minute), number
        return minute, self.rows

    def write(self, number: int) -> None:
        """Write a minute as the recorder does."""
        self.do(write_minutes(self.connection, *self.minute(number)))

    async def write_records(self, number: int) -> None:
        """Write a minute as most programs would: a tuple a row, and the driver encodes each field."""
        minute, rows = self.minute(number)
        columns = [rows[name].tolist() for name in MINUTE_LAYOUT.columns[2:-1]]
        records = zip([minute] * len(self.ids), self.ids, *columns, ["USD"] * len(self.ids), strict=True)
        await self.connection.copy_records_to_table(
            "minute_valuations", records=list(records), columns=MINUTE_LAYOUT.columns
        )


@pytest.fixture
def open_table(postgres_url: str) -> Iterator[Callable[[int], Table]]:
    """Lend a function that makes rows for so many portfolios."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgres_url))
        runner.run(connection.execute("insert into currencies values ('USD', 'US dollar', 2)"))
        yield lambda count: Table(runner, connection, *_filled(count))
        runner.run(connection.close())


def _filled(count: int) -> tuple[list[UUID], Rows]:
    ids, random = sorted(uuid4() for _ in range(count)), np.random.default_rng(1)
    rows = MINUTE_LAYOUT.rows(count)
    for name in ("assignment", "epoch", "version", "stale_share"):
        rows[name] = 1
    for name in ("total_equity", "cash", "day_pnl", "day_pnl_price", "unrealised_pnl"):
        rows[name] = random.integers(1, 10**9, count)
    rows["portfolio_id"] = np.frombuffer(b"".join(one.bytes for one in ids), "V16")
    rows["base_currency"] = b"USD"
    return ids, rows


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_a_minute_of_all_portfolios(benchmark: Any, open_table: Callable[[int], Table]) -> None:
    size = 1_000 if benchmark.disabled else PORTFOLIOS  # as one test among others it only has to work
    table, numbers = open_table(size), iter(range(MINUTES))
    benchmark.pedantic(lambda: table.write(next(numbers)), rounds=MINUTES, warmup_rounds=0)
    by_record = _seconds(lambda: table.do(table.write_records(MINUTES)))
    again = _seconds(lambda: table.write(0))
    written = table.do(table.connection.fetchval("select count(*) from minute_valuations"))
    assert written == size * (2 if benchmark.disabled else MINUTES + 1)
    if benchmark.disabled:
        return
    took = benchmark.stats.stats.median
    print(f"\n{PORTFOLIOS / took:,.0f} rows/s; a tuple a row takes {by_record / took:.1f} times as long,")
    print(f"writing the same minute again {again / took:.1f} times")


def test_a_day_of_one_portfolio(benchmark: Any, open_table: Callable[[int], Table]) -> None:
    table = open_table(50 if benchmark.disabled else READ_PORTFOLIOS)
    for number in range(READ_MINUTES):
        table.write(number)
    chosen = cycle(table.ids)

    def read() -> None:
        points = table.do(minute_points(table.connection, next(chosen), MIDNIGHT, MIDNIGHT + DAY))
        assert len(points) == READ_MINUTES

    unpacked = median(_seconds(read) for _ in range(100))
    packing = _seconds(lambda: table.do(pack_hours(table.connection, MIDNIGHT + DAY)))
    benchmark.pedantic(read, rounds=100, warmup_rounds=5)
    if benchmark.disabled:
        return
    packed = benchmark.stats.stats.median
    print(
        f"\nminute by minute takes {unpacked / packed:.1f} times as long as from packed hours ({packed * 1e3:.2f} ms)"
    )
    print(f"packing: {READ_PORTFOLIOS * READ_MINUTES / packing:,.0f} rows/s")
