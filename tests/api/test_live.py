from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import websockets
from fakes import eventually
from fakes_api import (
    PASSWORD,
    Cast,
    Follower,
    RunningApi,
    ask,
    create_valuation,
    document_of,
    email,
    live_client,
    publish,
    publish_totals,
)

from db.live import LiveStore
from stream.messages import Valuation


async def token_of(api: RunningApi, name: str) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=api.url) as web:
        answer = await web.post("/api/auth/login", json={"email": email(name), "password": PASSWORD})
    return {"token": answer.json()["token"], "refreshToken": answer.json()["refreshToken"]}


async def subscribe(client: Any, *streams: str, **more: Any) -> Any:
    wanted = [one if isinstance(one, dict) else {"stream": one} for one in streams]
    return await ask(client, "subscribe", {"id": 1, "streams": wanted, "max_hz": 20, **more})


def shown(valuation: Valuation) -> dict[str, Any]:
    document = document_of(valuation)
    return {name: document[name] for name in ("total_equity", "day_pnl", "cash", "allocation", "computed_ns")}


def holds(follower: Follower, valuation: Valuation) -> bool:
    stream = f"portfolio:{valuation.portfolio_id}"
    if follower.positions.get(stream) != (valuation.epoch, valuation.seq):
        return False
    document = document_of(valuation)
    assert shown(valuation).items() <= follower.totals[stream].items()
    rows = follower.rows[stream]
    assert rows.keys() == {row["symbol"] for row in document["rows"]}
    assert all(row.items() <= rows[row["symbol"]].items() for row in document["rows"])
    return True


