"""Follow streams as clients do, on both transports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fakes import eventually
from fakes_api import PASSWORD, Cast, RunningApi, create_valuation, email, publish, publish_totals
from fakes_live import LiveClient, Refused, connect_live, holds, next_seq, open_live, sign_in

from db.live import LiveStore

ASSIGN = "insert into advisor_clients (advisor_id, client_id) values ($1, $2)"
RELEASE = "delete from advisor_clients where advisor_id = $1 and client_id = $2"


@asynccontextmanager
async def connection_to(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_client_gets_a_snapshot_and_deltas_and_always_holds_the_valuation(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.growth}"
    first = next_seq()
    await publish(store, create_valuation(cast.growth, {"AAPL": (1000, 5), "USD": (500, 0)}, seq=first))
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        follower = client.follower
        answer = await client.subscribe(stream)
        [entry] = answer["streams"]
        assert entry == {"stream": stream, "epoch": 1, "seq": first, "recovered": False, "max_hz": 20}
        await eventually(lambda: stream in follower.positions)
        assert follower.totals[stream]["name"] == "Growth"
        assert follower.rows[stream]["AAPL"]["name"] == "Apple Inc."
        for number in range(2, 30):
            values = {"AAPL": (1000 + number, number), "NESN": (number % 3, 0), "USD": (500, 0)}
            await publish(store, create_valuation(cast.growth, values, seq=next_seq()))
            await asyncio.sleep(0.01)
        last = create_valuation(cast.growth, {"AAPL": (7000, 2)}, seq=next_seq())
        await publish(store, last)
        await eventually(lambda: holds(follower, last))
    assert follower.gaps == 0
    assert len(follower.events("snapshot")) == 1
    assert 2 <= len(follower.events("delta")) < 29
    assert "name" not in follower.events("delta")[-1]["rows"][0]


async def test_who_comes_back_continues_with_a_delta_and_not_with_a_snapshot(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.income}"
    token = await sign_in(api.url, "ana")
    first = create_valuation(cast.income, {"AAPL": (100, 1), "USD": (5, 0)}, seq=next_seq())
    await publish(store, first)
    async with open_live(transport, api.url, token) as gone:
        await gone.subscribe(stream)
        await eventually(lambda: holds(gone.follower, first))
    second = create_valuation(cast.income, {"AAPL": (200, 1), "USD": (5, 0)}, seq=next_seq())
    await publish(store, second)
    async with open_live(transport, api.url, token) as client:
        again = client.follower
        again.continue_from(gone.follower)
        answer = await client.subscribe(again.held(stream))
        assert answer["streams"][0]["recovered"] is True
        await eventually(lambda: holds(again, second))
        assert again.events("snapshot") == []
        answer = await client.subscribe({**again.held(stream), "epoch": 77})
        assert answer["streams"][0]["recovered"] is False
        await eventually(lambda: len(again.events("snapshot")) == 1)


async def test_who_goes_on_one_transport_continues_on_the_other(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.income}"
    token = await sign_in(api.url, "ana")
    other = {"socketio": "websocket", "websocket": "socketio"}[transport]
    async with open_live(other, api.url, token) as gone:
        await gone.subscribe(stream)
        first = create_valuation(cast.income, {"AAPL": (300, 1)}, seq=next_seq())
        await publish(store, first)
        await eventually(lambda: holds(gone.follower, first))
    second = create_valuation(cast.income, {"USD": (5, 0)}, seq=next_seq())
    await publish(store, second)
    async with open_live(transport, api.url, token) as client:
        client.follower.continue_from(gone.follower)
        assert (await client.subscribe(gone.follower.held(stream)))["streams"][0]["recovered"] is True
        await eventually(lambda: holds(client.follower, second))
    assert [event for event, _ in client.follower.received if event != "heartbeat"] == ["delta"]


async def test_a_new_epoch_comes_as_a_snapshot(api: RunningApi, store: LiveStore, cast: Cast, transport: str) -> None:
    epoch = next_seq()
    first = create_valuation(cast.bens, {"AAPL": (100, 1)}, epoch=epoch, seq=90)
    await publish(store, first)
    async with open_live(transport, api.url, await sign_in(api.url, "ben")) as client:
        await client.subscribe(f"portfolio:{cast.bens}")
        await eventually(lambda: holds(client.follower, first))
        older = create_valuation(cast.bens, {"AAPL": (1, 1)}, epoch=epoch - 1, seq=91)
        await publish(store, older)  # by a worker that was replaced
        second = create_valuation(cast.bens, {"USD": (70, 0)}, epoch=epoch + 1, seq=1)
        await publish(store, second)
        await eventually(lambda: holds(client.follower, second))
    assert [one["epoch"] for one in client.follower.events("snapshot")] == [epoch, epoch + 1]


async def test_a_floor_shows_the_book_and_follows_the_totals_and_the_assignments(
    api: RunningApi, store: LiveStore, cast: Cast, module_postgres_url: str, transport: str
) -> None:
    stream = f"floor:{cast.advisor}"
    layout = next_seq()
    amounts = {cast.growth: (10_000, 100), cast.income: (5_000, -30), cast.bens: (777, 7)}
    await publish_totals(store, amounts, seq=next_seq(), layout=layout)
    async with open_live(transport, api.url, await sign_in(api.url, "advisor")) as client:
        follower = client.follower
        await client.subscribe(stream)
        await eventually(lambda: follower.totals.get(stream, {}).get("total_equity") == 300.0)
        assert list(follower.rows[stream]) == [str(cast.growth), str(cast.income)]
        row = follower.rows[stream][str(cast.growth)]
        assert (row["client"], row["base_currency"], row["total_equity"]) == ("Ana Alba", "EUR", 100.0)
        assert follower.totals[stream]["day_pnl"] == 1.4
        await publish_totals(store, {**amounts, cast.income: (6_000, 10)}, seq=next_seq(), layout=layout)
        await eventually(lambda: follower.totals[stream]["total_equity"] == 320.0)
        changed = follower.events("delta")[-1]["rows"]
        assert [one["portfolio_id"] for one in changed] == [str(cast.income)]
        async with connection_to(module_postgres_url) as database:
            await database.execute(ASSIGN, cast.advisor, cast.ben)
            await eventually(lambda: str(cast.bens) in follower.rows[stream], seconds=5)
            assert follower.rows[stream][str(cast.bens)]["client"] == "Ben Brown"
            await database.execute(RELEASE, cast.advisor, cast.ben)
        await eventually(lambda: str(cast.bens) not in follower.rows[stream], seconds=5)
        await publish_totals(store, {cast.bens: (1, 0), cast.growth: (2, 0)}, seq=next_seq(), layout=next_seq())
        await eventually(lambda: follower.totals[stream]["total_equity"] == 0.04)
    assert follower.gaps == 0


async def test_only_the_fields_asked_for_come_and_the_key_always_does(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.growth}"
    await publish(store, create_valuation(cast.growth, {"AAPL": (1000, 5), "USD": (5, 0)}, seq=next_seq()))
    chosen = {"stream": stream, "fields": {"totals": ["total_equity"], "rows": ["value"]}}
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        await client.subscribe(chosen)
        await eventually(lambda: stream in client.follower.positions)
        assert client.follower.totals[stream] == {"total_equity": 10.05}
        assert client.follower.rows[stream]["AAPL"] == {"symbol": "AAPL", "value": 10.0}
        last = create_valuation(cast.growth, {"AAPL": (1000, 9), "NESN": (7, 1)}, seq=next_seq())
        await publish(store, last)
        await eventually(lambda: "NESN" in client.follower.rows[stream])
        assert client.follower.rows[stream] == {
            "AAPL": {"symbol": "AAPL", "value": 10.0},
            "NESN": {"symbol": "NESN", "value": 0.07},
        }
        await client.subscribe(stream)  # and now everything: what is missing of it must come
        await eventually(lambda: holds(client.follower, last))
        for wrong in ({"rows": ["valuee"]}, {"totals": ["value"]}, {"columns": []}):
            answer = await client.subscribe({"stream": stream, "fields": wrong})
            assert answer["error"]["code"] == 3500
        assert client.follower.gaps == 0


async def test_a_position_of_other_fields_is_not_continued(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.growth}"
    last = create_valuation(cast.growth, {"AAPL": (1000, 5)}, seq=next_seq())
    await publish(store, last)
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        await client.subscribe({"stream": stream, "fields": {"totals": ["cash"], "rows": []}})
        await eventually(lambda: client.follower.positions.get(stream, (0, 0))[1] == last.seq)
        await client.subscribe(client.follower.held(stream))
        await eventually(lambda: holds(client.follower, last))


async def test_every_answer_names_all_that_is_followed(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    growth, income = f"portfolio:{cast.growth}", f"portfolio:{cast.income}"
    await publish(store, create_valuation(cast.growth, {"AAPL": (10, 5)}, seq=next_seq()))
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        assert (await client.request("list"))["streams"] == []
        await client.subscribe(growth, max_hz=3)
        answer = await client.subscribe(income, max_hz=99)
        assert {one["stream"]: (one["recovered"], one["max_hz"]) for one in answer["streams"]} == {
            growth: (True, 3),
            income: (False, 20),
        }
        listed = await client.request("list")
        assert {one["stream"] for one in listed["streams"]} == {growth, income}
        answer = await client.request("unsubscribe", streams=[growth, "portfolio:unknown"])
        assert [one["stream"] for one in answer["streams"]] == [income]
        named = await client.request("list", id="mine")
        assert (named["id"], [one["stream"] for one in named["streams"]]) == ("mine", [income])


async def test_answers_tell_the_servers_time(api: RunningApi, transport: str, cast: Cast) -> None:
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        before = time.time_ns()
        answer = await client.request("list")
        assert before <= answer["server_ns"] <= time.time_ns()


async def test_one_stream_that_is_not_yours_refuses_the_whole_request_as_unknown_ones_do(
    api: RunningApi, cast: Cast, transport: str
) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        refusals = [
            await client.subscribe(f"portfolio:{cast.growth}", f"portfolio:{other}") for other in (cast.bens, unknown)
        ]
        assert refusals[0]["error"] == refusals[1]["error"]
        assert (refusals[0]["error"]["code"], refusals[0]["error"]["name"]) == (3503, "forbidden_stream")
        assert (await client.request("list"))["streams"] == []


async def test_after_unsubscribing_nothing_comes(api: RunningApi, store: LiveStore, cast: Cast, transport: str) -> None:
    stream = f"portfolio:{cast.growth}"
    await publish(store, create_valuation(cast.growth, {"AAPL": (1, 1)}, seq=next_seq()))
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        await client.subscribe(stream)
        await eventually(lambda: stream in client.follower.positions)
        await eventually(lambda: stream in heartbeats(client)[-1]["streams"] if heartbeats(client) else False)
        assert (await client.request("unsubscribe", streams=[stream]))["streams"] == []
        deltas, beats = len(client.follower.events("delta")), len(heartbeats(client))
        await publish(store, create_valuation(cast.growth, {"AAPL": (2, 1)}, seq=next_seq()))
        await eventually(lambda: len(heartbeats(client)) > beats + 1)
        assert len(client.follower.events("delta")) == deltas
        assert heartbeats(client)[-1]["streams"] == {}


async def test_heartbeats_say_where_the_client_stands_and_whether_news_arrives(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.growth}"
    await publish(store, create_valuation(cast.growth, {"AAPL": (1, 1)}, seq=next_seq()))
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        await client.subscribe(stream)
        await eventually(lambda: stream in client.follower.positions)
        epoch, seq = client.follower.positions[stream]
        at = {stream: {"epoch": epoch, "seq": seq}}
        await eventually(lambda: heartbeats(client) and heartbeats(client)[-1]["streams"] == at)
        await eventually(lambda: heartbeats(client)[-1]["source"] == "lost", "no worker beats")

        async def beaten() -> bool:
            await store.beat()
            return bool(heartbeats(client)[-1]["source"] == "live")

        await eventually(beaten)
        assert heartbeats(client)[-1]["persisted"] is True
        await store.beat(persisted=False)
        await eventually(lambda: heartbeats(client)[-1]["persisted"] is False)


@pytest.mark.parametrize("auth", [{}, {"token": "garbage"}, {"token": ""}, {"token": None}, {"guest": False}])
async def test_without_a_good_token_nobody_comes_in(api: RunningApi, auth: Any, transport: str) -> None:
    for cookie in (None, "alhambra_session=guess"):
        with pytest.raises(Refused) as refusal:
            await connect_live(transport, api.url, auth, cookie)
        assert (refusal.value.code, refusal.value.error["name"]) == (3501, "unauthorised")


@pytest.mark.parametrize("auth", [{"token": 7}, {"token": ["x"]}, {"guest": "yes"}, {"token": "x" * 9000}])
async def test_what_is_no_way_to_say_who_one_is_is_a_bad_request(api: RunningApi, auth: Any, transport: str) -> None:
    with pytest.raises(Refused) as refusal:
        await connect_live(transport, api.url, auth)
    assert (refusal.value.code, refusal.value.error["name"]) == (3500, "bad_request")


async def test_a_page_comes_in_with_its_cookie_and_is_out_when_it_signs_out(
    api: RunningApi, cast: Cast, transport: str
) -> None:
    async with httpx.AsyncClient(base_url=api.url, headers={"Origin": api.url}) as web:
        form = {"email": email("ana"), "password": PASSWORD}
        assert (await web.post("/session", data=form)).headers["location"] == "/"
        cookie = "; ".join(f"{name}={value}" for name, value in web.cookies.items())
        stream = f"portfolio:{cast.growth}"
        async with open_live(transport, api.url, cookie=cookie, origin=api.url) as client:
            await client.subscribe(stream)
            await web.post("/session/end")
            await eventually(lambda: client.goodbye, seconds=5)
            assert [one["code"] for one in client.follower.events("revoked")] == [3501]
            assert (client.goodbye["code"], client.goodbye["name"]) == (3501, "unauthorised")
            await eventually(lambda: not client.is_open)
    with pytest.raises(Refused) as refusal:
        await connect_live(transport, api.url, cookie=cookie, origin=api.url)
    assert refusal.value.code == 3501


def heartbeats(client: LiveClient) -> list[dict[str, Any]]:
    return client.follower.events("heartbeat")
