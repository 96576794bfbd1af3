import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alhambra.bank import BOOKING_TYPES, Bank, ExtraInstrument, create_bank
from alhambra.bank.prices import DayPrices, dollar_rates
from alhambra.bank.valuation import daily_histories
from analytics.lots import derive_lots
from analytics.positions import DerivedPosition, derive_positions
from analytics.revaluation import create_inputs, revalue
from stream.messages import Position

TODAY = date(2026, 11, 21)
MIDNIGHT = datetime.combine(TODAY, time(0), UTC)
NATIONALITIES = {"US", "GB", "DE", "CH", "AE", "ES", "CN", "SG", "SA", "MX"}


@pytest.fixture(scope="module")
def bank() -> Bank:
    return create_bank(TODAY)


def bookings_by_account(bank: Bank) -> dict[str, list]:
    found = defaultdict(list)
    for booking in bank.bookings:
        found[booking.iboss_account_id].append(booking)
    return found


def test_the_people_are_as_many_and_as_various_as_promised(bank: Bank) -> None:
    roles = Counter(person.role for person in bank.people)
    clients = [person for person in bank.people if person.role == "client"]
    assert roles == {"client": 42, "advisor": 3, "kyc_agent": 1, "compliance": 1, "admin": 1}
    assert {client.country for client in clients} >= NATIONALITIES
    assert {person.language for person in bank.people} == {"en", "es", "ar", "zh"}
    assert (
        len({person.email for person in bank.people}) == len({person.id for person in bank.people}) == len(bank.people)
    )


def test_every_client_has_one_advisor_and_one_to_three_portfolios(bank: Bank) -> None:
    advisors = {person.id for person in bank.people if person.role == "advisor"}
    clients = {person.id for person in bank.people if person.role == "client"}
    assert Counter(client for _, client in bank.assignments) == dict.fromkeys(clients, 1)
    assert {advisor for advisor, _ in bank.assignments} == advisors
    assert {account.base_currency for account in bank.accounts} == {"USD", "EUR", "GBP", "CHF", "AED"}
    portfolios = Counter(account.client_id for account in bank.accounts)
    assert portfolios.keys() == clients
    assert set(portfolios.values()) == {1, 2, 3}
    for field in ("portfolio_id", "account_id", "account_number", "iboss_account_id"):
        assert len({getattr(account, field) for account in bank.accounts}) == len(bank.accounts) == 84


def test_those_who_can_sign_in_are_the_staff_and_a_client_of_each_advisor(bank: Bank) -> None:
    able = [person for person in bank.people if person.password]
    advisor_of = {client: advisor for advisor, client in bank.assignments}
    assert Counter(person.role for person in able) == {
        "client": 3,
        "advisor": 3,
        "kyc_agent": 1,
        "compliance": 1,
        "admin": 1,
    }
    assert len({advisor_of[person.id] for person in able if person.role == "client"}) == 3


def test_iboss_logins_are_one_that_sees_all_and_one_for_each_client_who_can_sign_in(bank: Bank) -> None:
    service, *others = bank.iboss_users
    able = {person.id for person in bank.people if person.password}
    assert service.accounts is None
    for user in bank.iboss_users:
        assert user.username.isalnum()
        assert 3 <= len(user.username) <= 30
        assert len(user.password) >= 6
    assert {account for user in others for account in user.accounts or ()} == {
        account.iboss_account_id for account in bank.accounts if account.client_id in able
    }


def test_there_are_sixty_three_instruments_and_the_rates_and_the_benchmark(bank: Bank) -> None:
    classes = Counter(instrument.asset_class for instrument in bank.instruments)
    assert sum(count for name, count in classes.items() if name not in ("fx", "index")) == 63
    assert {name: classes[name] for name in ("equity", "crypto", "cash", "fx", "index")} == {
        "equity": 20,
        "crypto": 3,
        "cash": 5,
        "fx": 4,
        "index": 1,
    }
    assert [instrument.id for instrument in bank.instruments] == list(range(1, len(bank.instruments) + 1))
    assert all(instrument.history_source for instrument in bank.instruments)


def test_the_history_ends_on_the_last_business_day_and_has_no_gap(bank: Bank) -> None:
    assert (bank.dates[0], bank.dates[-1], len(bank.dates)) == (date(2024, 11, 20), date(2026, 11, 20), 523)
    assert bank.closes.shape == (len(bank.dates), len(bank.instruments))
    assert np.isfinite(bank.closes).all()
    assert (bank.closes > 0).all()


