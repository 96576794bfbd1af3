"""Every figure says where it comes from, and is recomputed from what it names; a wrong one is not passed over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from fakes_api import Cast, SignIn, publish

from api.portfolio.formulas import DIMENSIONS, PORTFOLIO_FORMULAS, ROW_FORMULAS
from db.corporate_actions import CorporateAction, insert_actions
from db.live import LiveStore
from stream.messages import PortfolioPositions, Position, Valuation, ValuationRow, encode_message

pytestmark = pytest.mark.integration
NOW_NS = time.time_ns()
NOW = datetime.fromtimestamp(NOW_NS / 1e9, UTC)
DAY_START_NS = int(NOW.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * 10**9
VERSION = 7
# 10 AAPL at 150.125 (8 of them held at the close of 148, 2 bought at 149), 5 NESN at CHF 100 (close 98) with the franc
# at 1.25 dollars (1.20 at the close), and 1000 dollars after paying 298: worked by hand.
LINES = (
    Position(1, Decimal(10), Decimal(1200), Decimal(1200), Decimal(8), Decimal(298), Decimal(0), Decimal(298)),
    Position(2, Decimal(5), Decimal(400), Decimal(500), Decimal(5), Decimal(0), Decimal("3.5"), Decimal(0)),
    Position(3, Decimal(1000), Decimal(1000), Decimal(1000), Decimal(1298), Decimal(-298), Decimal(0), Decimal(-298)),
)
PORTFOLIO = {
    "total_equity": 3126.25,
    "cash": 1000.0,
    "buying_power": 1000.0,
    "market_value": 2126.25,
    "day_pnl": 56.25,
    "day_pnl_pct": 100 * 56.25 / 3070,
    "day_pnl_price": 31.25,
    "day_pnl_currency": 25.0,
    "unrealised_pnl": 426.25,
    "realised_pnl_today": 3.5,
    "stale_share": 625 / 3126.25,
}
AAPL = {
    "quantity": 10.0,
    "price": 150.125,
    "prior_close": 148.0,
    "value": 1501.25,
    "value_local": 1501.25,
    "day_pnl": 19.25,
    "day_pnl_pct": 100 * 19.25 / 1482,
    "day_pnl_price": 19.25,
    "contribution": 100 * 19.25 / 3070,
    "unrealised_pnl": 301.25,
    "cost_basis": 1200.0,
    "weight": 1501.25 / 3126.25,
}
NESN = {
    "quantity": 5.0,
    "price": 100.0,
    "prior_close": 98.0,
    "value": 625.0,
    "value_local": 500.0,
    "day_pnl": 37.0,
    "day_pnl_pct": 100 * 37 / 588,
    "day_pnl_price": 12.0,
    "contribution": 100 * 37 / 3070,
    "unrealised_pnl": 125.0,
    "cost_basis": 400.0,
    "weight": 625 / 3126.25,
}
USD = {
    "quantity": 1000.0,
    "price": 1.0,
    "prior_close": 1.0,
    "value": 1000.0,
    "value_local": 1000.0,
    "day_pnl": 0.0,
    "day_pnl_pct": 0.0,
    "day_pnl_price": 0.0,
    "contribution": 0.0,
    "unrealised_pnl": 0.0,
    "cost_basis": 1000.0,
    "weight": 1000 / 3126.25,
}
ROWS: dict[str, Mapping[str, float]] = {"AAPL": AAPL, "NESN": NESN, "USD": USD}
ALLOCATION = {
    "asset_class": {"equity": 2126.25, "cash": 1000.0},
    "sector": {"Technology": 1501.25, "Consumer": 625.0, "Cash": 1000.0},
    "country": {"US": 2501.25, "CH": 625.0},
    "currency": {"USD": 2501.25, "CHF": 625.0},
}


def worked_valuation(portfolio: UUID, **wrong: Any) -> Valuation:
    """Return the valuation that was worked by hand; `wrong` puts figures in that are not right."""
    rows = [
        ValuationRow(
            instrument=number,
            symbol=symbol,
            price_ns=0 if symbol == "USD" else NOW_NS - 4_000_000_000,
            stale=symbol == "NESN",
            state="stale" if symbol == "NESN" else "live",
            **figures,
        )
        for number, (symbol, figures) in enumerate(ROWS.items(), start=1)
    ]
    figures = {**PORTFOLIO, **wrong}
    return Valuation(
        portfolio_id=str(portfolio),
        epoch=3,
        seq=41,
        event_ns=NOW_NS,
        computed_ns=NOW_NS,
        base_currency="USD",
        oldest_price_ns=NOW_NS - 4_000_000_000,
        allocation=ALLOCATION,
        rows=rows,
        version=VERSION,
        day_start_ns=DAY_START_NS,
        rates={"USD": (1.0, 1.0), "CHF": (1.25, 1.2)},
        **figures,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Ask the web process as ana."""

    web: httpx.AsyncClient
    headers: dict[str, str]
    portfolio: UUID

    async def answer(self, field: str, symbol: str | None = None, **more: Any) -> httpx.Response:
        """Return what it answers."""
        symbols = {} if symbol is None else {"symbol": symbol}
        query = {"field": field, "portfolioId": str(self.portfolio), **symbols, **more}
        return await self.web.get("/api/portfolio/explain", params=query, headers=self.headers)

    async def figure(self, field: str, symbol: str | None = None) -> dict[str, Any]:
        """Return what it says of the one portfolio."""
        answer = await self.answer(field, symbol)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["portfolios"][0]
        return found


