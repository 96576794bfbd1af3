"""Keep the simulated back office in a SQLite file: accounts, users, instruments and every booking.

Positions are never stored: they are derived from the bookings, as an accountant would, and remembered by
version. The version of an account is when they last changed, in microseconds: by its last booking, or when its day
began and quantities became opening ones. So versions of all accounts grow with time, though their days begin at
different hours, and who asks for what changed after the newest version seen misses nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alhambra.bank.model import Bank, BankBooking, BankSplit
from alhambra.iboss_sim.days import AHEAD, day_began, find_trading_dates, microseconds
from alhambra.iboss_sim.faults import IbossFault
from analytics.positions import DerivedPosition, derive_positions

FORMAT = 2

SCHEMA = """
create table format (version integer not null);
create table accounts (
    id text primary key, name text, type text, base_currency text, time_zone text, changed_us integer);
create table users (username text primary key, salt blob, digest blob, accounts text, expired integer default 0);
create table instruments (
    symbol text primary key, asset_class text, currency text, price_factor real, close real, exchange text);
create table trading_dates (date text primary key);
create table bookings (
    sequence integer primary key, account text not null, reference text not null, version integer not null,
    type text not null, booked_at text not null, symbol text, quantity text, price text, amount text not null,
    currency text not null, rate_to_base text not null, description text not null, unique (reference, version));
create index bookings_account on bookings (account, sequence);
create index bookings_symbol on bookings (symbol);
create index accounts_changed on accounts (changed_us);
"""
# Made on opening as well: in files of before there were any it is absent.
SPLITS_SCHEMA = """
create table if not exists splits (
    sequence integer primary key, reference text unique not null, symbol text not null, ex_date text not null,
    effective_at text not null, ratio text not null, booked integer not null);
