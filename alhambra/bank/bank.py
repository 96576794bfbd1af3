"""Make the whole demonstration bank: pure, and the same for the same day and seed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from alhambra.bank import catalogue
from alhambra.bank.account_ledger import BOOKS_OPEN
from alhambra.bank.accounts import GENERATED_ROUNDS, OpenedAccount, open_accounts
from alhambra.bank.bookings import create_bookings
from alhambra.bank.market import create_market
from alhambra.bank.model import Bank, BankSplit, ExtraInstrument, IbossUser, Person
from alhambra.bank.people import SERVICE_USER, People, create_iboss_user, create_people


def create_bank(
    today: date, portfolios: int | None = None, extra: Sequence[ExtraInstrument] = (), seed: int = 7
) -> Bank:
    """Make the bank as of `today` (the UTC date), with closes up to the last business day before it.

    Without `portfolios` it has 42 named clients with 84 portfolios. With more, clients are generated who came
    in the last month; with fewer, the first so many portfolios are there, and no client without one but the
    first client of each advisor. `extra` are instruments beside the catalogue, held by every portfolio.
    Raises `ValueError` for a negative number of portfolios, and for an extra instrument whose symbol is taken
    or whose currency has no rate against the dollar.
    """
    if portfolios is not None and portfolios < 0:
        raise ValueError(f"a bank cannot have {portfolios} portfolios")
    market = create_market(today, extra, seed)
    people, opened = _open_as_many(market.dates, portfolios)
    clients = _clients_kept(people, opened)
    assignments = _assign(people, clients)
    return Bank(
        today=today,
        people=(*people.staff, *clients),
        assignments=assignments,
        instruments=market.instruments,
        dates=market.dates,
        closes=market.closes,
        accounts=tuple(one.account for one in opened),
        bookings=create_bookings(today, market, opened, extra, seed),
        iboss_users=(SERVICE_USER, *_iboss_users(clients, opened)),
        splits=_splits(market.dates),
    )


def _open_as_many(dates: tuple[date, ...], portfolios: int | None) -> tuple[People, tuple[OpenedAccount, ...]]:
    people = create_people()
    opened = open_accounts(people.clients, (), dates)
    if portfolios is None:
        return people, opened
    missing = portfolios - len(opened)
    if missing > 0:
        named = len(people.clients)
        people = create_people(-(-missing // GENERATED_ROUNDS))
        opened = open_accounts(people.clients[:named], people.clients[named:], dates)
    return people, opened[:portfolios]


def _clients_kept(people: People, opened: Sequence[OpenedAccount]) -> tuple[Person, ...]:
    """Return the clients with a portfolio, and always the first client of each advisor."""
    owners = {one.client.id for one in opened}
    always = len(people.advisors)
    return tuple(client for place, client in enumerate(people.clients) if client.id in owners or place < always)


def _assign(people: People, clients: Sequence[Person]) -> tuple[tuple[UUID, UUID], ...]:
    """Give the clients to the advisors in turn."""
    advisors = people.advisors
    return tuple((advisors[place % len(advisors)].id, client.id) for place, client in enumerate(clients))


def _splits(dates: Sequence[date]) -> tuple[BankSplit, ...]:
    """Return the splits of the catalogue; they are booked as the books open, before anything else of the day."""
    return tuple(
        BankSplit(symbol, dates[day], datetime.combine(dates[day], BOOKS_OPEN), Decimal(ratio))
        for symbol, (day, ratio) in catalogue.SPLITS.items()
    )


def _iboss_users(clients: Sequence[Person], opened: Sequence[OpenedAccount]) -> list[IbossUser]:
    """Make an IBOSS login for each client who can sign in, which sees that client's accounts."""
    return [
        create_iboss_user(client, tuple(one.account.iboss_account_id for one in opened if one.client.id == client.id))
        for client in clients
        if client.password is not None
    ]