@pytest.fixture(scope="module")
async def ledger(module_postgres_url: str, cast: Cast) -> UUID:
    """Write what stands behind the valuation: positions, closes, and the bookings of AAPL."""
    connection = await asyncpg.connect(module_postgres_url)
    record = PortfolioPositions(str(cast.income), VERSION, "USD", LINES, NOW_NS, NOW_NS)
    await connection.execute(
        "insert into position_sets (portfolio_id, version, event_at, record) values ($1, $2, $3, $4::jsonb)",
        cast.income,
        VERSION,
        NOW,
        encode_message(record).decode(),
    )
    yesterday = NOW.date() - timedelta(days=1)
    await connection.executemany(
        "insert into daily_prices (instrument_id, date, close) values ($1, $2, $3)",
        [(1, yesterday, 148.0), (1, yesterday - timedelta(days=1), 148.0), (2, yesterday, 97.0)],
    )
    await connection.executemany(
        "insert into transactions (account_id, portfolio_id, type, amount, currency, source, reference_id, "
        "instrument_id, quantity, price, rate_to_base, processed_at) "
        "select account_id, id, 'buy', $2, 'USD', 'test', $3, 1, $4, $5, 1, $6 from portfolios where id = $1",
        [
            (cast.income, Decimal(-902), "old", Decimal(8), Decimal("112.75"), NOW - timedelta(days=40)),
            (cast.income, Decimal(-298), "new", Decimal(2), Decimal(149), NOW),
        ],
    )
    await connection.close()
    return cast.income


@pytest.fixture
async def asked(web: httpx.AsyncClient, bearer: SignIn, store: LiveStore, ledger: UUID) -> Asked:
    await publish(store, worked_valuation(ledger))
    return Asked(web, await bearer("ana"), ledger)


async def test_every_figure_of_a_portfolio_is_recomputed_to_what_is_shown(asked: Asked) -> None:
    assert PORTFOLIO.keys() == PORTFOLIO_FORMULAS.keys()
    for field, shown in PORTFOLIO.items():
        found = await asked.figure(field)
        assert (field, found["shown"], found["matches"]) == (field, shown, True)
        assert float(found["recomputed"]) == pytest.approx(shown, abs=1e-9)