def test_the_last_close_of_a_company_is_the_last_of_its_real_history(bank: Bank) -> None:
    columns = {instrument.symbol: place for place, instrument in enumerate(bank.instruments)}
    assert bank.closes[-1, columns["AAPL"]] == 125.67  # 125.674 on 2022-12-28 in skfolio's file
    assert bank.closes[-1, columns["SP500"]] == 3783.22
    assert set(bank.closes[:, columns["USD/AED"]]) == {3.6725}


def test_cash_is_never_overdrawn_and_nothing_but_one_share_is_sold_that_is_not_held(bank: Bank) -> None:
    for bookings in bookings_by_account(bank).values():
        balance: dict[str, Decimal] = defaultdict(Decimal)
        for booking in bookings:
            balance[booking.currency] += booking.amount
            assert balance[booking.currency] >= 0
            if booking.quantity is not None:
                balance[booking.symbol] += booking.quantity
                assert balance[booking.symbol] >= 0 or booking.symbol == "AMD"


def test_every_amount_is_to_the_cent_and_is_quantity_times_price(bank: Bank) -> None:
    factors = {instrument.symbol: Decimal(repr(instrument.price_factor)) for instrument in bank.instruments}
    for booking in bank.bookings:
        assert booking.amount == booking.amount.quantize(Decimal("0.01"))
        if booking.type == "split":
            assert (booking.amount, booking.price) == (0, None)
        elif booking.quantity is not None:
            exact = -booking.quantity * booking.price * factors[booking.symbol]
            assert booking.amount == exact.quantize(Decimal("0.01"))


def test_trades_are_at_the_closes_and_rates_of_their_day(bank: Bank) -> None:
    columns = {instrument.symbol: place for place, instrument in enumerate(bank.instruments)}
    base = {account.iboss_account_id: account.base_currency for account in bank.accounts}
    dollars = dollar_rates(bank.instruments, bank.closes)
    days = {day: place for place, day in enumerate(bank.dates)} | {TODAY: len(bank.dates) - 1}
    for booking in bank.bookings:
        day = days[booking.booked_at.date()]
        rate = dollars[booking.currency][day] / dollars[base[booking.iboss_account_id]][day]
        assert float(booking.rate_to_base) == pytest.approx(rate, abs=1e-8)
        if booking.price is not None and booking.symbol is not None:
            assert float(booking.price) == bank.closes[day, columns[booking.symbol]]


def test_both_legs_of_an_exchange_are_worth_the_same(bank: Bank) -> None:
    for bookings in bookings_by_account(bank).values():
        for out, into in itertools.pairwise(bookings):
            if out.type == "fx_out":
                assert into.type == "fx_in"
                assert -out.amount == (into.amount * into.rate_to_base).quantize(Decimal("0.01"))


def test_positions_derived_from_the_bookings_reconcile_with_their_sums(bank: Bank) -> None:
    for bookings in bookings_by_account(bank).values():
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for booking in bookings:
            sums[booking.currency] += booking.amount
            if booking.quantity is not None:
                sums[booking.symbol] += booking.quantity
        derived = {line.symbol: line.quantity for line in derive_positions(bookings, MIDNIGHT) if line.quantity}
        assert derived == {symbol: quantity for symbol, quantity in sums.items() if quantity}


def test_every_kind_of_booking_occurs_over_two_years_and_some_today(bank: Bank) -> None:
    assert {booking.type for booking in bank.bookings} == set(BOOKING_TYPES)
    assert [booking.sequence for booking in bank.bookings] == list(range(1, len(bank.bookings) + 1))
    times = [booking.booked_at for booking in bank.bookings]
    assert times == sorted(times)
    today = [booking for booking in bank.bookings if booking.booked_at >= MIDNIGHT]
    assert len({booking.iboss_account_id for booking in today}) >= 5
    assert {booking.type for booking in today} <= {"buy", "sell", "fx_in", "fx_out"}
    first = {bookings[0].booked_at.date() for bookings in bookings_by_account(bank).values()}
    assert max(first) < date(2024, 12, 1)


