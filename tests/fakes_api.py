"""A small bank in the database, valuations for it as the stream would write them, and a web process to serve them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import numpy as np
import orjson
import uvicorn
from argon2 import PasswordHasher

from alhambra.ports import free_port
from api.__main__ import create_config
from api.app import WebProcess, create_app
from api.settings import ApiSettings
from db.live import LiveStore, Totals, TotalsLayout
from stream.messages import Valuation, ValuationRow

SignIn = Callable[[str], Awaitable[dict[str, str]]]
PASSWORD = "a password for tests"
SECRET = "a secret that only these tests know, and long enough for any algorithm of PyJWT"
EVENT_NS = 1_795_000_000_000_000_000
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # the encoded hash carries its own parameters

INSTRUMENTS = (
    # id, symbol, name, asset class, sector, country, currency, base currency
    (1, "AAPL", "Apple Inc.", "equity", "Technology", "US", "USD", None),
    (2, "NESN", "Nestle", "equity", "Consumer", "CH", "CHF", None),
    (3, "USD", "US dollar", "cash", "Cash", "US", "USD", None),
    (4, "EUR", "Euro", "cash", "Cash", "DE", "EUR", None),
    (5, "EUR/USD", "Euro in dollars", "fx", "Currency", "DE", "USD", "EUR"),
    (6, "USD/CHF", "Dollar in francs", "fx", "Currency", "US", "CHF", "USD"),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Name the people and portfolios of the small bank."""

    ana: UUID = field(default_factory=uuid4)
    ben: UUID = field(default_factory=uuid4)
    stranger: UUID = field(default_factory=uuid4)
    advisor: UUID = field(default_factory=uuid4)
    other_advisor: UUID = field(default_factory=uuid4)
    kyc: UUID = field(default_factory=uuid4)
    compliance: UUID = field(default_factory=uuid4)
    admin: UUID = field(default_factory=uuid4)
    suspended: UUID = field(default_factory=uuid4)
    growth: UUID = field(default_factory=uuid4)
    income: UUID = field(default_factory=uuid4)
    bens: UUID = field(default_factory=uuid4)

    def people(self) -> list[tuple[UUID, str, str, str, str]]:
        """Return (id, name of the login, role, status, last name)."""
        active = "active"
        return [
            (self.ana, "ana", "client", active, "Alba"),
            (self.ben, "ben", "client", active, "Brown"),
            (self.stranger, "stranger", "client", active, "Solo"),
            (self.advisor, "advisor", "advisor", active, "Adler"),
            (self.other_advisor, "other", "advisor", active, "Beck"),
            (self.kyc, "kyc", "kyc_agent", active, "Kay"),
            (self.compliance, "compliance", "compliance", active, "Cole"),
            (self.admin, "admin", "admin", active, "Adams"),
            (self.suspended, "suspended", "client", "suspended", "Gone"),
        ]


def email(name: str) -> str:
    """Return the address somebody of the cast signs in with."""
    return f"{name}@alhambra.test"


async def seed_cast(url: str) -> Cast:
    """Write the small bank: ana (EUR and USD portfolios) with one advisor, ben with another, and the staff."""
    cast = Cast()
    hashed = CHEAP.hash(PASSWORD)
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "insert into currencies (code, name, minor_units) values ($1, $2, 2)",
            [("USD", "US dollar"), ("EUR", "Euro"), ("CHF", "Swiss franc")],
        )
        await connection.executemany(
            "insert into users (id, email, password_hash, first_name, last_name, role, status) "
            "values ($1, $2, $3, initcap($4), $5, $6, $7)",
            [
                (user_id, email(name), hashed, name, last, role, status)
                for user_id, name, role, status, last in cast.people()
            ],
        )
        await connection.executemany(
            "insert into advisor_clients (advisor_id, client_id) values ($1, $2)",
            [(cast.advisor, cast.ana), (cast.other_advisor, cast.ben)],
        )
        await connection.executemany(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency) "
            "values ($1, $2, $3, $4, $5, $6, $7, $8)",
            INSTRUMENTS,
        )
        for owner, portfolio, name, currency, day in (
            (cast.ana, cast.growth, "Growth", "EUR", 1),
            (cast.ana, cast.income, "Income", "USD", 2),
            (cast.ben, cast.bens, "Core", "USD", 3),
        ):
            await _add_portfolio(connection, owner, portfolio, name, currency, day)
    finally:
        await connection.close()
    return cast


async def _add_portfolio(
    connection: asyncpg.Connection, owner: UUID, portfolio: UUID, name: str, currency: str, day: int
) -> None:
    account = uuid4()
    number = portfolio.hex[:12]
    await connection.execute(
        "insert into accounts (id, user_id, account_number, account_type, currency, status) "
        "values ($1, $2, $3, 'custody', $4, 'active')",
        account,
        owner,
        number,
        currency,
    )
    await connection.execute(
        "insert into portfolios (id, user_id, account_id, iboss_account_id, name, base_currency, created_at) "
        "values ($1, $2, $3, $4, $5, $6, now() - make_interval(days => 10 - $7))",
        portfolio,
        owner,
        account,
        number,
        name,
        currency,
        day,
    )


