"""Minutes are written once whatever is repeated, and read back whether their hour is packed or not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import asyncpg
import pytest

from db.binary_copy import Rows, timestamp
from db.hours import MinutePoint, last_points, minute_points, pack_hours, portfolio_slices
from db.minutes import MINUTE_LAYOUT, update_totals, write_minutes
from db.time_machine import read_moment

MINUTE = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
DAY = MINUTE.date()
HOUR = timedelta(hours=1)


def minute_rows(bank, minute: datetime = MINUTE, epoch: int = 1, seq: int = 1, equity: int = 10_000) -> Rows:
    """Return a minute of Carol's portfolio: `equity` cents, of which 1,000 are cash and 500 the day's profit."""
    rows = MINUTE_LAYOUT.rows(1)
    columns = {"minute": timestamp(minute), "assignment": 4, "epoch": epoch, "seq": seq, "version": 7}
    amounts = {"total_equity": equity, "cash": 1000, "day_pnl": 500, "day_pnl_price": 400, "unrealised_pnl": -700}
    for name, value in (columns | amounts | {"stale_share": 0.25, "base_currency": b"USD"}).items():
        rows[name] = value
    rows["portfolio_id"] = bank.portfolios["carol"].bytes
    return rows


async def put(bank, minute: datetime = MINUTE, **more: int) -> None:
    await write_minutes(bank.connection, minute, minute_rows(bank, minute, **more))


async def minutes_of(bank, day: date) -> list[MinutePoint]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return await minute_points(bank.connection, bank.portfolios["carol"], midnight, midnight + timedelta(days=1))


async def stored_equity(bank) -> Decimal:
    (found,) = await minutes_of(bank, DAY)
    return found.total_equity


async def test_a_row_arrives_field_by_field(bank) -> None:
    await put(bank)
    row = await bank.connection.fetchrow("select * from minute_valuations")
    carol = bank.portfolios["carol"]
    assert tuple(row.values()) == (MINUTE, carol, 4, 1, 1, 7, 10_000, 1000, 500, 400, -700, 0.25, "USD")


async def test_minutes_are_read_back_by_utc_day(bank) -> None:
    await bank.connection.execute("set timezone to 'America/New_York'")
    for minute in (MINUTE, MINUTE + timedelta(minutes=1)):
        await put(bank, minute)
        (found,) = await minutes_of(bank, minute.date())
        assert (found.minute, found.total_equity, found.day_pnl) == (minute, Decimal(100), Decimal(5))


async def test_writing_the_same_minute_again_changes_nothing(bank) -> None:
    await put(bank)
    before = await bank.connection.fetch("select * from minute_valuations")
    await put(bank)
    assert await bank.connection.fetch("select * from minute_valuations") == before


async def test_the_highest_epoch_and_sequence_stays(bank) -> None:
    for epoch, seq, equity in ((2, 5, 20_500), (2, 4, 20_400), (1, 99, 19_900)):
        await put(bank, epoch=epoch, seq=seq, equity=equity)
    assert await stored_equity(bank) == 205


async def test_a_stored_minute_becomes_the_portfolios_totals_and_an_older_one_does_not(bank) -> None:
    carol = bank.portfolios["carol"]
    for minute, equity in ((MINUTE, 11_000), (MINUTE - timedelta(minutes=1), 100)):
        await put(bank, minute, equity=equity)
        await update_totals(bank.connection, minute, [carol])
    row = await bank.connection.fetchrow(
        "select total_value, cash_balance, buying_power, day_pl, day_pl_percent, last_updated from portfolios "
        "where id = $1",
        carol,
    )
    percent = Decimal("4.761905")  # 5 of the 105 it opened with
    assert tuple(row.values()) == (Decimal(110), Decimal(10), Decimal(10), Decimal(5), percent, MINUTE)


@pytest.mark.parametrize(("equity", "percent"), [(500, 0), (501, Decimal(50_000)), (499, Decimal(50_000))])
async def test_percent_is_of_what_the_day_opened_with_whatever_that_was(bank, equity: int, percent: int) -> None:
    await put(bank, equity=equity)
    await update_totals(bank.connection, MINUTE, [bank.portfolios["carol"]])
    assert await bank.connection.fetchval("select day_pl_percent from portfolios where day_pl = 5") == percent


@pytest.mark.parametrize("packed", [False, True])
async def test_a_day_reads_the_same_whether_its_hours_are_packed_or_not(bank, packed: bool) -> None:
    minutes = [MINUTE - timedelta(minutes=17) * number for number in range(20, -1, -1)]
    for number, minute in enumerate(minutes):
        await put(bank, minute, equity=10_000 + number)
    if packed:
        assert len(await pack_hours(bank.connection, MINUTE)) == 5  # the sixth, 23 h, still runs
    found = await minutes_of(bank, DAY)
    assert [(one.minute, one.total_equity) for one in found] == [
        (minute, Decimal(10_000 + number) / 100) for number, minute in enumerate(minutes)
    ]


async def test_any_part_of_a_day_can_be_read(bank) -> None:
    start = MINUTE - 4 * HOUR
    for number in range(12):
        await put(bank, start + timedelta(minutes=17) * number)
    await pack_hours(bank.connection, start + 2 * HOUR)
    since, until = start + timedelta(minutes=17), start + timedelta(minutes=17 * 9)
    found = await minute_points(bank.connection, bank.portfolios["carol"], since, until)
    assert [one.minute for one in found] == [start + timedelta(minutes=17) * number for number in range(1, 9)]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_day_closes_with_its_last_minute_wherever_that_is(bank, packed: bool) -> None:
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    everybody = list(bank.portfolios.values())
    half = timedelta(minutes=30)  # where days begin in half of India's hours
    for number in range(4):
        await put(bank, midnight + number * half, equity=100 * number)
    if packed:
        await pack_hours(bank.connection, MINUTE)
    for hours, equity in ((24, 3), (1.5, 2), (1, 1), (0.5, 0)):
        found = await last_points(bank.connection, everybody, midnight, midnight + timedelta(hours=hours))
        assert [(one.portfolio_id, one.total_equity) for one in found] == [(bank.portfolios["carol"], equity)]
    assert await last_points(bank.connection, everybody, midnight + 4 * half, midnight + 48 * half) == []


@pytest.mark.parametrize("packed", [False, True])
async def test_a_moment_is_the_newest_minute_that_had_ended(bank, packed: bool) -> None:
    carol, start = bank.portfolios["carol"], MINUTE - 5 * HOUR + timedelta(minutes=1)  # 19:00
    for minute in (start, start + timedelta(minutes=91)):
        await put(bank, minute)
    if packed:
        await pack_hours(bank.connection, MINUTE)
    second = timedelta(seconds=1)
    for at, expected in (
        (start + 60 * second, start),
        (start + timedelta(minutes=91) + 59 * second, start),  # in an hour whose first minute is yet to end
        (start + timedelta(minutes=92), start + timedelta(minutes=91)),
        (start + timedelta(days=30), start + timedelta(minutes=91)),
    ):
        moment = await read_moment(bank.connection, carol, at)
        assert moment is not None
        assert (moment.minute, moment.totals.total_equity, moment.inputs) == (expected, 10_000, None)
    for at in (start + 59 * second, start + timedelta(days=32)):
        assert await read_moment(bank.connection, carol, at) is None
    assert await read_moment(bank.connection, bank.portfolios["dora"], MINUTE) is None


async def test_a_minute_that_comes_after_its_hour_was_packed_is_seen_at_once_and_packed_again(bank) -> None:
    early, late = MINUTE - 5 * HOUR, MINUTE - 5 * HOUR - timedelta(minutes=3)
    await put(bank, early)
    await pack_hours(bank.connection, MINUTE)
    await put(bank, late, equity=7)
    for expected in (1, 0):  # packed once more, then nothing is left to do
        found = await minutes_of(bank, DAY)
        assert [one.total_equity for one in found] == [Decimal("0.07"), Decimal(100)]
        assert len(await pack_hours(bank.connection, MINUTE)) == expected


async def test_an_hour_that_is_being_written_is_left_for_the_next_time(own_bank, postgres_url: str) -> None:
    writer = await asyncpg.connect(postgres_url)
    try:
        await put(own_bank, MINUTE - 5 * HOUR)
        async with writer.transaction():
            await write_minutes(writer, MINUTE - 5 * HOUR, minute_rows(own_bank, MINUTE - 5 * HOUR, seq=2, equity=9))
            assert await pack_hours(own_bank.connection, MINUTE) == []
        assert len(await pack_hours(own_bank.connection, MINUTE)) == 1
        assert await stored_equity(own_bank) == Decimal("0.09")
    finally:
        await writer.close()


async def test_old_days_are_dropped_whole(bank) -> None:
    for days in (0, 1, 2):
        await put(bank, MINUTE - timedelta(days=days))
    await pack_hours(bank.connection, MINUTE)
    assert await bank.connection.fetchval("select drop_minutes($1)", DAY) == 6
    found = [row[0] for row in await bank.connection.fetch("select minute from minute_valuations")]
    assert found == [MINUTE]
    assert await bank.connection.fetchval("select count(*) from packed_hours") == 0


def test_the_slices_hold_every_portfolio_once() -> None:
    slices = portfolio_slices(16)
    assert (slices[0][0].int, slices[-1][1].int) == (0, (1 << 128) - 1)
    assert all(last.int + 1 == first.int for (_, last), (first, _) in pairwise(slices))


async def test_a_days_partitions_are_made_for_minutes_prices_and_hours(bank) -> None:
    await bank.connection.execute("select ensure_minute_partition($1)", date(2026, 11, 25))
    names = ("minute_valuations", "minute_prices", "hour_valuations")
    for name in names:
        assert await bank.connection.fetchval("select to_regclass($1) is not null", f"{name}_20261125")