"""


@dataclass(frozen=True, slots=True)
class SimulatedAccount:
    """Hold an account with the version of its positions, and when the day of its opening quantities began."""

    id: str
    name: str
    type: str
    base_currency: str
    time_zone: str
    version: int
    day_began: datetime


@dataclass(frozen=True, slots=True)
class SimulatedInstrument:
    """Hold what a trade needs to know; `close` is the newest one known when the file was made."""

    symbol: str
    asset_class: str
    currency: str
    price_factor: float
    close: float
    exchange: str | None = None


def create_ledger(path: Path, bank: Bank) -> None:
    """Write the file from a bank; it appears at `path` only when it is complete."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _connect(draft) as connection:
        connection.executescript(SCHEMA + SPLITS_SCHEMA)
        connection.execute("insert into format values (?)", (FORMAT,))
        connection.executemany("insert into accounts values (?, ?, ?, ?, ?, ?)", _account_rows(bank))
        connection.executemany("insert into users values (?, ?, ?, ?, 0)", _user_rows(bank))
        connection.executemany("insert into instruments values (?, ?, ?, ?, ?, ?)", _instrument_rows(bank))
        connection.executemany(INSERT_BOOKING, (_booking_row(booking) for booking in bank.bookings))
        for split in bank.splits:
            connection.execute(INSERT_SPLIT, (*_split_row(split), True))
        _add_trading_dates(connection, bank.today)
        connection.commit()
    draft.replace(path)


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Open the file; raises `ValueError` when it is of another version.

    Where the trading dates in it end within a month, those of a year are added.
    """
    with _connect(path) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        (version,) = connection.execute("select version from format").fetchone()
        if version != FORMAT:
            raise ValueError(f"{path} has format {version}, this simulator writes {FORMAT}: remove it to begin anew")
        connection.executescript(SPLITS_SCHEMA)
        today = datetime.now(UTC).date()
        (last,) = connection.execute("select max(date) from trading_dates").fetchone()
        if last is not None and date.fromisoformat(last) < today + AHEAD / 10:
            _add_trading_dates(connection, today)
        dates = connection.execute("select date from trading_dates").fetchall()
        yield Ledger(connection, frozenset(date.fromisoformat(row[0]) for row in dates))


class Ledger:
    """Answer from the file and book into it. Not for several threads at once: callers take turns."""

    def __init__(self, connection: sqlite3.Connection, trading_dates: frozenset[date]) -> None:
        self._connection = connection
        self._trading_dates = trading_dates
        self._derived: dict[str, tuple[int, tuple[DerivedPosition, ...]]] = {}

    def user_accounts(self, username: str, password: str) -> tuple[str, ...] | None:
        """Check a login and return the accounts it sees, None for all; raises the fitting fault."""
        row = self._one("select salt, digest, accounts, expired from users where username = ?", username)
        if row is None or not hmac.compare_digest(row[1], _digest(password, row[0])):
            raise IbossFault("InvalidCredentials", "user name or password is wrong")
        if row[3]:
            raise IbossFault("PasswordExpired", "renew the password first")
        return None if row[2] is None else tuple(msgspec.json.decode(row[2]))

    def expire_password(self, username: str) -> None:
        """Let a user's password expire."""
        self._connection.execute("update users set expired = 1 where username = ?", (username,))
        self._connection.commit()

    def accounts(self, after: str, changed_after: int, limit: int, now: datetime) -> list[SimulatedAccount]:
        """Return accounts in order of id after one, whose positions have a version above `changed_after`."""
        zones = [row[0] for row in self._connection.execute("select distinct time_zone from accounts")]
        days = {zone: day_began(now, zone, self._trading_dates) for zone in zones}
        began = msgspec.json.encode({zone: microseconds(day) for zone, day in days.items()}).decode()
        rows = self._connection.execute(
            "select a.id, a.name, a.type, a.base_currency, a.time_zone, max(a.changed_us, z.value) as version"
            " from accounts a join json_each(?) z on z.key = a.time_zone"
            " where a.id > ? and version > ? order by a.id limit ?",
            (began, after, changed_after, limit),
        )
        return [_account(row, row[5], days[row[4]]) for row in rows]

    def account(self, account: str, now: datetime) -> SimulatedAccount:
        """Return one account; raises the fault AccessDenied when there is no such."""
        query = "select id, name, type, base_currency, time_zone, changed_us from accounts where id = ?"
        row = self._one(query, account)
        if row is None:
            raise IbossFault("AccessDenied", f"account {account} is not among yours")
        day = day_began(now, row[4], self._trading_dates)
        return _account(row, max(row[5], microseconds(day)), day)

    def positions(self, account: SimulatedAccount) -> tuple[DerivedPosition, ...]:
        """Return the positions of an account, cash among them."""
        known = self._derived.get(account.id)
        if known is None or known[0] != account.version:
            bookings = self._bookings("account = ? order by sequence", account.id)
            derived = derive_positions(bookings, account.day_began)
            known = self._derived[account.id] = (account.version, derived)
        return known[1]

    def bookings(self, accounts: Sequence[str] | None, after: int, limit: int) -> list[BankBooking]:
        """Return bookings by sequence after one, of the accounts given or of all."""
        if accounts is None:
            return self._bookings("sequence > ? order by sequence limit ?", after, limit)
        return self._bookings(
            "sequence > ? and account in (select value from json_each(?)) order by sequence limit ?",
            after,
            msgspec.json.encode(accounts).decode(),
            limit,
        )

    def account_ids(self) -> list[str]:
        """Return the ids of all accounts."""
        return [row[0] for row in self._connection.execute("select id from accounts order by id")]

    def holders(self, symbol: str) -> dict[str, Decimal]:
        """Return what each account holds of an instrument, negative when short."""
        held: dict[str, Decimal] = {}
        rows = self._connection.execute("select account, quantity from bookings where symbol = ?", (symbol,))
        for account, quantity in rows:
            held[account] = held.get(account, Decimal(0)) + Decimal(quantity or 0)
        return {account: quantity for account, quantity in held.items() if quantity}

    def instruments(self) -> dict[str, SimulatedInstrument]:
        """Return the instruments by symbol."""
        rows = self._connection.execute(
            "select symbol, asset_class, currency, price_factor, close, exchange from instruments"
        )
        return {row[0]: SimulatedInstrument(*row) for row in rows}

    def cash_symbols(self) -> frozenset[str]:
        """Return the symbols of the cash instruments, which answers list apart."""
        return frozenset(one.symbol for one in self.instruments().values() if one.asset_class == "cash")

    def book(self, booking: BankBooking) -> BankBooking:
        """Book with the next sequence and a reference made from it; return what was booked."""
        (last,) = self._connection.execute("select coalesce(max(sequence), 0) from bookings").fetchone()
        booked = replace(booking, sequence=last + 1, reference=booking.reference or f"SIM{last + 1:010d}")
        (newest,) = self._connection.execute("select max(changed_us) from accounts").fetchone()
        changed = max(microseconds(booked.booked_at), newest) + 1  # newer than what was answered in this microsecond
        with self._connection:
            self._connection.execute(INSERT_BOOKING, _booking_row(booked))
            self._connection.execute(
                "update accounts set changed_us = ? where id = ?", (changed, booked.iboss_account_id)
            )
        return booked

    def has_booking(self, reference: str) -> bool:
        """Say whether there is a booking of this reference."""
        return self._one("select 1 from bookings where reference = ?", reference) is not None

    def splits(self, after: int, limit: int) -> list[tuple[int, str, BankSplit]]:
        """Return (sequence, reference, split) of the splits announced after a sequence, in their order."""
        rows = self._connection.execute(f"{_SPLITS} where sequence > ? order by sequence limit ?", (after, limit))
        return [(row[0], row[1], _split(row[2:])) for row in rows]

    def announce(self, split: BankSplit) -> str:
        """Take down a split that will be booked, and return the reference it gets."""
        with self._connection:
            self._connection.execute(INSERT_SPLIT, (*_split_row(split), False))
        return _split_reference(split)

    def due_splits(self, now: datetime) -> list[tuple[str, BankSplit]]:
        """Return (reference, split) of those that have taken effect and are not booked, in that order."""
        rows = self._connection.execute(f"{_SPLITS} where not booked").fetchall()
        found = [(row[1], _split(row[2:])) for row in rows]
        due = [(reference, split) for reference, split in found if split.effective_at <= now]
        return sorted(due, key=lambda one: one[1].effective_at)

    def settle_split(self, reference: str, split: BankSplit) -> None:
        """Say that a split is booked, and put the close of its instrument into new shares."""
        with self._connection:
            self._connection.execute("update splits set booked = 1 where reference = ?", (reference,))
            self._connection.execute(
                "update instruments set close = close / ? where symbol = ?", (float(split.ratio), split.symbol)
            )

    def _bookings(self, where: str, *parameters: object) -> list[BankBooking]:
        rows = self._connection.execute(f"select * from bookings where {where}", parameters)  # noqa: S608  ours, above
        return [_booking(row) for row in rows]

    def _one(self, query: str, *parameters: object) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(query, parameters).fetchone()
        return found


