"""A portfolio is shown as it was at any minute that was recorded, and what does not add up is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import httpx
import pytest
from books import quotes
from fakes_api import Cast, SignIn

from api.portfolio.past import nanoseconds
from db.epochs import take_epochs
from db.ledger import PositionSet, store
from db.postgres import open_pool
from stream.messages import POSITIONS_TOPIC, PortfolioPositions, Position, encode_message
from stream.processor import Processor
from stream.recorder import Recorder
from stream.roll import restore_days

pytestmark = pytest.mark.integration
AAPL, NESN, USD, EUR_USD, USD_CHF = 1, 2, 3, 5, 6
DAY = datetime(2026, 1, 7, tzinfo=UTC)  # a Wednesday
TEN = DAY + timedelta(hours=10)
MINUTE = timedelta(minutes=1)


@dataclass
class Recording:
    """A worker of then: it takes positions and prices, and writes minutes."""

    pool: asyncpg.Pool
    processor: Processor
    recorder: Recorder

    async def take(self, portfolio: UUID, base: str, version: int, at: datetime, *lines: Position) -> None:
        """Write positions to the ledger and to the book."""
        record = PortfolioPositions(str(portfolio), version, base, lines, nanoseconds(at), nanoseconds(at))
        async with self.pool.acquire() as connection:
            await store(connection, None, [PositionSet(portfolio, version, at, at, encode_message(record))], [])
        assert self.processor.apply_positions(record, 0, 1)

    async def end_minute(self, minute: datetime, **prices: float) -> None:
        """Let instruments trade within the minute and record it."""
        ids = {"aapl": AAPL, "nesn": NESN, "eurusd": EUR_USD, "usdchf": USD_CHF}
        marks = [(ids[name], price) for name, price in prices.items()]
        ended_ns = nanoseconds(minute + MINUTE)
        assert not self.processor.apply_quotes(quotes(*marks, event_ns=ended_ns - 1), ended_ns)
        self.processor.revalue(ended_ns)
        self.recorder.keep(minute)
        await self.recorder.write()


def held(
    instrument: int, quantity: str, cost: str = "100.10", traded: str = "0", opening: str | None = None
) -> Position:
    amounts = (Decimal(quantity), Decimal(cost), Decimal(cost), Decimal(opening or quantity), Decimal(traded))
    return Position(instrument, *amounts)


@pytest.fixture(scope="module")
async def recorded(module_postgres_url: str, cast: Cast) -> AsyncIterator[Recording]:
    """Record two minutes of ana's portfolios, the second with other prices and one share more."""
    async with open_pool(module_postgres_url, "tests", 2) as pool:
        closes = {AAPL: 150.0, NESN: 90.1, EUR_USD: 1.1, USD_CHF: 0.88}
        await pool.executemany(
            "insert into daily_prices values ($1, $2, $3)",
            [(number, (DAY - timedelta(days=1)).date(), close) for number, close in closes.items()],
        )
        async with pool.acquire() as connection:
            await take_epochs(connection, POSITIONS_TOPIC, [0], "this")
            processor, days = await restore_days(connection, nanoseconds(DAY))
        recording = Recording(pool, processor, Recorder(pool, processor, {0: 1}, 7, days))
        old, new = DAY - timedelta(days=30), TEN + MINUTE
        await recording.take(cast.income, "USD", 1, old, held(AAPL, "11", traded="9999"), held(USD, "250.25"))
        await recording.take(cast.growth, "EUR", 1, old, held(AAPL, "3"), held(NESN, "7.5"))
        await recording.end_minute(TEN, aapl=151.333, nesn=91.7, eurusd=1.1111, usdchf=0.8765)
        bought = (
            held(AAPL, "12", traded="151.50", opening="11"),
            held(USD, "98.75", traded="-151.50", opening="250.25"),
        )
        await recording.take(cast.income, "USD", 2, new, *bought)
        await recording.end_minute(new, aapl=152.777, nesn=91.7, eurusd=1.1234, usdchf=0.8765)
        yield recording


async def shown(web: httpx.AsyncClient, headers: dict[str, str], at: datetime, **query: str) -> httpx.Response:
    return await web.get("/api/portfolio/overview", params={"at": at.isoformat(), **query}, headers=headers)


@pytest.mark.usefixtures("recorded")
async def test_a_portfolio_comes_back_as_it_was_at_the_end_of_the_minute(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast
) -> None:
    asked = TEN + MINUTE + timedelta(seconds=31)  # the next minute had not ended then
    found = (await shown(web, await bearer("ana"), asked, portfolioId=str(cast.income))).json()
    assert datetime.fromisoformat(found["asOf"]) == TEN + MINUTE
    assert (found["totalEquity"], found["cashBalance"]) == (round(11 * 151.333, 2) + 250.25, 250.25)
    assert found["dayPL"] == 14.66  # positions of a month ago have not moved in the day
    assert (found["matches"], found["differences"]) == (True, [])
    apple, cash = found["holdings"]
    assert (apple["symbol"], apple["shares"], apple["price"], apple["priceAgeMs"]) == ("AAPL", 11, 151.333, 0)
    assert (cash["symbol"], cash["value"], cash["priceAgeMs"]) == ("USD", 250.25, None)