def test_a_split_changes_what_is_held_and_the_price_alike_and_loses_no_value(bank: Bank) -> None:
    columns = {instrument.symbol: place for place, instrument in enumerate(bank.instruments)}
    days = {day: place for place, day in enumerate(bank.dates)}
    ratios = {"ATEC": 2.0, "GE": 0.125}
    splits = [booking for booking in bank.bookings if booking.type == "split"]
    assert {booking.symbol for booking in splits} == ratios.keys()
    for booking in splits:
        day, column = days[booking.booked_at.date()], columns[booking.symbol]
        assert bank.closes[day, column] * ratios[booking.symbol] / bank.closes[day - 1, column] == pytest.approx(
            1, abs=0.1
        )
        before = [one for one in bookings_by_account(bank)[booking.iboss_account_id] if one.sequence < booking.sequence]
        held = sum(one.quantity for one in before if one.symbol == booking.symbol and one.quantity is not None)
        assert float(booking.quantity) == float(held) * (ratios[booking.symbol] - 1)


def test_what_is_left_of_a_share_after_a_reverse_split_is_sold(bank: Bank) -> None:
    for bookings in bookings_by_account(bank).values():
        after = itertools.dropwhile(lambda one: (one.type, one.symbol) != ("split", "GE"), bookings)
        if any(one.type == "split" for one in after):
            assert sum(one.quantity for one in bookings if one.symbol == "GE" and one.quantity is not None) % 1 == 0


def test_some_portfolios_are_short_and_their_lots_are_their_positions(bank: Bank) -> None:
    short = 0
    for bookings in bookings_by_account(bank).values():
        lots: dict[str, Decimal] = defaultdict(Decimal)
        for lot in derive_lots(bookings).open:
            lots[lot.symbol] += lot.quantity
        held = {line.symbol: line.quantity for line in derive_positions(bookings, MIDNIGHT) if line.quantity}
        assert lots.items() <= held.items()
        short += any(quantity < 0 for quantity in lots.values())
    assert short >= 1


@pytest.mark.parametrize("place", [14, 17, 68, 131, 522], ids=["split", "reverse split", "fees", "income", "newest"])
def test_the_day_derived_from_bookings_is_the_change_of_the_daily_valuations_less_flows(bank: Bank, place: int) -> None:
    """What the stream would have shown at the close, against the history: two ways that share no arithmetic."""
    opening = datetime.combine(bank.dates[place], time(0), UTC)
    before, now = ([float(close) for close in bank.closes[day]] for day in (place - 1, place))
    specs = [
        Closed(one.id, one.asset_class, one.currency, one.base_currency, one.price_factor, close)
        for one, close in zip(bank.instruments, before, strict=True)
    ]
    marks = {one.id: Decimal(repr(close)) for one, close in zip(bank.instruments, now, strict=True)}
    terms, rates = create_inputs(specs, marks, dict.fromkeys(("USD", "EUR", "GBP", "CHF", "AED"), 2))
    ids = {one.symbol: one.id for one in bank.instruments}
    by_account, moved = bookings_by_account(bank), 0
    for account, history in zip(bank.accounts, daily_histories(bank), strict=True):
        day = history.dates.index(bank.dates[place])
        until = [one for one in by_account[account.iboss_account_id] if one.booked_at.date() <= bank.dates[place]]
        lines = [line_of(one, ids) for one in derive_positions(until, opening)]
        pnl = revalue(account.base_currency, lines, terms, rates).totals.day_pnl / 100
        change = history.equity[day] - history.equity[day - 1] - history.net_flow[day]
        assert pnl == pytest.approx(change, abs=0.15)  # each of some 15 rows is rounded to the cent, as are exchanges
        moved += bool(pnl)
    assert moved > 80


@dataclass(frozen=True)
class Closed:
    """Be an instrument with a prior close, as the recomputation reads it."""

    id: int
    asset_class: str
    currency: str
    base_currency: str | None
    price_factor: float
    prior_close: float


def line_of(one: DerivedPosition, ids: dict[str, int]) -> Position:
    return Position(
        ids[one.symbol],
        one.quantity,
        one.cost_basis,
        one.cost_basis_base,
        one.opening_quantity,
        one.day_traded,
        one.realised_today,
        one.day_traded_base,
    )


def test_the_day_of_an_account_is_its_clients_and_every_share_has_an_exchange(bank: Bank) -> None:
    countries = {person.id: person.country for person in bank.people}
    zones = {"US": "America/New_York", "CH": "Europe/Zurich", "AE": "Asia/Dubai", "GB": "Europe/London"}
    for account in bank.accounts:
        expected = zones.get(countries[account.client_id], account.time_zone)
        assert (account.time_zone, ZoneInfo(account.time_zone).key) == (expected, account.time_zone)
    listed = {one.exchange for one in bank.instruments if one.asset_class in ("equity", "etf")}
    assert listed == {"XNYS", "XNAS", "BATS", "XETR", "XLON", "XSWX"}
    assert {one.exchange for one in bank.instruments if one.asset_class == "fx"} == {"24/5"}
    assert {one.exchange for one in bank.instruments if one.asset_class == "crypto"} == {"24/7"}
    assert {one.exchange for one in bank.instruments if one.asset_class == "cash"} == {None}