async def test_every_figure_of_a_holding_is_recomputed_to_what_is_shown(asked: Asked) -> None:
    for symbol, figures in ROWS.items():
        assert figures.keys() == ROW_FORMULAS.keys()
        for field, shown in figures.items():
            found = await asked.figure(field, symbol)
            assert (symbol, field, found["shown"], found["matches"]) == (symbol, field, shown, True)


async def test_every_part_of_the_allocation_is_recomputed_to_what_is_shown(asked: Asked) -> None:
    for dimension in DIMENSIONS:
        for part, shown in ALLOCATION[dimension].items():
            found = await asked.figure(f"allocation.{dimension}.{part}")
            assert (part, found["shown"], found["matches"]) == (part, shown, True)


async def test_a_figure_that_is_not_its_recomputation_says_so(asked: Asked, store: LiveStore, ledger: UUID) -> None:
    await publish(store, worked_valuation(ledger, day_pnl=56.26))
    found = await asked.figure("day_pnl")
    assert (found["shown"], found["recomputed"], found["matches"]) == (56.26, "56.25", False)


async def test_the_terms_add_up_to_the_figure(asked: Asked) -> None:
    for field in ("total_equity", "day_pnl", "day_pnl_price", "day_pnl_currency", "unrealised_pnl"):
        found = await asked.figure(field)
        total = sum(term["sign"] * Decimal(term["rounded"]) for term in found["terms"])
        assert (field, total) == (field, Decimal(found["recomputed"]))


async def test_a_row_names_prices_rates_bookings_and_lots(asked: Asked) -> None:
    row = (await asked.figure("unrealised_pnl", "AAPL"))["rows"][0]
    assert row["price"]["value"] == "150.125"
    assert row["price"]["ageMs"] >= 4000
    yesterday = (NOW.date() - timedelta(days=1)).isoformat()
    assert row["priorClose"] == {"value": "148", "date": yesterday, "splits": []}
    assert [one["reference"] for one in row["traded"]["bookings"]] == ["new"]
    assert [(one["reference"], one["quantity"], one["cost"]) for one in row["cost"]["lots"]] == [
        ("old", "8", "902"),
        ("new", "2", "298"),
    ]
    assert row["cost"]["average"] == "120"
    assert row["cost"]["lotsAddUp"] is True


async def test_lots_that_are_not_all_of_what_is_held_say_so(asked: Asked) -> None:
    row = (await asked.figure("cost_basis", "NESN"))["rows"][0]
    assert (row["cost"]["lots"], row["cost"]["lotsAddUp"]) == ([], False)


async def test_a_close_that_nobody_knows_has_no_date(asked: Asked) -> None:
    row = (await asked.figure("value", "NESN"))["rows"][0]
    assert row["priorClose"] == {"value": "98", "date": None, "splits": []}
    assert row["rate"] == {"now": 1.25, "atClose": 1.2}


async def test_over_a_split_the_figures_are_the_same_and_say_what_was_adjusted(
    asked: Asked, store: LiveStore, ledger: UUID, module_postgres_url: str
) -> None:
    """8 at the close of 148 are 16 at 74: the record is of after the split, and so is the price."""
    effective, ex_date = NOW - timedelta(microseconds=1), NOW.date()
    found = worked_valuation(ledger)
    rows = [msgspec.structs.replace(one, prior_close=74.0) if one.symbol == "AAPL" else one for one in found.rows]
    await publish(store, msgspec.structs.replace(found, rows=rows))
    connection = await asyncpg.connect(module_postgres_url)
    try:
        await insert_actions(connection, [CorporateAction("iboss", "S", 1, 1, "split", ex_date, effective, Decimal(2))])
        figure = await asked.figure("day_pnl", "AAPL")
        total = await asked.figure("day_pnl")
    finally:
        await connection.execute("delete from corporate_actions")
        await connection.close()
    assert (figure["shown"], figure["matches"], total["matches"]) == (19.25, True, True)
    row = figure["rows"][0]
    assert (row["quantity"], row["openingQuantity"]) == ("10", "16")
    assert row["priorClose"] == {
        "value": "74",
        "date": (ex_date - timedelta(days=1)).isoformat(),
        "splits": [
            {"exDate": ex_date.isoformat(), "effectiveAt": effective.isoformat(timespec="milliseconds"), "ratio": "2:1"}
        ],
    }


