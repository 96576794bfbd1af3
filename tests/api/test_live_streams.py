"""The streams beside portfolios and floors: a client's whole wealth, quotes, and the invented portfolio for guests."""

from __future__ import annotations

import time
from typing import Any

import httpx
import msgspec
import pytest
from fakes import eventually
from fakes_api import EVENT_NS, Cast, RunningApi, create_valuation, publish
from fakes_live import TRANSPORTS, Follower, adds_up, cents, next_seq, open_live, sign_in

from api.live.demo import EPOCH_S, GUEST, HOLDINGS, NS, value_at
from db.live import LiveStore, StoredQuote
from stream.messages import Valuation


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def quote(store: LiveStore, symbol: str, price: float, close: float = 1.0, at: int | None = None) -> StoredQuote:
    """Store and publish a quote as the stream does."""
    one = StoredQuote(symbol, price, close, at or time.time_ns(), "test")
    await store.write_quotes({symbol: msgspec.json.encode(one)})
    await store.publish_quotes([one])
    return one


def figures(follower: Follower, stream: str) -> dict[str, Any]:
    return follower.totals.get(stream, {})


async def test_a_client_is_shown_as_rest_shows_all_portfolios_together(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"client:{cast.ana}"
    await quote(store, "EUR/USD", 1.25, 1.20)
    growth = create_valuation(cast.growth, {"NESN": (2000, 40), "EUR": (700, 0)}, seq=next_seq(), currency="EUR")
    income = create_valuation(cast.income, {"AAPL": (3333, 21), "USD": (501, 0)}, seq=next_seq())
    await publish(store, growth, income)
    async with open_live(transport, api.url, token := await sign_in(api.url, "ana")) as client:
        await client.subscribe(stream)
        await eventually(lambda: figures(client.follower, stream))
        await same_as_rest(api, client.follower, stream, token["token"])
        await publish(store, create_valuation(cast.income, {"AAPL": (4444, -21), "USD": (501, 0)}, seq=next_seq()))
        await eventually(lambda: figures(client.follower, stream)["portfolios"][1]["total_equity"] == 49.45)
        await same_as_rest(api, client.follower, stream, token["token"])
        before = figures(client.follower, stream)["total_equity"]
        await quote(store, "EUR/USD", 1.00, 1.20)  # the rate alone moves what the dollars are worth
        await eventually(lambda: figures(client.follower, stream)["total_equity"] != before)
        await same_as_rest(api, client.follower, stream, token["token"])
        assert client.follower.gaps == 0
        assert len(client.follower.events("snapshot")) == 1


async def same_as_rest(api: RunningApi, follower: Follower, stream: str, token: str) -> None:
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {token}"}) as web:
        overview = (await web.get("/api/portfolio/overview")).json()
        holdings = (await web.get("/api/portfolio/holdings")).json()
    totals = figures(follower, stream)
    assert totals["base_currency"] == overview["baseCurrency"] == "EUR"
    assert (totals["total_equity"], totals["day_pnl"]) == (overview["totalEquity"], overview["dayPL"])
    shown = {row["symbol"]: (row["value"], row["day_pnl"]) for row in follower.rows[stream].values()}
    assert shown == {one["symbol"]: (one["value"], one["dayPL"]) for one in holdings}
    adds_up(follower, stream)


async def test_a_new_portfolio_of_a_client_is_counted_within_seconds(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    await publish(store, create_valuation(cast.bens, {"USD": (900, 0)}, seq=next_seq()))
    stream = f"client:{cast.ben}"
    async with open_live("websocket", api.url, await sign_in(api.url, "ben")) as client:
        await client.subscribe(stream)
        await eventually(lambda: figures(client.follower, stream).get("total_equity") == 9.0)
        pool = api.process._holder.state.pool
        added = await pool.fetchval(
            "insert into portfolios (user_id, account_id, iboss_account_id, name, base_currency) "
            "select user_id, account_id, 'second', 'Second', 'USD' from portfolios where id = $1 returning id",
            cast.bens,
        )
        try:
            await publish(store, create_valuation(added, {"AAPL": (100, 3)}, seq=next_seq()))
            await eventually(lambda: figures(client.follower, stream)["total_equity"] == 10.0)
            assert [one["name"] for one in figures(client.follower, stream)["portfolios"]] == ["Core", "Second"]
        finally:
            await pool.execute("delete from portfolios where id = $1", added)
        await eventually(lambda: figures(client.follower, stream)["total_equity"] == 9.0)


async def test_a_quote_is_followed_by_its_symbol(api: RunningApi, store: LiveStore, transport: str) -> None:
    first = await quote(store, "AAPL", 200.0, 160.0)
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        await client.subscribe("quote:AAPL")
        await eventually(lambda: figures(client.follower, "quote:AAPL"))
        assert figures(client.follower, "quote:AAPL") == {
            "symbol": "AAPL",
            "name": "Apple Inc.",
            "currency": "USD",
            "price": 200.0,
            "prior_close": 160.0,
            "change": 40.0,
            "change_pct": 25.0,
            "price_ns": first.event_ns,
            "source": "test",
        }
        await quote(store, "NESN", 1.0)  # nobody asked
        await quote(store, "AAPL", 240.0, 160.0)
        await eventually(lambda: figures(client.follower, "quote:AAPL")["price"] == 240.0)
        await quote(store, "AAPL", 1.0, 160.0, at=first.event_ns - 1)  # late
        await quote(store, "AAPL", 260.0, 160.0)
        await eventually(lambda: figures(client.follower, "quote:AAPL")["price"] == 260.0)
        assert 1.0 not in [one["totals"].get("price") for one in client.follower.events("delta")]
        assert "name" not in client.follower.events("delta")[-1]["totals"]
        assert (await client.subscribe("quote:NOSUCH"))["error"]["code"] == 3503


async def test_what_is_watched_is_asked_of_the_stream_at_the_pace_that_is_wanted(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    async with open_live("websocket", api.url, await sign_in(api.url, "compliance")) as client:
        await client.subscribe(f"portfolio:{cast.bens}", max_hz=4)
        await client.subscribe("quote:NESN", max_hz=20)
        await client.subscribe(f"portfolio:{cast.income}", max_hz=20)

        async def asked() -> bool:
            found = await store.watched()
            wanted = {str(cast.bens)} <= found.calm and {str(cast.income)} <= found.keen and {"NESN"} <= found.quotes
            return wanted and str(cast.bens) not in found.keen

        await eventually(asked)


async def test_guests_follow_the_invented_portfolio_and_nothing_else(
    api: RunningApi, cast: Cast, transport: str
) -> None:
    async with open_live(transport, api.url, {"guest": True}) as client:
        await client.subscribe("demo")
        await eventually(lambda: len(client.follower.events("delta")) >= 3)
        adds_up(client.follower, "demo")
        assert client.follower.gaps == 0
        assert "invented" in client.follower.totals["demo"]["name"]
        for stream in (
            f"portfolio:{cast.growth}",
            f"client:{cast.ana}",
            f"floor:{cast.advisor}",
            "quote:AAPL",
            "alerts",
        ):
            assert (await client.subscribe(stream))["error"]["code"] == 3503, stream
        assert (await client.request("acknowledge", seq=1))["error"]["code"] == 3503


def test_the_invented_portfolio_is_the_same_everywhere_and_does_what_is_seldom() -> None:
    at = EVENT_NS // (EPOCH_S * NS) * (EPOCH_S * NS)
    assert value_at(at) == value_at(at + 1)
    seen: list[Valuation] = [value_at(at + step * NS // 5) for step in range(5 * EPOCH_S + 1)]
    assert [one.seq for one in seen] == [*range(1, 5 * EPOCH_S + 1), 1]
    assert {one.epoch - seen[0].epoch for one in seen} == {0, 1}
    assert {len(one.rows) for one in seen} == {len(HOLDINGS), len(HOLDINGS) + 1}
    assert any(row.symbol == GUEST.symbol for row in seen[0].rows)
    for one in seen[:200]:
        assert cents(row.value for row in one.rows) == cents([one.total_equity])
        assert cents(row.day_pnl for row in one.rows) == cents([one.day_pnl])
        assert sum(row.contribution for row in one.rows) == pytest.approx(one.day_pnl_pct)
    assert len({one.rows[0].price for one in seen[:200]}) > 20
