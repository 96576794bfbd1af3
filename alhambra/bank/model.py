"""Define what the demonstration bank consists of: frozen records without behaviour.

The seed writes people, accounts, instruments and history to PostgreSQL; the IBOSS simulator answers
from the same records. Whoever builds a bank of their own (a test, a replay) fills these in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import numpy.typing as npt

BOOKING_TYPES = (
    "deposit",
    "withdrawal",
    "buy",
    "sell",
    "fx_in",
    "fx_out",
    "dividend",
    "coupon",
    "interest",
    "fee",
    "tax",
    "split",
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """Describe what has a price; `id`, from 1, is its number on the wire and in the database.

    `asset_class` is one of equity, etf, bond, fund, cash, fx, index, crypto. The price of an fx instrument is
    units of `currency` for one unit of `base_currency`, which is None for everything else.
    `price_factor` is the value of one unit at price 1: 0.01 for bonds quoted in percent. `exchange` is the MIC of
    where it trades, `24/5` for currencies, `24/7` for crypto-assets, None for cash and what trades nowhere.
    """

    id: int
    symbol: str
    name: str
    asset_class: str
    sector: str
    country: str
    currency: str
    base_currency: str | None = None
    price_factor: float = 1.0
    tick_size: float = 0.01
    history_source: str = ""
    exchange: str | None = None


@dataclass(frozen=True, slots=True)
class ExtraInstrument:
    """Ask for an instrument beside the demonstration's own, as `alhambra verify replay` does.

    It has `first_price` on every day. Unless it is an fx or index instrument every portfolio holds it,
    bought at that price on its first day; where its currency is none of the bank's, a cash instrument of
    that currency comes with it, and a rate against USD must come before it.
    """

    symbol: str
    currency: str
    first_price: float
    asset_class: str = "equity"
    base_currency: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Describe a user; `password` is None for those who cannot sign in."""

    id: UUID
    email: str
    password: str | None
    first_name: str
    last_name: str
    phone: str
    country: str
    language: str
    role: str


@dataclass(frozen=True, slots=True)
class Account:
    """Describe a custody account and the portfolio in it, whose day begins at midnight of `time_zone`."""

    portfolio_id: UUID
    account_id: UUID
    client_id: UUID
    account_number: str
    iboss_account_id: str
    name: str
    account_type: str
    base_currency: str
    opened_on: date
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class BankBooking:
    """Record one booking of an IBOSS account, unique by (reference, version).

    `sequence` numbers all bookings of the bank from 1 in order of `booked_at` (timezone-aware).
    `amount` is the signed effect on cash in `currency`; `quantity` the signed effect on the position in
    `symbol`, at `price` in the instrument's currency (for fx, the rate, without symbol or quantity).
    `rate_to_base` is units of the account's base currency for one unit of `currency`. Of a split, `quantity` is
    what the position changes by, and the amount is zero.
    """

    sequence: int
    iboss_account_id: str
    reference: str
    version: int
    type: str
    booked_at: datetime
    symbol: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal
    currency: str
    rate_to_base: Decimal
    description: str


@dataclass(frozen=True, slots=True)
class BankSplit:
    """Say that from `effective_at` on one old share is `ratio` new ones; `ex_date` is the first with a new close."""

    symbol: str
    ex_date: date
    effective_at: datetime
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class IbossUser:
    """Describe a login at IBOSS; `accounts` are IBOSS account ids, None means all of them."""

    username: str
    password: str
    accounts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Bank:
    """Hold the whole demonstration bank as of `today`.

    `assignments` are pairs of advisor and client. `dates` are the business days of the history,
    ascending, the last one before `today`. `closes` is float64 [len(dates), len(instruments)] in the
    instruments' currencies, NaN where absent. `bookings` are in order of `sequence`; `splits` are those of the history.
    """

    today: date
    people: tuple[Person, ...]
    assignments: tuple[tuple[UUID, UUID], ...]
    instruments: tuple[Instrument, ...]
    dates: tuple[date, ...]
    closes: npt.NDArray[np.float64]
    accounts: tuple[Account, ...]
    bookings: tuple[BankBooking, ...]
    iboss_users: tuple[IbossUser, ...]
    splits: tuple[BankSplit, ...] = ()
