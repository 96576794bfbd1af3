"""Make the bookings of every account: what a client of a private bank does in two years.

An opening deposit is invested over some days; then come dividends and coupons with their taxes, splits, interest,
custody fees, later deposits and withdrawals, and trades; a few sell short. Prices and rates are the closes of the
day. The same seed makes the same bookings.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, time
from decimal import ROUND_FLOOR, Decimal
from typing import Protocol

import numpy as np

from alhambra.bank import catalogue
from alhambra.bank.account_ledger import CENT, ZERO, AccountLedger
from alhambra.bank.accounts import OpenedAccount
from alhambra.bank.market import Market
from alhambra.bank.model import BankBooking, ExtraInstrument, Instrument
from alhambra.bank.prices import DayPrices

QUARTER = 63  # business days
HALF_YEAR = 126
THOUSAND = Decimal("1E3")
INVESTING_DAYS = 8
CASH_RESERVE = Decimal("0.02")  # of equity: what trades leave for fees and withdrawals
CUSTODY_FEE = Decimal("0.0006")  # of equity, a quarter
CASH_INTEREST = Decimal("0.0025")  # of base cash, a quarter
WITHHOLDING_TAX = Decimal("0.15")
DEPOSIT_RANGE = (400_000, 6_000_000)  # in US dollars
REPLAY_HOLDING = Decimal(50_000)  # of an extra instrument, in its currency
TODAY_OPENS = time(0, 1, tzinfo=UTC)  # of today's trades, so that they are in the past whenever the bank is opened
TRADES_TODAY_EVERY = 6
SHORT_SELLER = "Conviction"  # the strategy of those who decide for themselves


@dataclass(frozen=True, slots=True)
class Maker:
    """Hold what the making of bookings shares between accounts."""

    today: date
    market: Market
    extra: Sequence[ExtraInstrument]
    seed: int
    instruments: Mapping[str, Instrument]
    prices: DayPrices
    payers: Mapping[int, Sequence[str]]
    by_class: Mapping[str, Sequence[Instrument]]


class _Schedule(Protocol):
    def __call__(self, maker: Maker, ledger: AccountLedger, opened: OpenedAccount, random: np.random.Generator) -> None:
        """Make the bookings of an account."""


def create_bookings(
    today: date, market: Market, accounts: Sequence[OpenedAccount], extra: Sequence[ExtraInstrument], seed: int
) -> tuple[BankBooking, ...]:
    """Make the bookings of all accounts, numbered from 1 in order of time."""
    instruments = {instrument.symbol: instrument for instrument in market.instruments}
    by_class = _by_class(market, extra)
    maker = Maker(today, market, extra, seed, instruments, DayPrices(market), _payers(market), by_class)
    made = [booking for number, opened in enumerate(accounts) for booking in _account_bookings(maker, number, opened)]
    made.sort(key=lambda booking: (booking.booked_at, booking.reference))
    return tuple(replace(booking, sequence=place) for place, booking in enumerate(made, 1))


def _by_class(market: Market, extra: Sequence[ExtraInstrument]) -> dict[str, list[Instrument]]:
    """Return the instruments of the catalogue by asset class."""
    extras = {one.symbol for one in extra}
    found: dict[str, list[Instrument]] = defaultdict(list)
    for instrument in market.instruments:
        if instrument.symbol not in extras:
            found[instrument.asset_class].append(instrument)
    return found


def _payers(market: Market) -> dict[int, list[str]]:
    """Return which instruments pay on which day: shares each quarter, the others each half-year."""
    payers: dict[int, list[str]] = defaultdict(list)
    for instrument in market.instruments:
        if market.income[instrument.symbol] > 0:
            every = _payments_every(instrument)
            for day in range(5 + instrument.id * 7 % every, len(market.dates), every):
                payers[day].append(instrument.symbol)
    return payers


def _payments_every(instrument: Instrument) -> int:
    return QUARTER if instrument.asset_class == "equity" else HALF_YEAR


def _account_bookings(maker: Maker, number: int, opened: OpenedAccount) -> list[BankBooking]:
    random = np.random.default_rng([maker.seed, 2, number])
    ledger = AccountLedger(opened.account, maker.instruments, maker.prices)
    schedule: _Schedule = _recent_client if opened.generated else _two_years
    schedule(maker, ledger, opened, random)
    if number % TRADES_TODAY_EVERY == 0 and not opened.generated:
        ledger.open_day(len(maker.market.dates), maker.today, TODAY_OPENS)
        _trade(ledger, random)
        _trade(ledger, random)
    return ledger.bookings


def _recent_client(maker: Maker, ledger: AccountLedger, opened: OpenedAccount, random: np.random.Generator) -> None:
    """Open with deposits in base currency and in dollars, and buy in these, without an exchange."""
    ledger.open_day(opened.day, opened.account.opened_on)
    currencies = {opened.account.base_currency, "USD"}
    deposit = _amount(maker, opened, random)
    for currency in sorted(currencies):
        in_base = maker.prices.rate(currency, opened.account.base_currency, opened.day)
        ledger.move_cash("deposit", deposit / len(currencies) / in_base, currency, "Opening deposit")
    _hold_extra(maker, ledger)
    for symbol, share in _targets(maker, opened, random):
        if maker.instruments[symbol].currency in currencies:
            budget = min(deposit * share, _base_cash_of(maker, ledger, opened, maker.instruments[symbol].currency))
            ledger.buy(symbol, budget)


def _two_years(maker: Maker, ledger: AccountLedger, opened: OpenedAccount, random: np.random.Generator) -> None:
    """Live through every day from the first to the last close."""
    deposit = _amount(maker, opened, random)
    targets = _targets(maker, opened, random)
    for day in range(opened.day, len(maker.market.dates)):
        ledger.open_day(day, maker.market.dates[day])
        _split(ledger, day)
        age = day - opened.day
        if age == 0:
            ledger.move_cash("deposit", deposit, opened.account.base_currency, "Opening deposit")
            _hold_extra(maker, ledger)
        if age < INVESTING_DAYS:
            for symbol, share in targets[age::INVESTING_DAYS]:
                ledger.buy(symbol, deposit * share)
        elif age == INVESTING_DAYS and opened.strategy.name == SHORT_SELLER:
            ledger.sell_short(catalogue.SHORT_SYMBOL, deposit * Decimal(catalogue.SHORT_SHARE))
        _pay_income(maker, ledger, opened, day)
        if age and age % QUARTER == 0:
            _charge(ledger)
        elif age > INVESTING_DAYS:
            _act(ledger, deposit, random)


def _split(ledger: AccountLedger, day: int) -> None:
    for symbol, (split_day, ratio) in catalogue.SPLITS.items():
        if day == split_day and ledger.held.get(symbol):
            ledger.split(symbol, Decimal(ratio))


def _act(ledger: AccountLedger, deposit: Decimal, random: np.random.Generator) -> None:
    """Do what chance brings: a trade about every three weeks, a flow about every nine months."""
    chance = random.random()
    base = ledger.account.base_currency
    if chance < 0.06:
        _trade(ledger, random)
    elif chance < 0.063:
        amount = (deposit * Decimal(int(random.integers(4, 16))) / 100).quantize(THOUSAND)
        ledger.move_cash("deposit", amount, base, "Transfer in")
        ledger.buy(str(random.choice(sorted(ledger.held))), amount * Decimal("0.8"))
    elif chance < 0.0645:
        spare = ledger.cash[base] - ledger.equity() * CASH_RESERVE
        amount = min(spare, deposit / 10).quantize(THOUSAND, ROUND_FLOOR)
        if amount > 0:
            ledger.move_cash("withdrawal", -amount, base, "Transfer out")


def _trade(ledger: AccountLedger, random: np.random.Generator) -> None:
    """Add to a holding from spare cash, or take from it."""
    symbol = str(random.choice(sorted(ledger.held)))
    spare = ledger.cash[ledger.account.base_currency] - ledger.equity() * CASH_RESERVE
    if spare > 0 and random.random() < 0.6:
        ledger.buy(symbol, spare * Decimal(int(random.integers(20, 70))) / 100)
    else:
        ledger.sell(symbol, int(random.integers(5, 30)) / 100)


def _pay_income(maker: Maker, ledger: AccountLedger, opened: OpenedAccount, day: int) -> None:
    """Pay a dividend, distribution or coupon on what is held, and withhold tax on US dividends from others."""
    for symbol in maker.payers.get(day, ()):
        if ledger.held.get(symbol, ZERO) <= 0:
            continue
        instrument = maker.instruments[symbol]
        yearly = Decimal(repr(maker.market.income[symbol])) / 100
        part = Decimal(_payments_every(instrument)) / (4 * QUARTER)
        coupon = instrument.asset_class == "bond"
        amount = ((ledger.held[symbol] if coupon else ledger.worth(symbol)) * yearly * part).quantize(CENT)
        if amount <= 0:
            continue
        kind = "coupon" if coupon else "dividend"
        ledger.move_cash(kind, amount, instrument.currency, f"{kind.capitalize()} {instrument.name}", symbol)
        if instrument.asset_class == "equity" and opened.client.country != "US":
            text = f"Withholding tax, dividend {instrument.name}"
            ledger.move_cash("tax", -(amount * WITHHOLDING_TAX), instrument.currency, text, symbol)


def _charge(ledger: AccountLedger) -> None:
    """Pay interest on base cash, and take the custody fee of the quarter as far as cash reaches."""
    base = ledger.account.base_currency
    interest = (ledger.cash[base] * CASH_INTEREST).quantize(CENT)
    if interest > 0:
        ledger.move_cash("interest", interest, base, "Credit interest of the quarter")
    fee = min(ledger.equity() * CUSTODY_FEE, ledger.cash[base]).quantize(CENT)
    if fee > 0:
        ledger.move_cash("fee", -fee, base, "Custody fee of the quarter")


def _hold_extra(maker: Maker, ledger: AccountLedger) -> None:
    """Deposit what the extra instruments cost, and buy them."""
    for extra in maker.extra:
        if extra.asset_class in ("fx", "index"):
            continue
        price = Decimal(repr(extra.first_price))
        quantity = max(REPLAY_HOLDING / price, CENT).quantize(CENT)
        ledger.move_cash("deposit", quantity * price, extra.currency, f"Deposit for {extra.symbol}")
        ledger.buy_exactly(extra.symbol, quantity)


def _base_cash_of(maker: Maker, ledger: AccountLedger, opened: OpenedAccount, currency: str) -> Decimal:
    """Return the cash of a currency in base currency."""
    return ledger.cash[currency] * maker.prices.rate(currency, opened.account.base_currency, opened.day)


def _amount(maker: Maker, opened: OpenedAccount, random: np.random.Generator) -> Decimal:
    """Draw the opening deposit, in thousands of base currency; small ones are more frequent than large ones."""
    low, high = (math.log(bound) for bound in DEPOSIT_RANGE)
    dollars = Decimal(int(math.exp(random.uniform(low, high))))
    rate = maker.prices.rate("USD", opened.account.base_currency, opened.day)
    return (dollars * rate).quantize(THOUSAND)


def _targets(maker: Maker, opened: OpenedAccount, random: np.random.Generator) -> list[tuple[str, Decimal]]:
    """Choose instruments by the strategy and return each with its share of the deposit.

    Home currency is preferred three to one, so that portfolios of different currencies differ.
    """
    chosen: list[tuple[str, Decimal]] = []
    mix = opened.strategy.mix
    for asset_class, share in mix.items():
        symbols = maker.by_class[asset_class]
        likely = np.array([3.0 if one.currency == opened.account.base_currency else 1.0 for one in symbols])
        count = max(1, min(len(symbols), round(opened.strategy.holdings * share / sum(mix.values()))))
        picked = random.choice(len(symbols), count, replace=False, p=likely / likely.sum())
        weights = random.uniform(0.6, 1.4, count)
        weights *= share / weights.sum()
        chosen += [
            (symbols[int(place)].symbol, Decimal(repr(round(float(weight), 4))))
            for place, weight in zip(picked, weights, strict=True)
        ]
    return chosen
