"""Serve a tiny bank through the real IBOSS simulator, and write SOAP answers by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import httpx
import numpy as np
import uvicorn
from fakes import eventually
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alhambra.bank.model import Account, Bank, BankBooking, IbossUser, Instrument
from alhambra.iboss_sim.app import create_app, utc_now
from alhambra.iboss_sim.controls import Controls
from alhambra.iboss_sim.ledger import create_ledger, open_ledger
from ingest.iboss.client import IbossAddress, Retries

API_KEY = "tests-api-key"
SERVICE = IbossUser("service", "tests-service", None)
CLIENT = IbossUser("client", "tests-client", ("IB2",))
QUICK = Retries(attempts=4, wait_initial_s=0.01, wait_max_s=0.05)
SOAP_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
LONG_AGO = datetime(2025, 3, 3, 12, tzinfo=UTC)

INSTRUMENTS = (
    Instrument(0, "USD", "US dollar", "cash", "Cash", "US", "USD"),
    Instrument(1, "EUR", "Euro", "cash", "Cash", "DE", "EUR"),
    Instrument(2, "EUR/USD", "Euro in dollars", "fx", "Currency", "US", "USD", "EUR"),
    Instrument(3, "IBM", "A share with a name like a currency", "equity", "Technology", "US", "USD"),
    Instrument(4, "BOND", "A bond in percent", "bond", "Government", "DE", "EUR", price_factor=0.01),
)


def tiny_bank(accounts: int = 3) -> Bank:
    """Make a bank whose accounts each deposited 10,000 dollars and bought 10 IBM at 100."""
    ids = [f"IB{number}" for number in range(1, accounts + 1)]
    bookings: list[BankBooking] = []
    for one in ids:
        bookings.append(_booking(len(bookings) + 1, one, "deposit", Decimal(10_000)))
        bookings.append(_booking(len(bookings) + 1, one, "buy", Decimal(-1_000), "IBM", Decimal(10), Decimal(100)))
    return Bank(
        today=date(2026, 3, 3),
        people=(),
        assignments=(),
        instruments=INSTRUMENTS,
        dates=(date(2026, 3, 2),),
        closes=np.array([[1.0, 1.0, 1.25, 120.0, 98.0]]),
        accounts=tuple(_account(one) for one in ids),
        bookings=tuple(bookings),
        iboss_users=(SERVICE, CLIENT),
    )


def portfolio_id(account: str) -> UUID:
    """Name the portfolio of an account of the tiny bank."""
    return uuid5(NAMESPACE_DNS, f"portfolio.{account}")


async def seed_tiny_bank(connection: Any, bank: Bank) -> None:
    """Write what the ledger refers to: currencies, one client, accounts, portfolios and instruments."""
    owner = uuid5(NAMESPACE_DNS, "owner")
    await connection.execute("insert into currencies values ('USD', 'US dollar', 2), ('EUR', 'Euro', 2)")
    await connection.execute(
        "insert into users (id, email, first_name, last_name) values ($1, 'owner@example.com', 'A', 'B')", owner
    )
    for one in bank.accounts:
        await connection.execute(
            "insert into accounts (id, user_id, account_number, account_type) values ($1, $2, $3, 'custody')",
            one.account_id,
            owner,
            one.account_number,
        )
        await connection.execute(
            "insert into portfolios (id, user_id, account_id, iboss_account_id, name, base_currency) "
            "values ($1, $2, $3, $4, $4, 'USD')",
            one.portfolio_id,
            owner,
            one.account_id,
            one.iboss_account_id,
        )
    for one in bank.instruments:
        await seed_instrument(connection, one)


async def seed_instrument(connection: Any, one: Instrument) -> None:
    """Write one instrument."""
    await connection.execute(
        "insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8)",
        *(one.id, one.symbol, one.name, one.asset_class, one.sector, one.country, one.currency, one.base_currency),
    )


@dataclass(frozen=True, slots=True)
class Simulator:
    """Hold a running simulator: where it is and how to change it."""

    url: str
    http: httpx.AsyncClient

    def address(self, user: IbossUser = SERVICE, api_key: str = API_KEY) -> IbossAddress:
        """Return its address for a user."""
        return IbossAddress(f"{self.url}/soap", user.username, user.password, api_key)

    async def control(self, **order: Any) -> Any:
        """Change it and return what it answers."""
        answer = await self.http.post(f"{self.url}/control", json=order)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def trade(self, account: str, symbol: str, quantity: str, price: str) -> str:
        """Book one trade and return its reference."""
        order = {"account": account, "symbol": symbol, "quantity": quantity, "price": price}
        return str((await self.control(trade=order))["reference"])


@asynccontextmanager
async def open_simulator(
    folder: Path, bank: Bank | None = None, now: Callable[[], datetime] = utc_now, **settings: Any
) -> AsyncIterator[Simulator]:
    """Run the simulator on a port of its own; the file in `folder` is kept when it is there already."""
    path = folder / "iboss.sqlite3"
    if not path.exists():
        create_ledger(path, bank or tiny_bank())
    with open_ledger(path) as ledger:
        app = create_app(ledger, Controls(**settings), API_KEY, now=now)
        async with open_http(app) as url, httpx.AsyncClient() as http:
            yield Simulator(url, http)


@asynccontextmanager
async def open_http(app: Starlette, listener: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve an application on loopback and yield its address."""
    with listener or socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[bound]), name="test server")
        try:
            await eventually(lambda: server.started, "the test server listens")
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def open_service(serve: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[IbossAddress]:
    """Serve whatever a test answers, in place of IBOSS, and yield its address."""
    app = Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST"])])
    async with open_http(app) as url:
        yield IbossAddress(f"{url}/soap", "user", "password", "key")


def envelope(body: str) -> bytes:
    """Wrap a body in a SOAP envelope."""
    return f'<s:Envelope xmlns:s="{SOAP_ENVELOPE}"><s:Body>{body}</s:Body></s:Envelope>'.encode()


def transaction(reference: str = "R1", amount: str = "-1000", **more: str) -> str:
    """Write a booking as IBOSS does; further elements by name replace those given."""
    fields = {
        "AccountId": "IB1",
        "Reference": reference,
        "Version": "1",
        "Type": "buy",
        "BookedAt": "2026-03-02T15:30:00.5Z",
        "Symbol": "IBM",
        "Quantity": "10",
        "Price": "100",
        "Amount": amount,
        "Currency": "USD",
        "RateToBase": "1",
    } | more
    return f"<Transaction>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</Transaction>"


def transactions(*lines: str, cursor: str = "s9", more: str = "false") -> bytes:
    """Write an answer of GetTransactions."""
    tail = f"<NextCursor>{cursor}</NextCursor><More>{more}</More>"
    return envelope(f"<GetTransactionsResponse>{''.join(lines)}{tail}</GetTransactionsResponse>")


def _account(account: str) -> Account:
    return Account(
        portfolio_id=portfolio_id(account),
        account_id=uuid5(NAMESPACE_DNS, f"account.{account}"),
        client_id=uuid5(NAMESPACE_DNS, "owner"),
        account_number=f"AL{account}",
        iboss_account_id=account,
        name="Growth",
        account_type="custody",
        base_currency="USD",
        opened_on=date(2025, 3, 3),
    )


def _booking(
    sequence: int,
    account: str,
    kind: str,
    amount: Decimal,
    symbol: str | None = None,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
) -> BankBooking:
    reference = f"{account}-{sequence}"
    one = Decimal(1)
    return BankBooking(
        sequence, account, reference, 1, kind, LONG_AGO, symbol, quantity, price, amount, "USD", one, kind.title()
    )
