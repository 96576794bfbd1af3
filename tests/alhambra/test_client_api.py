"""The client against real web processes: sign-in, renewal, rights, and a process that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest
from fakes import eventually
from fakes_api import (
    PASSWORD,
    Cast,
    RunningApi,
    create_valuation,
    email,
    open_api,
    publish,
    publish_totals,
    seed_cast,
)
from fakes_client import QUICK

from alhambra.client import Client, Fields, Patience, Refused, Sort, Update, View
from db.alert_rules import Wish, changed_rules, create_rule
from db.alerts import Crossing, raise_alerts
from db.live import LiveStore, create_redis
from db.portfolios import Viewer
from stream.messages import Valuation

PATIENCE = Patience(longest_pause_s=0.2)


@pytest.fixture(scope="module")
async def cast(module_postgres_url: str) -> Cast:
    return await seed_cast(module_postgres_url)


@pytest.fixture(scope="module")
async def store(module_redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(module_redis_url, "tests")
    yield LiveStore(redis)
    await redis.aclose()


@pytest.fixture(scope="module")
async def api(module_postgres_url: str, module_redis_url: str, cast: Cast) -> AsyncIterator[RunningApi]:
    """Serve a web process whose access tokens are good for four seconds."""
    quick = {"live_heartbeat_s": 0.1, "live_rights_s": 0.2, "jwt_expires_in": "4s"}
    async with open_api(module_postgres_url, module_redis_url, sign_in_attempts=1000, **quick) as running:
        yield running


def sign_in(api: RunningApi, name: str) -> Client:
    return Client(api.url, email=email(name), password=PASSWORD, patience=PATIENCE)


def shows(update: Update, valuation: Valuation) -> bool:
    same = (update.epoch, update.seq) == (valuation.epoch, valuation.seq)
    assert not same or update.totals["total_equity"] == valuation.total_equity
    assert not same or {key: row["value"] for key, row in update.rows.items()} == {
        row.symbol: row.value for row in valuation.rows
    }
    return same


async def until(updates: AsyncGenerator[Update, None], valuation: Valuation) -> Update:
    """Read on until a valuation is shown."""
    async with asyncio.timeout(20):
        async for update in updates:
            if shows(update, valuation):
                return update
    raise AssertionError("the loop has ended")


async def read_on(updates: AsyncGenerator[Update, None]) -> None:
    """Read until the loop ends by itself."""
    async with asyncio.timeout(20):
        async for _ in updates:
            pass


async def test_a_client_follows_what_is_theirs_over_one_connection(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    first = create_valuation(cast.bens, {"AAPL": (100_000, 500), "USD": (7, 0)}, seq=1)
    await publish(store, first)
    async with sign_in(api, "ben") as client:
        assert (client.role, client.user_id) == ("client", str(cast.ben))
        overview = await client.get("/api/portfolio/overview")
        updates = client.portfolio(overview["portfolios"][0]["id"], max_hz=20)
        together = client.client(fields=Fields(totals=("total_equity",), rows=()))
        async with aclosing(updates), aclosing(together):
            assert (await until(updates, first)).resynced
            combined = await anext(together)
            assert combined.totals == {"total_equity": first.total_equity}
            second = create_valuation(cast.bens, {"AAPL": (100_100, 600)}, seq=2)
            await publish(store, second)
            update = await until(updates, second)
            assert update.removed == {"USD"}
            assert client.clock.round_trip_ns is not None
            with pytest.raises(Refused, match="not yours"):
                await anext(client.portfolio(cast.growth))


async def test_an_advisor_follows_a_window_of_the_floor(api: RunningApi, store: LiveStore, cast: Cast) -> None:
    await publish_totals(store, {cast.growth: (10_000, 100), cast.income: (5_000, -30), cast.bens: (777, 7)})
    async with sign_in(api, "advisor") as client:
        view = View(sort=(Sort("day_pnl"),), count=1)
        async with aclosing(client.floor(view=view)) as updates:
            async for update in updates:
                if update.totals["portfolios"] == 2:
                    break
        assert list(update.rows) == [str(cast.income)]
        assert update.totals["view_rows"] == 2
        assert update.totals["total_equity"] == 300.0
        async with aclosing(client.floor()) as updates:
            assert (await anext(updates)).rows.keys() == {str(cast.growth), str(cast.income)}


async def test_a_guest_follows_the_demonstration_and_nothing_else(api: RunningApi, cast: Cast) -> None:
    async with Client(api.url, guest=True, patience=PATIENCE) as client:
        seen = []
        async with aclosing(client.demo(max_hz=20)) as updates:
            async for update in updates:
                seen.append(update.seq)
                if len(set(seen)) == 3:
                    break
        assert seen == sorted(seen)
        for stream in (client.quote("AAPL"), client.portfolio(cast.bens), client.alerts()):
            with pytest.raises(Refused, match="forbidden_stream"):
                await anext(stream)


async def test_alerts_come_until_they_are_acknowledged(
    api: RunningApi, store: LiveStore, cast: Cast, module_postgres_url: str
) -> None:
    connection = await asyncpg.connect(module_postgres_url)
    try:
        rule = await create_rule(
            connection, Viewer(cast.ben, "client"), Wish("price", "AAPL", None, "above", Decimal(200), "each_time")
        )
        assert rule is not None
        for value in (201.0, 202.0):
            await connection.execute("update alert_rules set armed = true where id = $1", rule)
            (known,) = [one for one in await changed_rules(connection, 0) if one.id == rule]
            async with connection.transaction():
                await raise_alerts(connection, [Crossing(rule, known.version, value, "feed", 7, datetime.now(UTC))])
        async with sign_in(api, "ben") as client:
            alerts = client.alerts()
            async with asyncio.timeout(20), aclosing(alerts):
                seen = [await anext(alerts), await anext(alerts)]
                left = "select array_agg(seq) from alerts where acknowledged_at is null"
                await eventually(lambda: is_left(connection, left, [2]), "the first one is acknowledged")
        assert [(one.seq, one.value, one.subject) for one in seen] == [
            (1, 201.0, "quote:AAPL"),
            (2, 202.0, "quote:AAPL"),
        ]
        async with sign_in(api, "ben") as client, asyncio.timeout(20), aclosing(client.alerts()) as alerts:
            assert (await anext(alerts)).seq == 2
    finally:
        await connection.close()


async def is_left(connection: asyncpg.Connection, query: str, expected: list[int]) -> bool:
    found: list[int] = await connection.fetchval(query)
    return found == expected


async def test_a_wrong_password_is_said_at_once(api: RunningApi) -> None:
    with pytest.raises(Refused, match="name or the password is wrong") as refused:
        await Client(api.url, email=email("ben"), password="wrong").__aenter__()
    assert refused.value.code == 3501
    assert "wrong" not in repr(Client(api.url, email=email("ben"), password="wrong")._tokens)


async def test_the_token_is_renewed_in_time_and_the_stream_goes_on(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    first = create_valuation(cast.bens, {"AAPL": (50_000, 1)}, epoch=2, seq=1)
    await publish(store, first)
    async with sign_in(api, "ben") as client:
        token, session = client._tokens.token, client._session
        updates = client.portfolio(cast.bens, max_hz=20)
        async with aclosing(updates):
            await until(updates, first)
            await eventually(lambda: client._tokens.token != token, "the token is renewed")
            second = create_valuation(cast.bens, {"AAPL": (50_001, 2)}, epoch=2, seq=2)
            await publish(store, second)
            update = await until(updates, second)
        assert not update.resynced
        assert client._session is session  # the connection is the same one
        assert (await client.get("/api/portfolio/overview"))["totalEquity"] == 500.01


async def test_somebody_suspended_is_told_so(
    api: RunningApi, store: LiveStore, cast: Cast, module_postgres_url: str
) -> None:
    shown = create_valuation(cast.income, {"AAPL": (50_000, 1)}, seq=1)
    await publish(store, shown)
    connection = await asyncpg.connect(module_postgres_url)
    try:
        async with sign_in(api, "ana") as client:
            updates = client.portfolio(cast.income)
            async with aclosing(updates):
                await until(updates, shown)
                await connection.execute("update users set status = 'suspended' where id = $1", cast.ana)
                with pytest.raises(Refused) as refused:
                    await read_on(updates)
        assert refused.value.code == 3501
    finally:
        await connection.execute("update users set status = 'active' where id = $1", cast.ana)
        await connection.close()


async def test_processes_are_replaced_one_after_the_other_and_the_loop_goes_on(
    module_postgres_url: str, module_redis_url: str, store: LiveStore, cast: Cast
) -> None:
    values = [create_valuation(cast.bens, {"AAPL": (60_000 + seq, seq)}, epoch=3, seq=seq) for seq in (1, 2)]
    await publish(store, values[0])
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        processes = [
            await stack.enter_async_context(open_api(module_postgres_url, module_redis_url))
            for stack in (first, second)
        ]
        urls = [one.url for one in processes]
        async with Client(urls, email=email("ben"), password=PASSWORD, patience=QUICK) as client:
            updates = client.portfolio(cast.bens, max_hz=20)
            async with aclosing(updates):
                await until(updates, values[0])
                assert client.url == urls[0]
                await first.aclose()
                await publish(store, values[1])
                await until(updates, values[1])
                assert client.url == urls[1]