@pytest.mark.usefixtures("recorded")
async def test_what_was_traded_since_the_close_counts_as_it_did(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast
) -> None:
    found = (await shown(web, await bearer("ana"), TEN + 5 * MINUTE, portfolioId=str(cast.income))).json()
    assert datetime.fromisoformat(found["asOf"]) == TEN + 2 * MINUTE
    assert found["totalEquity"] == pytest.approx(12 * 152.777 + 98.75, abs=0.005)
    assert found["dayPL"] == pytest.approx(12 * 152.777 - 11 * 150 - 151.50, abs=0.005)
    assert found["matches"] is True


@pytest.mark.usefixtures("recorded")
async def test_all_of_a_clients_portfolios_are_put_together_at_the_rates_of_then(
    web: httpx.AsyncClient, bearer: SignIn
) -> None:
    found = (await shown(web, await bearer("ana"), TEN + MINUTE)).json()
    growth = 3 * 151.333 / 1.1111 + 7.5 * 91.7 / 0.8765 / 1.1111
    assert found["baseCurrency"] == "EUR"
    assert found["totalEquity"] == pytest.approx(growth + (11 * 151.333 + 250.25) / 1.1111, abs=0.02)
    assert sum(row["value"] for row in found["holdings"]) == pytest.approx(found["totalEquity"], abs=1e-9)
    assert found["matches"] is True
    assert [one["name"] for one in found["portfolios"]] == ["Growth", "Income"]


@pytest.mark.usefixtures("recorded")
async def test_holdings_and_allocation_go_back_too(web: httpx.AsyncClient, bearer: SignIn, cast: Cast) -> None:
    headers, query = await bearer("ana"), {"at": (TEN + MINUTE).isoformat(), "portfolioId": str(cast.income)}
    held_then = (await web.get("/api/portfolio/holdings", params=query, headers=headers)).json()
    assert [(one["symbol"], one["shares"]) for one in held_then] == [("AAPL", 11), ("USD", 250.25)]
    spread = (await web.get("/api/portfolio/allocation", params=query, headers=headers)).json()
    assert [part["name"] for part in spread["assetClass"]] == ["equity", "cash"]
    assert spread["matches"] is True


async def test_closes_that_are_corrected_later_change_nothing_of_what_was_shown(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, recorded: Recording
) -> None:
    await recorded.pool.execute("update daily_prices set close = 1000 where instrument_id = $1", AAPL)
    try:
        found = (await shown(web, await bearer("ana"), TEN + MINUTE, portfolioId=str(cast.income))).json()
        assert (found["matches"], found["dayPL"]) == (True, 14.66)
    finally:
        await recorded.pool.execute("update daily_prices set close = 150 where instrument_id = $1", AAPL)


async def test_a_total_that_does_not_follow_from_its_inputs_is_shown_as_it_was_and_told(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, recorded: Recording
) -> None:
    wrong = "update minute_valuations set total_equity = total_equity + $2 where portfolio_id = $1"
    await recorded.pool.execute(wrong, cast.income, 1)
    try:
        found = (await shown(web, await bearer("ana"), TEN + MINUTE, portfolioId=str(cast.income))).json()
    finally:
        await recorded.pool.execute(wrong, cast.income, -1)
    right = round(11 * 151.333, 2) + 250.25
    assert (found["matches"], found["totalEquity"]) == (False, pytest.approx(right + 0.01))
    assert found["differences"] == [
        {
            "portfolioId": str(cast.income),
            "field": "total_equity",
            "stored": pytest.approx(right + 0.01),
            "recomputed": pytest.approx(right),
        }
    ]


@pytest.mark.usefixtures("recorded")
async def test_what_cannot_be_shown_says_why(web: httpx.AsyncClient, bearer: SignIn, cast: Cast) -> None:
    headers, one = await bearer("ana"), {"portfolioId": str(cast.income)}
    early = await shown(web, headers, TEN + timedelta(seconds=59), **one)
    assert (early.status_code, "Nothing is stored of Income" in early.text) == (404, True)
    future = await shown(web, headers, datetime.now(UTC) + timedelta(hours=1), **one)
    assert (future.status_code, "future" in future.text) == (400, True)
    zoneless = await web.get("/api/portfolio/overview?at=2026-01-02T10:32:00", headers=headers)
    assert (zoneless.status_code, zoneless.json()["error"].startswith("at: ")) == (400, True)


async def test_a_minute_whose_prices_were_not_kept_says_so(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, recorded: Recording
) -> None:
    swap = "update minute_valuations set assignment = $1 where assignment = $2"
    await recorded.pool.execute(swap, 0, 7)
    try:
        answer = await shown(web, await bearer("ana"), TEN + MINUTE, portfolioId=str(cast.income))
    finally:
        await recorded.pool.execute(swap, 7, 0)
    assert (answer.status_code, "were not kept" in answer.text) == (404, True)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("name", "code"),
    [("ana", 200), ("advisor", 200), ("compliance", 200), ("admin", 200), ("ben", 404), ("other", 404), ("kyc", 403)],
)
async def test_the_past_is_as_private_as_the_present(
    web: httpx.AsyncClient, bearer: SignIn, cast: Cast, name: str, code: int
) -> None:
    answer = await shown(web, await bearer(name), TEN + MINUTE, portfolioId=str(cast.income))
    assert answer.status_code == code