def create_valuation(
    portfolio: UUID | str, values: Mapping[str, tuple[int, int]], epoch: int = 1, seq: int = 1, currency: str = "USD"
) -> Valuation:
    """Make a consistent valuation from (value, day P&L) in cents by symbol, all held in the base currency."""
    known = {symbol: (number, kind) for number, symbol, _, kind, *_ in INSTRUMENTS}
    equity = sum(value for value, _ in values.values())
    day = sum(gain for _, gain in values.values())
    cash = sum(value for symbol, (value, _) in values.items() if known.get(symbol, (0, ""))[1] == "cash")
    rows = [
        ValuationRow(
            instrument=known.get(symbol, (99, ""))[0],
            symbol=symbol,
            quantity=10.0,
            price=value / 1000,
            value=value / 100,
            value_local=value / 100,
            day_pnl=gain / 100,
            day_pnl_pct=percent(gain, value),
            unrealised_pnl=2 * gain / 100,
            cost_basis=value / 100 - 2 * gain / 100,
            weight=value / equity if equity else 0.0,
            price_ns=0 if known.get(symbol, (0, ""))[1] == "cash" else EVENT_NS,
            stale=False,
        )
        for symbol, (value, gain) in values.items()
    ]
    parts = {symbol: value / 100 for symbol, (value, _) in values.items()}
    return Valuation(
        portfolio_id=str(portfolio),
        epoch=epoch,
        seq=seq,
        event_ns=EVENT_NS + seq,
        computed_ns=EVENT_NS + seq + 1,
        base_currency=currency,
        total_equity=equity / 100,
        cash=cash / 100,
        buying_power=max(cash, 0) / 100,
        market_value=(equity - cash) / 100,
        day_pnl=day / 100,
        day_pnl_pct=percent(day, equity),
        day_pnl_price=day / 100,
        day_pnl_currency=0.0,
        unrealised_pnl=2 * day / 100,
        realised_pnl_today=0.0,
        stale_share=0.0,
        oldest_price_ns=EVENT_NS,
        allocation=dict.fromkeys(("asset_class", "sector", "country", "currency"), parts),
        rows=rows,
    )


def percent(gain: int, value: int) -> float:
    """Return the gain in percent of the opening value."""
    return 100.0 * gain / abs(value - gain) if value != gain else 0.0


async def publish(store: LiveStore, *valuations: Valuation) -> None:
    """Store and publish valuations as the stream does."""
    documents = {one.portfolio_id: msgspec.json.encode(one) for one in valuations}
    await store.write_valuations(documents, documents)


async def publish_totals(
    store: LiveStore, amounts: Mapping[UUID, tuple[int, int]], seq: int = 1, layout: int = 1
) -> None:
    """Store and publish a worker's totals from (equity, day P&L) in cents; reference amounts are twice as much."""
    equity = np.array([one for one, _ in amounts.values()], "<i8")
    day = np.array([one for _, one in amounts.values()], "<i8")
    ratios = np.array([percent(d, e) for e, d in amounts.values()], "<f8")
    await store.write_layout("0", TotalsLayout(1, layout, tuple(str(portfolio) for portfolio in amounts)))
    await store.write_totals(
        "0",
        Totals(
            epoch=1,
            seq=seq,
            event_ns=EVENT_NS + seq,
            computed_ns=EVENT_NS + seq,
            layout=layout,
            reference_currency="USD",
            total_equity=equity.tobytes(),
            day_pnl=day.tobytes(),
            day_pnl_pct=ratios.tobytes(),
            equity_reference=(2 * equity).tobytes(),
            day_pnl_reference=(2 * day).tobytes(),
            stale_share=np.zeros(len(equity), "<f8").tobytes(),
        ),
    )


def api_settings(postgres_url: str, redis_url: str, port: int, **more: Any) -> ApiSettings:
    """Make settings as the environment would."""
    return ApiSettings(
        database_url=postgres_url, redis_url=redis_url, port=port, **{"jwt_secret": SECRET, "database_pool": 4, **more}
    )


@dataclass(frozen=True, slots=True)
class RunningApi:
    """Hold a web process that serves, and what tests reach it by."""

    url: str
    process: WebProcess
    settings: ApiSettings


@asynccontextmanager
async def open_api(postgres_url: str, redis_url: str, **more: Any) -> AsyncIterator[RunningApi]:
    """Serve a web process on a free port in this event loop."""
    port = free_port()
    settings = api_settings(postgres_url, redis_url, port, **more)
    process = create_app(settings)
    config = create_config(settings, process)
    config.loop = "none"
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    try:
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.01)
        yield RunningApi(f"http://127.0.0.1:{port}", process, settings)
    finally:
        server.should_exit = True
        await serving


def document_of(valuation: Valuation) -> dict[str, Any]:
    """Return a valuation as clients read it from JSON."""
    found: dict[str, Any] = orjson.loads(msgspec.json.encode(valuation))
    return found