async def test_the_price_names_its_feed(asked: Asked, store: LiveStore) -> None:
    quote = {"symbol": "AAPL", "price": 150.125, "prior_close": 148.0, "event_ns": NOW_NS}
    await store.write_quotes({"AAPL": msgspec.json.encode(quote)})
    await store.report_health("market:simulated", True, "20 quotes a second")
    assert (await asked.figure("price", "AAPL"))["rows"][0]["price"]["source"] == "simulated"
    await store.write_quotes({"AAPL": msgspec.json.encode({**quote, "source": "recorded"})})
    assert (await asked.figure("price", "AAPL"))["rows"][0]["price"]["source"] == "recorded"


async def test_the_figures_go_by_the_names_that_rest_gives_them(asked: Asked) -> None:
    assert (await asked.figure("dayPL"))["shown"] == 56.25
    assert (await asked.figure("costBasis", "NESN"))["shown"] == 400.0


async def test_what_there_is_not_is_named_with_what_there_is(asked: Asked) -> None:
    unknown = await asked.answer("profit")
    assert (unknown.status_code, "total_equity" in unknown.text, "allocation.sector.Technology" in unknown.text) == (
        400,
        True,
        True,
    )
    nobodys = await asked.answer("value", "MSFT")
    assert (nobodys.status_code, "AAPL, NESN, USD" in nobodys.text) == (404, True)
    without = await asked.answer("weight")
    assert (without.status_code, "name its symbol" in without.text) == (400, True)


async def test_another_clients_figures_are_as_unknown_as_none_at_all(
    web: httpx.AsyncClient, bearer: SignIn, asked: Asked
) -> None:
    query = {"field": "day_pnl", "portfolioId": str(asked.portfolio)}
    answer = await web.get("/api/portfolio/explain", params=query, headers=await bearer("ben"))
    assert answer.status_code == 404


async def test_positions_that_the_ledger_does_not_hold_are_missed(asked: Asked, store: LiveStore, ledger: UUID) -> None:
    await publish(store, msgspec.structs.replace(worked_valuation(ledger), version=VERSION + 1))
    answer = await asked.answer("day_pnl")
    assert (answer.status_code, f"version {VERSION + 1}" in answer.text) == (503, True)


async def test_several_portfolios_say_how_they_are_put_together(
    asked: Asked, store: LiveStore, ledger: UUID, cast: Cast, module_postgres_url: str
) -> None:
    connection = await asyncpg.connect(module_postgres_url)
    record = PortfolioPositions(str(cast.growth), VERSION, "EUR", LINES, NOW_NS, NOW_NS)
    await connection.execute(
        "insert into position_sets (portfolio_id, version, event_at, record) values ($1, $2, $3, $4::jsonb)",
        cast.growth,
        VERSION,
        NOW,
        encode_message(record).decode(),
    )
    await connection.close()
    quote = {"symbol": "EUR/USD", "price": 1.25, "prior_close": 1.25, "event_ns": NOW_NS}
    await store.write_quotes({"EUR/USD": msgspec.json.encode(quote)})
    euros = msgspec.structs.replace(
        worked_valuation(cast.growth), base_currency="EUR", rates={"USD": (1.0, 1.0), "CHF": (1.25, 1.2)}
    )
    await publish(store, euros, worked_valuation(ledger))
    query = {"field": "total_equity"}
    answer = await asked.web.get("/api/portfolio/explain", params=query, headers=asked.headers)
    found = answer.json()
    assert answer.status_code == 200, answer.text
    assert [one["shown"] for one in found["portfolios"]] == [3126.25, 3126.25]
    assert (found["together"]["shown"], found["together"]["rates"]) == (5627.25, {"EUR": 1.0, "USD": 0.8})
    assert found["together"]["currency"] == "EUR"