def test_those_who_decide_for_themselves_hold_crypto_assets_in_thousandths(bank: Bank) -> None:
    crypto = {one.symbol for one in bank.instruments if one.asset_class == "crypto"}
    bought = [one for one in bank.bookings if one.symbol in crypto]
    assert {one.symbol for one in bought} == crypto
    names = {one.iboss_account_id: one.name for one in bank.accounts}
    assert {names[one.iboss_account_id].removesuffix(" USD").removesuffix(" EUR") for one in bought} == {"Conviction"}
    thousandths = [one.quantity * 1000 for one in bought if one.quantity is not None]
    assert all(quantity == quantity.to_integral_value() for quantity in thousandths)
    assert any(quantity % 1000 for quantity in thousandths)


def test_references_are_unique(bank: Bank) -> None:
    assert len({booking.reference for booking in bank.bookings}) == len(bank.bookings)


def test_the_same_day_and_seed_make_the_same_bank(bank: Bank) -> None:
    again = create_bank(TODAY, 10)
    assert again.bookings == create_bank(TODAY, 10).bookings
    assert again.people[:6] == bank.people[:6]
    np.testing.assert_array_equal(again.closes, bank.closes)
    assert create_bank(TODAY, 10, seed=8).bookings != again.bookings


@pytest.mark.parametrize("portfolios", [0, 1, 5, 50])
def test_a_smaller_bank_keeps_a_client_of_every_advisor(bank: Bank, portfolios: int) -> None:
    small = create_bank(TODAY, portfolios)
    assert small.accounts == bank.accounts[:portfolios]
    assert len({advisor for advisor, _ in small.assignments}) == 3
    clients = {person.id for person in small.people if person.role == "client"}
    assert {client for _, client in small.assignments} == clients
    assert {account.client_id for account in small.accounts} <= clients


def test_a_larger_bank_adds_clients_who_deposit_and_buy(bank: Bank) -> None:
    large = create_bank(TODAY, 301)
    assert large.accounts[:84] == bank.accounts
    assert len(large.accounts) == 301
    added = {account.iboss_account_id for account in large.accounts[84:]}
    assert {booking.type for booking in large.bookings if booking.iboss_account_id in added} == {"deposit", "buy"}
    assert sum(person.password is not None for person in large.people) == 9
    assert len({person.email for person in large.people}) == len(large.people)


def test_a_negative_number_of_portfolios_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 portfolios"):
        create_bank(TODAY, -1)


def test_extra_instruments_are_held_by_every_portfolio() -> None:
    extra = (
        ExtraInstrument("USD/JPY", "JPY", 150.0, "fx", "USD"),
        ExtraInstrument("BTC", "USD", 61_234.567),
        ExtraInstrument("7203", "JPY", 2_700.0),
    )
    bank = create_bank(TODAY, 10, extra)
    for bookings in bookings_by_account(bank).values():
        bought = {booking.symbol: booking for booking in bookings if booking.type == "buy"}
        assert bought["BTC"].price == Decimal("61234.567")
        assert float(bought["7203"].rate_to_base) > 0
        assert "USD/JPY" not in bought
    assert [instrument.symbol for instrument in bank.instruments[-4:]] == ["USD/JPY", "BTC", "JPY", "7203"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [(ExtraInstrument("AAPL", "USD", 1.0), "AAPL already"), (ExtraInstrument("X", "JPY", 1.0), "no rate of JPY")],
)
def test_an_extra_instrument_that_cannot_be_is_refused(extra: ExtraInstrument, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_bank(TODAY, 1, (extra,))


def test_a_day_after_the_last_has_the_prices_of_the_last_close(bank: Bank) -> None:
    from alhambra.bank.market import create_market

    prices = DayPrices(create_market(TODAY))
    last = len(bank.dates) - 1
    assert prices.price("MSFT", last + 1) == prices.price("MSFT", last) == Decimal("233.43")
    assert prices.rate("EUR", "EUR", 0) == 1
