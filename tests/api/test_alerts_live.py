"""Alerts on the live stream: all of them, in order, each once a connection, until they are acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from fakes import eventually
from fakes_api import Cast, RunningApi
from fakes_live import TRANSPORTS, LiveClient, Refused, open_live, sign_in
from fakes_stream import InterruptedPool

from api.auth.identity import Identity, Session
from api.live.alerts import LOOK_EVERY_S, AlertHub
from api.live.message import Message
from db.alert_rules import Wish, changed_rules, create_rule
from db.alerts import PAGE, Crossing, raise_alerts
from db.live import LiveStore
from db.portfolios import Viewer
from db.postgres import open_pool

pytestmark = pytest.mark.integration
AT = datetime(2026, 11, 21, 15, 30, 0, 250_000, UTC)


class Bell:
    """Raise alerts as a stream worker does, and say so, or not."""

    def __init__(self, connection: asyncpg.Connection, store: LiveStore) -> None:
        self.connection = connection
        self._store = store
        self.role = "client"

    async def rule(self, user: UUID, portfolio: UUID | None = None) -> UUID:
        """Set a rule: on AAPL, or on a portfolio."""
        kind, symbol = ("price", "AAPL") if portfolio is None else ("day_pnl", None)
        wish = Wish(kind, symbol, portfolio, "above", Decimal(200), "each_time")
        role = await self.connection.fetchval("select role from users where id = $1", user)
        rule = await create_rule(self.connection, Viewer(user, role), wish)
        assert rule is not None
        return rule

    async def ring(self, user: UUID, count: int = 1, *, announced: bool = True, portfolio: UUID | None = None) -> None:
        """Raise `count` alerts of a user, one after the other."""
        rule = await self.rule(user, portfolio)
        versions = {one.id: one.version for one in await changed_rules(self.connection, 0)}
        for number in range(count):
            async with self.connection.transaction():
                await self.connection.execute("update alert_rules set armed = true where id = $1", rule)
                crossing = Crossing(rule, versions[rule], 200.0 + number, "feed", 7, AT)
                assert await raise_alerts(self.connection, [crossing]) == {rule: user}
        if announced:
            await self._store.announce_alerts([user])


@pytest.fixture
async def bell(module_postgres_url: str, cast: Cast, store: LiveStore) -> AsyncIterator[Bell]:
    """Lend a bell, and leave no alert behind."""
    connection = await asyncpg.connect(module_postgres_url)
    yield Bell(connection, store)
    await connection.execute("delete from alerts")
    await connection.execute("delete from alert_rules")
    await connection.execute("update users set alert_seq = 0")
    await connection.close()


@asynccontextmanager
async def following(api: RunningApi, name: str, transport: str = "websocket") -> AsyncIterator[LiveClient]:
    """Follow alerts as somebody of the cast."""
    token = (await sign_in(api.url, name))["token"]
    async with open_live(transport, api.url, {"token": token}) as client:
        answer = await client.subscribe("alerts")
        assert [one["stream"] for one in answer["streams"]] == ["alerts"]
        yield client


def numbers(client: LiveClient) -> list[int]:
    return [one["seq"] for one in client.follower.events("alert")]


async def has(client: LiveClient, *expected: int) -> None:
    await eventually(lambda: numbers(client) == list(expected), f"{expected} have come")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_is_not_acknowledged_comes_on_subscribing_and_the_rest_as_it_is_raised(
    api: RunningApi, bell: Bell, cast: Cast, transport: str
) -> None:
    await bell.ring(cast.ana, 3)
    async with following(api, "ana", transport) as client:
        await has(client, 1, 2, 3)
        await bell.ring(cast.ana, 2)
        await has(client, 1, 2, 3, 4, 5)
    async with following(api, "ana", transport) as client:
        await has(client, 1, 2, 3, 4, 5)
        assert (await client.request("acknowledge", seq=4))["seq"] == 4
    async with following(api, "ana", transport) as client:
        await has(client, 5)


async def test_an_alert_says_what_crossed(api: RunningApi, bell: Bell, cast: Cast) -> None:
    await bell.ring(cast.ana)
    async with following(api, "ana") as client:
        await has(client, 1)
        (message,) = client.follower.events("alert")
    assert (message["stream"], message["epoch"], message["seq"]) == ("alerts", 1, 1)
    alert = message["alert"]
    assert (alert["kind"], alert["subject"], alert["title"]) == ("price", "quote:AAPL", "Apple Inc.")
    assert (alert["direction"], alert["threshold"], alert["value"]) == ("above", 200.0, 200.0)
    assert (alert["currency"], alert["price_source"], alert["price_ns"]) == ("USD", "feed", 7)
    assert alert["raised_ns"] == 1_795_275_000_250_000_000
    assert UUID(alert["id"]) != UUID(alert["rule"])


async def test_an_alert_comes_though_redis_said_nothing(api: RunningApi, bell: Bell, cast: Cast) -> None:
    async with following(api, "ana") as client:
        await bell.ring(cast.ana, 2, announced=False)
        await has(client, 1, 2)


async def test_word_from_redis_brings_an_alert_at_once(api: RunningApi, bell: Bell, cast: Cast) -> None:
    async with following(api, "ana") as client:
        begun, count = time.monotonic(), 8
        for number in range(1, count + 1):
            await bell.ring(cast.ana)
            await has(client, *range(1, number + 1))
    assert time.monotonic() - begun < (count - 1) * LOOK_EVERY_S / 2  # looking only now and then takes twice as long


async def test_many_at_once_come_all_and_in_order(api: RunningApi, bell: Bell, cast: Cast) -> None:
    count = 2 * PAGE + 7
    async with following(api, "ana") as client:
        await bell.ring(cast.ana, count)
        await has(client, *range(1, count + 1))


async def test_each_connection_of_a_user_has_each_alert_and_nobody_else_has_it(
    api: RunningApi, bell: Bell, cast: Cast
) -> None:
    async with following(api, "ana") as desk, following(api, "ana", "socketio") as phone, following(api, "ben") as ben:
        await bell.ring(cast.ana, 2)
        await bell.ring(cast.ben)
        await has(desk, 1, 2)
        await has(phone, 1, 2)
        await has(ben, 1)
        assert ben.follower.events("alert")[0]["alert"]["id"] != desk.follower.events("alert")[0]["alert"]["id"]


async def test_subscribing_again_brings_again_what_is_not_acknowledged(api: RunningApi, bell: Bell, cast: Cast) -> None:
    async with following(api, "ana") as client:
        await bell.ring(cast.ana, 2)
        await has(client, 1, 2)
        await client.request("acknowledge", seq=1)
        await client.subscribe("alerts")
        await has(client, 1, 2, 2)
        await client.request("unsubscribe", streams=["alerts"])
        await bell.ring(cast.ana)
        await client.subscribe("alerts")
        await has(client, 1, 2, 2, 2, 3)


async def test_acknowledging_is_of_ones_own_alerts_and_of_those_that_are_there(
    api: RunningApi, bell: Bell, cast: Cast
) -> None:
    await bell.ring(cast.ana, 2)
    async with following(api, "ben") as ben, following(api, "ana") as ana:
        assert (await ben.request("acknowledge", seq=2))["seq"] == 0
        await has(ana, 1, 2)
        assert (await ana.request("acknowledge", seq=2**62))["seq"] == 2
        await bell.ring(cast.ana)
        await has(ana, 1, 2, 3)
        assert (await ana.request("acknowledge", seq=-1))["error"]["code"] == 3500


async def test_the_heartbeat_says_which_alert_a_client_must_have_had(api: RunningApi, bell: Bell, cast: Cast) -> None:
    async with following(api, "ana") as client:
        await bell.ring(cast.ana, 2)

        def told() -> Any:
            beats = client.follower.events("heartbeat")
            return beats and beats[-1]["streams"].get("alerts") == {"epoch": 1, "seq": 2}

        await eventually(told, "the heartbeat names the second alert")
        assert numbers(client) == [1, 2]


async def test_a_guest_has_no_alerts(api: RunningApi) -> None:
    async with open_live("websocket", api.url, {"guest": True}) as client:
        for kind, fields in (("subscribe", {"streams": [{"stream": "alerts"}]}), ("acknowledge", {"seq": 1})):
            assert (await client.request(kind, **fields))["error"]["code"] == 3503


async def test_an_advisor_who_loses_a_client_hears_no_more_of_the_portfolio(
    api: RunningApi, bell: Bell, cast: Cast
) -> None:
    await bell.ring(cast.advisor, portfolio=cast.growth)
    await bell.ring(cast.advisor)
    pair = (cast.advisor, cast.ana)
    await bell.connection.execute("delete from advisor_clients where advisor_id = $1 and client_id = $2", *pair)
    try:
        async with following(api, "advisor") as client:
            await has(client, 2)
    finally:
        await bell.connection.execute("insert into advisor_clients values ($1, $2)", *pair)


async def test_who_is_suspended_is_told_nothing_and_let_go(api: RunningApi, bell: Bell, cast: Cast) -> None:
    async with following(api, "stranger") as client:
        await bell.connection.execute("update users set status = 'suspended' where id = $1", cast.stranger)
        try:
            await eventually(lambda: client.goodbye, "the client is dismissed")
        finally:
            await bell.connection.execute("update users set status = 'active' where id = $1", cast.stranger)
    assert Refused(client.goodbye or {}).code == 3501


class FakeClient:
    """A client that has room for so many messages."""

    def __init__(self, user: UUID, room: int) -> None:
        self.identity = Identity(user, "client", "", "en", Session("token", user))
        self.closed = False
        self.room = room
        self.received: list[int] = []

    def has_room(self, _: int) -> bool:
        """Say whether one more fits."""
        return self.room > 0

    def send(self, message: Message) -> None:
        """Take a message."""
        self.room -= 1
        self.received.append(orjson.loads(message.body)["seq"])


@pytest.fixture
async def hub(module_postgres_url: str) -> AsyncIterator[tuple[AlertHub, Any]]:
    """Run a hub of our own, on a PostgreSQL that goes away at will."""
    async with open_pool(module_postgres_url, "tests", size=2) as pool:
        interrupted = InterruptedPool(pool)
        hub = AlertHub(interrupted)
        running = asyncio.create_task(hub.run())
        yield hub, interrupted
        running.cancel()
        await asyncio.wait([running])


async def test_who_has_no_room_waits_for_nothing_that_is_kept_and_holds_up_nobody(
    hub: tuple[AlertHub, Any], bell: Bell, cast: Cast
) -> None:
    await bell.ring(cast.ana, 5)
    slow, quick = FakeClient(cast.ana, 2), FakeClient(cast.ana, 1000)
    for client in (slow, quick):
        hub[0].subscribe(client)
    await eventually(lambda: quick.received == [1, 2, 3, 4, 5] and slow.received == [1, 2], "each had what it takes")
    await bell.ring(cast.ana)
    hub[0].wake(cast.ana)
    await eventually(lambda: quick.received[-1] == 6, "the quick one goes on")
    assert slow.received == [1, 2]
    slow.room = 1000
    await eventually(lambda: slow.received == [1, 2, 3, 4, 5, 6], "the slow one has all of them, in order")


async def test_nothing_is_lost_while_postgresql_is_away(hub: tuple[AlertHub, Any], bell: Bell, cast: Cast) -> None:
    client = FakeClient(cast.ana, 1000)
    subscription = hub[0].subscribe(client)
    hub[1].away = True
    await bell.ring(cast.ana, 2)
    hub[0].wake(cast.ana)
    await eventually(lambda: hub[1].refused, "the hub finds PostgreSQL away")
    hub[1].away = False
    await eventually(lambda: client.received == [1, 2], "the alerts have come")
    assert subscription.position == (1, 2)
    subscription.end()
    subscription.end()  # the hub ends a client's subscriptions, and so does the client that is cut


async def test_word_that_cannot_be_read_stops_nothing(hub: tuple[AlertHub, Any], bell: Bell, cast: Cast) -> None:
    client = FakeClient(cast.ana, 1000)
    hub[0].subscribe(client)
    for data in (b"", b"{}", b'{"user_id": "nobody"}', b"\xff"):
        hub[0].announced(data)
    await bell.ring(cast.ana)
    hub[0].announced(orjson.dumps({"user_id": str(cast.ana)}))
    await eventually(lambda: client.received == [1], "the alert has come")