async def test_a_client_gets_a_snapshot_and_deltas_and_always_holds_the_valuation(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    stream = f"portfolio:{cast.growth}"
    await publish(store, create_valuation(cast.growth, {"AAPL": (1000, 5), "USD": (500, 0)}, seq=1))
    async with live_client(api.url, auth=await token_of(api, "ana")) as (client, follower):
        answer = await subscribe(client, stream)
        assert answer == {"id": 1, "streams": [{"stream": stream, "epoch": 1, "seq": 1, "recovered": False}]}
        await eventually(lambda: stream in follower.positions)
        assert follower.totals[stream]["name"] == "Growth"
        assert follower.rows[stream]["AAPL"]["name"] == "Apple Inc."
        for seq in range(2, 30):
            newest = create_valuation(
                cast.growth, {"AAPL": (1000 + seq, seq), "NESN": (seq % 3, 0), "USD": (500, 0)}, seq=seq
            )
            await publish(store, newest)
            await asyncio.sleep(0.01)
        last = create_valuation(cast.growth, {"AAPL": (7000, 2)}, seq=30)
        await publish(store, last)
        await eventually(lambda: holds(follower, last))
    assert follower.gaps == 0
    assert len(follower.events("snapshot")) == 1
    assert 2 <= len(follower.events("delta")) < 29
    assert "name" not in follower.events("delta")[-1]["rows"][0]


async def test_who_comes_back_continues_with_a_delta_and_not_with_a_snapshot(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    stream = f"portfolio:{cast.income}"
    token = await token_of(api, "ana")
    first = create_valuation(cast.income, {"AAPL": (100, 1), "USD": (5, 0)}, seq=1)
    await publish(store, first)
    async with live_client(api.url, auth=token) as (client, follower):
        await subscribe(client, stream)
        await eventually(lambda: holds(follower, first))
    second = create_valuation(cast.income, {"AAPL": (200, 1), "USD": (5, 0)}, seq=2)
    await publish(store, second)
    async with live_client(api.url, auth=token) as (client, again):
        again.positions, again.totals, again.rows = follower.positions, follower.totals, follower.rows
        epoch, seq = follower.positions[stream]
        answer = await subscribe(client, {"stream": stream, "epoch": epoch, "seq": seq})
        assert answer["streams"][0]["recovered"] is True
        await eventually(lambda: holds(again, second))
        assert again.events("snapshot") == []
        answer = await subscribe(client, {"stream": stream, "epoch": 77, "seq": seq})
        assert answer["streams"][0]["recovered"] is False
        await eventually(lambda: len(again.events("snapshot")) == 1)


async def test_a_new_epoch_comes_as_a_snapshot(api: RunningApi, store: LiveStore, cast: Cast) -> None:
    first = create_valuation(cast.bens, {"AAPL": (100, 1)}, epoch=5, seq=90)
    await publish(store, first)
    async with live_client(api.url, auth=await token_of(api, "ben")) as (client, follower):
        await subscribe(client, f"portfolio:{cast.bens}")
        await eventually(lambda: holds(follower, first))
        await publish(
            store, create_valuation(cast.bens, {"AAPL": (1, 1)}, epoch=4, seq=91)
        )  # a worker that was replaced
        second = create_valuation(cast.bens, {"USD": (70, 0)}, epoch=6, seq=1)
        await publish(store, second)
        await eventually(lambda: holds(follower, second))
    assert [one["epoch"] for one in follower.events("snapshot")] == [5, 6]


async def test_a_floor_shows_the_book_and_follows_the_totals_and_the_assignments(
    api: RunningApi, store: LiveStore, cast: Cast, module_postgres_url: str
) -> None:
    stream = f"floor:{cast.advisor}"
    amounts = {cast.growth: (10_000, 100), cast.income: (5_000, -30), cast.bens: (777, 7)}
    await publish_totals(store, amounts)
    async with live_client(api.url, auth=await token_of(api, "advisor")) as (client, follower):
        await subscribe(client, stream)
        await eventually(lambda: stream in follower.positions)
        assert list(follower.rows[stream]) == [str(cast.growth), str(cast.income)]
        row = follower.rows[stream][str(cast.growth)]
        assert (row["client"], row["base_currency"], row["total_equity"]) == ("Ana Alba", "EUR", 100.0)
        assert follower.totals[stream]["total_equity"] == 300.0
        assert follower.totals[stream]["day_pnl"] == 1.4
        await publish_totals(store, {**amounts, cast.income: (6_000, 10)}, seq=2)
        await eventually(lambda: follower.totals[stream]["total_equity"] == 320.0)
        changed = follower.events("delta")[-1]["rows"]
        assert [one["portfolio_id"] for one in changed] == [str(cast.income)]
        connection = await asyncpg.connect(module_postgres_url)
        await connection.execute(
            "insert into advisor_clients (advisor_id, client_id) values ($1, $2)", cast.advisor, cast.ben
        )
        await eventually(lambda: str(cast.bens) in follower.rows[stream], seconds=5)
        assert follower.rows[stream][str(cast.bens)]["client"] == "Ben Brown"
        await connection.execute(
            "delete from advisor_clients where advisor_id = $1 and client_id = $2", cast.advisor, cast.ben
        )
        await connection.close()
        await eventually(lambda: str(cast.bens) not in follower.rows[stream], seconds=5)
        await publish_totals(store, {cast.bens: (1, 0), cast.growth: (2, 0)}, seq=3, layout=2)
        await eventually(lambda: follower.totals[stream]["total_equity"] == 0.04)
    assert follower.gaps == 0


ROLES = ("ana", "ben", "stranger", "advisor", "other", "kyc", "compliance", "admin")
ALLOWED = {
    "growth": {"ana", "advisor", "compliance", "admin"},
    "income": {"ana", "advisor", "compliance", "admin"},
    "bens": {"ben", "other", "compliance", "admin"},
    "advisor": {"advisor", "compliance", "admin"},
    "other_advisor": {"other", "compliance", "admin"},
    "ana": set(),  # a client has no floor
    "nobody": set(),
}


@pytest.mark.parametrize("name", ROLES)
async def test_every_role_may_follow_exactly_what_is_its_own(api: RunningApi, cast: Cast, name: str) -> None:
    refused = set()
    async with live_client(api.url, auth=await token_of(api, name)) as (client, _):
        for target in ALLOWED:
            identifier = getattr(cast, target, uuid4())
            kinds = ("portfolio", "floor")
            for kind in kinds:
                answer = await subscribe(client, f"{kind}:{identifier}")
                if "error" in answer:
                    assert answer["error"]["code"] == 3503
                    refused.add((kind, target))
    portfolios = {("portfolio", one) for one in ("growth", "income", "bens") if name in ALLOWED[one]}
    floors = {("floor", one) for one in ("advisor", "other_advisor") if name in ALLOWED[one]}
    everything = {(kind, target) for kind in ("portfolio", "floor") for target in ALLOWED}
    assert everything - refused == portfolios | floors


async def test_one_stream_that_is_not_yours_refuses_the_whole_request_as_unknown_ones_do(
    api: RunningApi, cast: Cast
) -> None:
    async with live_client(api.url, auth=await token_of(api, "ana")) as (client, _):
        other = await subscribe(client, f"portfolio:{cast.growth}", f"portfolio:{cast.bens}")
        unknown = await subscribe(client, f"portfolio:{cast.growth}", f"portfolio:{uuid4()}")
        assert other == unknown
        assert other["error"]["code"] == 3503


async def test_malformed_requests_are_answered_and_end_nothing(api: RunningApi, cast: Cast) -> None:
    async with live_client(api.url, auth=await token_of(api, "ana")) as (client, _):
        for data in (None, 7, "x", [], {"id": 9}, {"id": 9, "streams": [{"stream": "portfolio:x"}]}):
            assert (await ask(client, "subscribe", data))["error"]["code"] == 3500
        assert (await ask(client, "unsubscribe", {"id": 9}))["error"]["code"] == 3500
        for event in ("connect", "disconnect", "trigger_event", "_connect", "nonsense"):
            assert (await ask(client, event, {"id": 3})) == {
                "id": 3,
                "error": {"code": 3500, "message": "there is no such request"},
            }
        many = [f"portfolio:{uuid4()}" for _ in range(51)]
        assert (await subscribe(client, *many))["error"]["code"] == 3500
        assert "error" not in await subscribe(client, f"portfolio:{cast.growth}")


async def test_after_unsubscribing_nothing_comes(api: RunningApi, store: LiveStore, cast: Cast) -> None:
    stream = f"portfolio:{cast.growth}"
    async with live_client(api.url, auth=await token_of(api, "ana")) as (client, follower):
        await subscribe(client, stream)
        await eventually(lambda: stream in follower.positions)
        await eventually(
            lambda: stream in follower.events("heartbeat")[-1]["streams"] if follower.events("heartbeat") else False
        )
        assert await ask(client, "unsubscribe", {"id": 2, "streams": [stream]}) == {"id": 2, "streams": [stream]}
        seen = len(follower.events("delta")), len(follower.events("heartbeat"))
        await publish(store, create_valuation(cast.growth, {"AAPL": (1, 1)}, seq=1000))
        await eventually(lambda: len(follower.events("heartbeat")) > seen[1] + 1)
        assert len(follower.events("delta")) == seen[0]
        assert follower.events("heartbeat")[-1]["streams"] == {}


async def test_heartbeats_say_where_the_client_stands_and_whether_news_arrives(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    stream = f"portfolio:{cast.growth}"
    async with live_client(api.url, auth=await token_of(api, "ana")) as (client, follower):
        await subscribe(client, stream)
        await eventually(lambda: stream in follower.positions)
        await eventually(lambda: len(follower.events("heartbeat")) >= 2)
        epoch, seq = follower.positions[stream]
        await eventually(lambda: follower.events("heartbeat")[-1]["streams"] == {stream: {"epoch": epoch, "seq": seq}})
        assert follower.events("heartbeat")[-1]["source"] == "lost"  # no worker beats in this test

        async def beaten() -> bool:
            await store.beat()
            return bool(follower.events("heartbeat")[-1]["source"] == "live")

        await eventually(beaten)


async def refused_code(url: str, auth: Any = None, cookie: str | None = None) -> int:
    address = url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(address, additional_headers={"Cookie": cookie} if cookie else {}) as socket:
        await socket.recv()
        await socket.send("40/live," + ("" if auth is None else json.dumps(auth)))
        answer = str(await asyncio.wait_for(socket.recv(), 5))
    assert answer.startswith("44/live,"), answer
    return int(json.loads(answer.removeprefix("44/live,"))["data"]["code"])


@pytest.mark.parametrize("auth", [None, {}, {"token": "garbage"}, {"token": 7}, "token", {"token": ""}])
async def test_without_a_good_token_nobody_comes_in(api: RunningApi, auth: Any) -> None:
    assert await refused_code(api.url, auth) == 3501
    assert await refused_code(api.url, None, "alhambra_session=guess") == 3501


async def test_a_page_comes_in_with_its_cookie_and_is_out_when_it_signs_out(api: RunningApi, cast: Cast) -> None:
    async with httpx.AsyncClient(base_url=api.url, headers={"Origin": api.url}) as web:
        form = {"email": email("ana"), "password": PASSWORD}
        assert (await web.post("/session", data=form)).headers["location"] == "/"
        cookie = "; ".join(f"{name}={value}" for name, value in web.cookies.items())
        stream = f"portfolio:{cast.growth}"
        async with live_client(api.url, cookie=cookie) as (client, follower):
            await subscribe(client, stream)
            await web.post("/session/end")
            await eventually(lambda: follower.events("closing"), seconds=5)
            assert [one["code"] for one in follower.events("revoked")] == [3501]
            assert follower.events("closing")[0]["code"] == 3501
            await eventually(lambda: not client.connected)
    assert await refused_code(api.url, None, cookie) == 3501


async def test_rights_that_go_away_end_the_stream_within_five_seconds_and_others_stay(
    api: RunningApi, cast: Cast, module_postgres_url: str
) -> None:
    connection = await asyncpg.connect(module_postgres_url)
    await connection.execute(
        "insert into advisor_clients (advisor_id, client_id) values ($1, $2)", cast.advisor, cast.ben
    )
    lost, kept = f"portfolio:{cast.bens}", f"portfolio:{cast.growth}"
    async with live_client(api.url, auth=await token_of(api, "advisor")) as (client, follower):
        assert "error" not in await subscribe(client, lost, kept)
        await connection.execute(
            "delete from advisor_clients where advisor_id = $1 and client_id = $2", cast.advisor, cast.ben
        )
        await eventually(lambda: follower.events("revoked"), seconds=5)
        assert [(one["stream"], one["code"]) for one in follower.events("revoked")] == [(lost, 3503)]
        assert (await subscribe(client, lost))["error"]["code"] == 3503
        assert client.connected
    await connection.close()


@pytest.mark.parametrize("change", ["status = 'suspended'", "role = 'kyc_agent'"])
async def test_a_user_who_is_suspended_or_changes_roles_is_dismissed(
    api: RunningApi, cast: Cast, module_postgres_url: str, change: str
) -> None:
    connection = await asyncpg.connect(module_postgres_url)
    async with live_client(api.url, auth=await token_of(api, "stranger")) as (client, follower):
        await connection.execute(f"update users set {change} where id = $1", cast.stranger)
        await eventually(lambda: follower.events("closing") and not client.connected, seconds=5)
    await connection.execute("update users set status = 'active', role = 'client' where id = $1", cast.stranger)
    await connection.close()


async def test_other_transports_origins_and_namespaces_are_refused(api: RunningApi, cast: Cast) -> None:
    async with httpx.AsyncClient(base_url=api.url) as web:
        answer = await web.get("/socket.io/?EIO=4&transport=polling")
        assert (answer.status_code, answer.json()) == (400, "Invalid transport")
    address = api.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(address, additional_headers={"Origin": "https://evil.test"})
    async with websockets.connect(address) as socket:
        await socket.recv()
        await socket.send("40")
        assert str(await socket.recv()).startswith("44")
        await socket.send("2" * 40_000)  # larger than any request: the server hangs up
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)


async def test_a_socket_that_never_comes_in_is_cut(api: RunningApi) -> None:
    address = api.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(address) as socket:
        await socket.recv()
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)


async def test_garbage_on_the_socket_ends_nothing_for_others(api: RunningApi, store: LiveStore, cast: Cast) -> None:
    address = api.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    token = await token_of(api, "ana")
    async with websockets.connect(address) as socket:
        await socket.recv()
        await socket.send("40/live," + json.dumps(token))
        assert str(await socket.recv()).startswith("40/live")
        for frame in (
            "4",
            "42",
            "42/live,",
            "42/live,[]",
            "42/live,{}",
            "42/live,[7]",
            "42/live,[null]",
            "451-/live,[]",
            "9",
            "4x",
        ):
            await socket.send(frame)
        await socket.send('42/live,7["subscribe",{"id":1,"streams":[{"stream":"portfolio:' + str(cast.growth) + '"}]}]')
        answers = [str(await asyncio.wait_for(socket.recv(), 5)) for _ in range(2)]
        assert any('"id": 1' in one or '"id":1' in one for one in answers)


async def slow_client(api: RunningApi, cast: Cast) -> websockets.ClientConnection:
    address = api.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    token = await token_of(api, "ana")
    socket = await websockets.connect(address, max_queue=1)
    await socket.recv()
    await socket.send("40/live," + json.dumps(token))
    await socket.recv()
    request = {"id": 1, "max_hz": 20, "streams": [{"stream": f"portfolio:{cast.income}"}]}
    await socket.send("42/live,1" + json.dumps(["subscribe", request]))
    return socket


async def test_a_client_that_does_not_read_is_cut_and_delays_nobody(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    hub = api.process._holder.state.hub
    socket = await slow_client(api, cast)
    socket.transport.pause_reading()
    await eventually(lambda: len(hub._clients) == 1)
    huge = {f"SYMBOL{index}": (index, 1) for index in range(4000)}
    seq = 2000
    async with live_client(api.url, auth=await token_of(api, "ana")) as (client, follower):
        await subscribe(client, f"portfolio:{cast.growth}")

        async def flooded() -> bool:
            nonlocal seq
            seq += 1
            huge_now = {symbol: (value + seq, 1) for symbol, (value, _) in huge.items()}
            await publish(store, create_valuation(cast.income, huge_now, seq=seq))
            return len(hub._clients) == 1

        await eventually(flooded, "the slow client is cut", seconds=20)
        last = create_valuation(cast.growth, {"AAPL": (42, 1)}, seq=seq)
        await publish(store, last)
        await eventually(lambda: holds(follower, last))
    await eventually(lambda: not hub._clients)
    socket.transport.abort()


def test_the_matrix_names_every_stream_of_the_cast(cast: Cast) -> None:
    assert {name for name in ALLOWED if isinstance(getattr(cast, name, None), UUID)} == set(ALLOWED) - {"nobody"}