INSERT_BOOKING = "insert into bookings values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_SPLIT = "insert into splits (reference, symbol, ex_date, effective_at, ratio, booked) values (?, ?, ?, ?, ?, ?)"
_SPLITS = "select sequence, reference, symbol, ex_date, effective_at, ratio from splits"


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        yield connection
    finally:
        connection.close()


def _account(row: Sequence[Any], version: int, began: datetime) -> SimulatedAccount:
    account, name, kind, base_currency, time_zone, *_ = row
    return SimulatedAccount(account, name, kind, base_currency, time_zone, version, began)


def _account_rows(bank: Bank) -> Iterator[tuple[object, ...]]:
    last = {booking.iboss_account_id: booking.booked_at for booking in bank.bookings}
    for one in bank.accounts:
        changed_at = last.get(one.iboss_account_id)
        changed = 0 if changed_at is None else microseconds(changed_at)
        yield one.iboss_account_id, one.name, one.account_type, one.base_currency, one.time_zone, changed


def _user_rows(bank: Bank) -> Iterator[tuple[object, ...]]:
    for user in bank.iboss_users:
        salt = secrets.token_bytes(16)
        accounts = None if user.accounts is None else msgspec.json.encode(user.accounts).decode()
        yield user.username, salt, _digest(user.password, salt), accounts


def _instrument_rows(bank: Bank) -> Iterator[tuple[object, ...]]:
    for column, one in enumerate(bank.instruments):
        known = bank.closes[:, column][np.isfinite(bank.closes[:, column])]
        close = float(known[-1]) if len(known) else 1.0
        yield one.symbol, one.asset_class, one.currency, one.price_factor, close, one.exchange


def _add_trading_dates(connection: sqlite3.Connection, today: date) -> None:
    rows = connection.execute("select distinct exchange from instruments where exchange is not null")
    dates = find_trading_dates([row[0] for row in rows], today)
    connection.executemany("insert or ignore into trading_dates values (?)", [(one.isoformat(),) for one in dates])
    connection.commit()


def _booking_row(booking: BankBooking) -> tuple[object, ...]:
    return (
        booking.sequence,
        booking.iboss_account_id,
        booking.reference,
        booking.version,
        booking.type,
        booking.booked_at.astimezone(UTC).isoformat(),
        booking.symbol,
        None if booking.quantity is None else str(booking.quantity),
        None if booking.price is None else str(booking.price),
        str(booking.amount),
        booking.currency,
        str(booking.rate_to_base),
        booking.description,
    )


def _booking(row: Sequence[str]) -> BankBooking:
    sequence, account, reference, version, kind, booked_at, symbol, quantity, price, amount, currency, rate, text = row
    return BankBooking(
        int(sequence),
        account,
        reference,
        int(version),
        kind,
        datetime.fromisoformat(booked_at),
        symbol,
        None if quantity is None else Decimal(quantity),
        None if price is None else Decimal(price),
        Decimal(amount),
        currency,
        Decimal(rate),
        text,
    )


def _split_reference(split: BankSplit) -> str:
    return f"SPLIT-{split.symbol}-{split.effective_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def _split_row(split: BankSplit) -> tuple[object, ...]:
    at = split.effective_at.astimezone(UTC).isoformat()
    return _split_reference(split), split.symbol, split.ex_date.isoformat(), at, str(split.ratio)


def _split(row: Sequence[str]) -> BankSplit:
    symbol, ex_date, effective_at, ratio = row
    return BankSplit(symbol, date.fromisoformat(ex_date), datetime.fromisoformat(effective_at), Decimal(ratio))


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**11, r=8, p=1)
