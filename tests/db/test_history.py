"""Days are written once, and what is written again replaces what was there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from db.history import DailyValuation, daily_valuations, write_daily_valuations


async def test_a_day_that_is_written_again_is_replaced(bank) -> None:
    row = DailyValuation(bank.portfolios["carol"], date(2026, 11, 20), Decimal("100.0000"), Decimal("0.0000"), 0.01)
    later = replace(row, date=date(2026, 11, 21))
    await write_daily_valuations(bank.connection, [row, later])
    await write_daily_valuations(bank.connection, [replace(later, day_return=0.02)])
    found = await daily_valuations(bank.connection, [row.portfolio_id])
    assert found == [row, replace(later, day_return=0.02)]
    assert len(await daily_valuations(bank.connection, [row.portfolio_id], later.date)) == 1


async def test_nothing_to_write_is_fine(bank) -> None:
    await write_daily_valuations(bank.connection, [])
