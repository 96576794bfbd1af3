"""What flowed in since the newest day kept counts from where that day ended, each portfolio by its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from fakes_stream import open_small_bank

from api.portfolio.history import read_past
from db.history import DailyValuation, write_daily_valuations
from db.ledger import LedgerBooking, store

pytestmark = pytest.mark.integration
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
FRIDAY = MONDAY - timedelta(days=3)
SATURDAY_NOON = FRIDAY + timedelta(hours=36)


def deposit(portfolio: str, reference: str, at: datetime, amount: int) -> LedgerBooking:
    return LedgerBooking(
        "test", reference, 1, UUID(portfolio), "deposit", Decimal(amount), "USD", processed_at=at, received_at=at
    )


async def test_a_deposit_of_the_weekend_is_in_fridays_close_and_not_counted_again(postgres_url: str) -> None:
    """Of the first portfolio Friday went on until Monday; of the second it is known only that Friday is closed."""
    async with open_small_bank(postgres_url) as bank, bank.pool.acquire() as connection:
        closed, dated, new = [UUID(await bank.add_portfolio()) for _ in range(3)]
        days = [
            DailyValuation(closed, FRIDAY.date(), Decimal(1), Decimal(10), 0.0, MONDAY),
            DailyValuation(dated, FRIDAY.date(), Decimal(1), Decimal(0), 0.0),
        ]
        await write_daily_valuations(connection, days)
        for number, portfolio in enumerate((closed, dated, new)):
            on_saturday = deposit(str(portfolio), f"{number} Saturday", SATURDAY_NOON, 10 * 10 ** (2 * number))
            on_monday = deposit(str(portfolio), f"{number} Monday", MONDAY + timedelta(hours=1), 10 ** (2 * number))
            await store(connection, None, [], [on_saturday, on_monday])
        past = await read_past(connection, [closed, dated, new], False, MONDAY.date(), MONDAY + timedelta(hours=9))
        assert past.flows == {"USD": 1 + 1100 + 110_000}
        assert {one.ended_at for one in past.days} == {MONDAY, None}
