from datetime import date

import asyncpg
import numpy as np
import pytest

from db.instruments import close_history, instruments, prior_closes, record_closes

FRIDAY, SATURDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 23)


async def test_instruments_come_in_order_of_id(bank) -> None:
    assert [(one.id, one.symbol, one.price_factor) for one in await instruments(bank.connection)] == [
        (1, "AAPL", 1.0),
        (2, "USD", 1.0),
    ]


async def test_the_prior_close_is_the_newest_before_the_day(bank) -> None:
    await record_closes(bank.connection, FRIDAY, {1: 190.0, 2: 1.0})
    await record_closes(bank.connection, MONDAY, {1: 195.0})
    assert await prior_closes(bank.connection, MONDAY) == {1: (190.0, FRIDAY), 2: (1.0, FRIDAY)}
    assert await prior_closes(bank.connection, FRIDAY) == {}


async def test_a_live_close_is_replaced_until_its_day_is_over(bank) -> None:
    await record_closes(bank.connection, FRIDAY, {1: 190.0})
    await record_closes(bank.connection, FRIDAY, {1: 191.0})
    await record_closes(bank.connection, MONDAY, {1: 195.0})
    await record_closes(bank.connection, FRIDAY, {1: 1.0})
    assert await prior_closes(bank.connection, SATURDAY) == {1: (191.0, FRIDAY)}


@pytest.mark.parametrize("price", [0.0, -1.0])
async def test_a_close_that_is_not_positive_is_refused(bank, price: float) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await record_closes(bank.connection, FRIDAY, {1: price})


async def test_the_history_is_a_matrix_with_nan_where_a_close_is_absent(bank) -> None:
    await record_closes(bank.connection, FRIDAY, {1: 190.0, 2: 1.0})
    await record_closes(bank.connection, SATURDAY, {1: 191.0})
    found = await close_history(bank.connection, MONDAY)
    assert (found.dates, found.instruments) == ((FRIDAY, SATURDAY), (1, 2))
    np.testing.assert_array_equal(found.closes, [[190.0, 1.0], [191.0, np.nan]])
    assert (await close_history(bank.connection, MONDAY, days=1)).dates == (SATURDAY,)
    assert (await close_history(bank.connection, FRIDAY)).closes.shape == (0, 0)
