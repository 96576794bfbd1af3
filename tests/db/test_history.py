from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from db.history import (
    DailyValuation,
    MinuteValuation,
    daily_valuations,
    minute_valuations,
    write_daily_valuations,
    write_minute_valuations,
)

MINUTE = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
DAY = MINUTE.date()


def valuation(bank, minute: datetime = MINUTE, epoch: int = 1, seq: int = 1, equity: str = "100") -> MinuteValuation:
    amounts = (Decimal(equity), *(Decimal(amount) for amount in ("10", "90", "5", "4", "1", "7")))
    return MinuteValuation(bank.portfolios["carol"], minute, epoch, seq, "USD", *amounts, 0.25, Decimal(10), 5.26)


async def stored_equity(bank) -> Decimal:
    (found,) = await minute_valuations(bank.connection, bank.portfolios["carol"], DAY)
    return found.total_equity


async def test_minutes_are_read_back_by_utc_day(bank) -> None:
    rows = [valuation(bank), valuation(bank, MINUTE + timedelta(minutes=1))]
    await write_minute_valuations(bank.connection, rows)
    await bank.connection.execute("set timezone to 'America/New_York'")
    for row in rows:
        found = await minute_valuations(bank.connection, row.portfolio_id, row.minute.date())
        assert found == [replace(row, buying_power=Decimal(0), day_pnl_pct=0.0)]


async def test_writing_the_same_minutes_again_changes_nothing(bank) -> None:
    for _ in range(2):
        await write_minute_valuations(bank.connection, [valuation(bank)])
    assert await stored_equity(bank) == 100


async def test_the_highest_epoch_and_sequence_stays(bank) -> None:
    for epoch, seq, equity in ((2, 5, "205"), (2, 4, "204"), (1, 99, "199")):
        await write_minute_valuations(bank.connection, [valuation(bank, MINUTE, epoch, seq, equity)])
    assert await stored_equity(bank) == 205


async def test_of_several_states_of_a_minute_in_one_write_the_newest_is_kept(bank) -> None:
    rows = [valuation(bank, MINUTE, 1, seq, str(seq)) for seq in (1, 3, 2)]
    await write_minute_valuations(bank.connection, rows)
    assert await stored_equity(bank) == 3


async def test_the_newest_minute_becomes_the_portfolios_totals(bank) -> None:
    await write_minute_valuations(
        bank.connection, [valuation(bank, equity="105"), valuation(bank, seq=2, equity="110")]
    )
    await write_minute_valuations(bank.connection, [valuation(bank, MINUTE - timedelta(minutes=1), equity="1")])
    row = await bank.connection.fetchrow(
        "select total_value, cash_balance, buying_power, day_pl, last_updated from portfolios where id = $1",
        bank.portfolios["carol"],
    )
    assert tuple(row.values()) == (Decimal(110), Decimal(10), Decimal(10), Decimal(5), MINUTE)


async def test_a_worker_that_was_replaced_does_not_change_the_totals(bank) -> None:
    await write_minute_valuations(bank.connection, [valuation(bank, epoch=2, equity="200")])
    await write_minute_valuations(bank.connection, [valuation(bank, epoch=1, seq=99, equity="1")])
    assert await bank.connection.fetchval("select max(total_value) from portfolios") == 200


async def test_nothing_to_write_is_fine(bank) -> None:
    await write_minute_valuations(bank.connection, [])


async def test_a_day_that_is_written_again_is_replaced(bank) -> None:
    row = DailyValuation(bank.portfolios["carol"], date(2026, 11, 20), Decimal("100.0000"), Decimal("0.0000"), 0.01)
    later = replace(row, date=date(2026, 11, 21))
    await write_daily_valuations(bank.connection, [row, later])
    await write_daily_valuations(bank.connection, [replace(later, day_return=0.02)])
    found = await daily_valuations(bank.connection, [row.portfolio_id])
    assert found == [row, replace(later, day_return=0.02)]
    assert len(await daily_valuations(bank.connection, [row.portfolio_id], later.date)) == 1
