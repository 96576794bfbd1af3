from datetime import date
from decimal import Decimal

import asyncpg
import pytest
from argon2 import PasswordHasher

from alhambra.bank import Bank, ExtraInstrument, create_bank
from alhambra.bank.valuation import daily_histories
from alhambra.seed import seed
from db.instruments import close_history, instruments
from db.people import user_by_email
from db.portfolios import Viewer, visible_portfolios

TODAY = date(2026, 11, 21)
EXTRA = (ExtraInstrument("USD/JPY", "JPY", 150.0, "fx", "USD"), ExtraInstrument("7203", "JPY", 2_700.0))


@pytest.fixture(scope="module")
def bank() -> Bank:
    return create_bank(TODAY, 12, EXTRA)


@pytest.fixture(scope="module")
async def seeded(module_postgres_url: str, bank: Bank):
    await seed(module_postgres_url, bank)
    connection = await asyncpg.connect(module_postgres_url)
    yield connection
    await connection.close()


async def test_seeding_again_changes_nothing(seeded, module_postgres_url: str, bank: Bank) -> None:
    before = await seeded.fetch("select id, password_hash from users order by id")
    await seed(module_postgres_url, create_bank(TODAY, 20))
    assert await seeded.fetch("select id, password_hash from users order by id") == before
    assert await seeded.fetchval("select count(*) from portfolios") == len(bank.accounts)


async def test_a_demonstration_login_is_that_of_the_bank(seeded, bank: Bank) -> None:
    client = next(person for person in bank.people if person.role == "client")
    user = await user_by_email(seeded, client.email)
    assert PasswordHasher().verify(user.password_hash, client.password)
    assert (user.id, user.language, user.country) == (client.id, client.language, client.country)


async def test_who_has_no_password_has_no_hash(seeded, bank: Bank) -> None:
    without = sum(person.password is None for person in bank.people)
    assert await seeded.fetchval("select count(*) from users where password_hash is null") == without


async def test_advisors_see_their_clients_portfolios(seeded, bank: Bank) -> None:
    for advisor in (person for person in bank.people if person.role == "advisor"):
        clients = {client for adviser, client in bank.assignments if adviser == advisor.id}
        found = await visible_portfolios(seeded, Viewer(advisor.id, "advisor"))
        assert {one.iboss_account_id for one in found} == {
            account.iboss_account_id for account in bank.accounts if account.client_id in clients
        }


async def test_instruments_closes_and_currencies_are_those_of_the_bank(seeded, bank: Bank) -> None:
    assert [(one.id, one.symbol, one.history_source) for one in await instruments(seeded)] == [
        (one.id, one.symbol, one.history_source) for one in bank.instruments
    ]
    history = await close_history(seeded, TODAY, len(bank.dates))
    assert history.dates == bank.dates
    assert (history.closes == bank.closes).all()
    assert await seeded.fetchval("select minor_units from currencies where code = 'JPY'") == 0


async def test_portfolios_have_their_zones_and_instruments_their_exchanges(seeded, bank: Bank) -> None:
    zones = await seeded.fetch("select iboss_account_id, time_zone from portfolios")
    assert dict(zones) == {account.iboss_account_id: account.time_zone for account in bank.accounts}
    exchanges = await seeded.fetch("select symbol, exchange from instruments")
    assert dict(exchanges) == {one.symbol: one.exchange for one in bank.instruments}


async def test_the_ledger_is_left_to_iboss(seeded) -> None:
    assert await seeded.fetchval("select count(*) from transactions") == 0
    assert await seeded.fetchval("select count(*) from position_sets") == 0


async def test_every_day_of_a_portfolio_is_there_from_its_first(seeded, bank: Bank) -> None:
    rows = await seeded.fetch("select portfolio_id, min(date), max(date), count(*) from daily_valuations group by 1")
    opened = {account.portfolio_id: account.opened_on for account in bank.accounts}
    assert {row[0]: row[1] for row in rows} == opened
    for _, first, last, count in rows:
        assert last == bank.dates[-1]
        assert count == len(bank.dates) - bank.dates.index(first)


async def test_the_first_days_equity_is_what_was_deposited(seeded, bank: Bank) -> None:
    for account in bank.accounts:
        equity, flow = await seeded.fetchrow(
            "select total_equity, net_flow from daily_valuations where portfolio_id = $1 order by date limit 1",
            account.portfolio_id,
        )
        assert abs(equity - flow) <= Decimal("0.10")  # exchanges are rounded to the cent


def test_the_last_equity_is_the_value_of_the_positions(bank: Bank) -> None:
    values = {one.symbol: place for place, one in enumerate(bank.instruments)}
    for account, history in zip(bank.accounts, daily_histories(bank), strict=True):
        held: dict[str, float] = {}
        for booking in bank.bookings:
            if booking.iboss_account_id == account.iboss_account_id and booking.booked_at.date() < TODAY:
                held[booking.currency] = held.get(booking.currency, 0.0) + float(booking.amount)
                if booking.quantity is not None:
                    held[booking.symbol] = held.get(booking.symbol, 0.0) + float(booking.quantity)
        total = sum(amount * worth(bank, values, symbol, account.base_currency) for symbol, amount in held.items())
        assert history.equity[-1] == pytest.approx(total, abs=0.01)


def worth(bank: Bank, places: dict[str, int], symbol: str, base: str) -> float:
    """Return the last value of one unit in base currency, worked out apart from the code under test."""
    instrument = bank.instruments[places[symbol]]
    close = bank.closes[-1]
    dollars = {
        "USD": 1.0,
        "EUR": close[places["EUR/USD"]],
        "GBP": close[places["GBP/USD"]],
        "CHF": 1 / close[places["USD/CHF"]],
        "AED": 1 / close[places["USD/AED"]],
        "JPY": 1 / close[places["USD/JPY"]],
    }
    return close[places[symbol]] * instrument.price_factor * dollars[instrument.currency] / dollars[base]
