"""Ask wrongly, too much, too often and from the wrong place: each is refused by name, and harms nobody else."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets
from fakes import eventually
from fakes_api import Cast, RunningApi, create_valuation, open_api, publish
from fakes_crowd import connected, small_socket
from fakes_live import (
    ANSWERS,
    Refused,
    connect_live,
    holds,
    next_seq,
    open_live,
    raw_address,
    sign_in,
    socketio_address,
    until_closed,
)

from api.live.protocol import LARGEST_REQUEST
from api.live.transport import LINGER_S
from db.live import LiveStore

ADDRESSES = {"socketio": socketio_address, "websocket": raw_address}


@asynccontextmanager
async def frames(api: RunningApi, transport: str, name: str) -> AsyncIterator[websockets.ClientConnection]:
    """Lend a WebSocket on which somebody has come in, to send whatever frames."""
    auth = await sign_in(api.url, name)
    async with websockets.connect(ADDRESSES[transport](api.url)) as socket:
        if transport == "socketio":
            await socket.recv()
            await socket.send("40/live," + json.dumps({"token": auth["token"]}))
            assert str(await socket.recv()).startswith("40/live,")
        else:
            await socket.send(json.dumps({"type": "auth", "id": 1, "token": auth["token"]}))
            assert json.loads(await socket.recv())["type"] == "authenticated"
        yield socket


def framed(transport: str, kind: str, data: dict[str, Any]) -> str:
    """Return a request as the transport carries it."""
    if transport == "socketio":
        return f"42/live,{data['id']}" + json.dumps([kind, data])
    return json.dumps({"type": kind, **data})


async def answer_on(socket: websockets.ClientConnection, transport: str, identifier: int) -> dict[str, Any]:
    """Return the answer to a request, whatever else comes before it."""
    async with asyncio.timeout(10):
        while True:
            text = str(await socket.recv())
            if transport == "websocket":
                found = json.loads(text)
                if found["type"] in {*ANSWERS.values(), "error"} and found["id"] == identifier:
                    return found
            elif text.startswith(f"43/live,{identifier}["):
                return json.loads(text.removeprefix(f"43/live,{identifier}"))[0]


MALFORMED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("subscribe", {}),
    ("subscribe", {"streams": []}),
    ("subscribe", {"streams": "demo"}),
    ("subscribe", {"streams": ["demo"]}),
    ("subscribe", {"streams": [{"stream": "portfolio:x"}]}),
    ("subscribe", {"streams": [{"stream": "demo:1"}]}),
    ("subscribe", {"streams": [{"stream": "quote:"}]}),
    ("subscribe", {"streams": [{"stream": 7}]}),
    ("subscribe", {"streams": [{"stream": "demo", "seq": "1"}]}),
    ("subscribe", {"streams": [{"stream": "demo", "epoch": 1.5, "seq": 1}]}),
    ("subscribe", {"streams": [{"stream": "demo"}], "max_hz": 0}),
    ("subscribe", {"streams": [{"stream": "demo"}], "max_hz": "fast"}),
    ("subscribe", {"streams": [{"stream": "demo", "view": {}}]}),
    ("subscribe", {"streams": [{"stream": "demo"}] * 51}),
    ("unsubscribe", {}),
    ("acknowledge", {}),
    ("acknowledge", {"seq": -1}),
    ("acknowledge", {"seq": 2**63}),
    ("nonsense", {}),
    ("connect", {}),
    ("disconnect", {}),
    ("trigger_event", {}),
    ("_connect", {}),
    ("answer", {}),
    ("", {}),
)


async def test_malformed_requests_are_refused_by_name_and_end_nothing(
    api: RunningApi, cast: Cast, transport: str
) -> None:
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        for kind, data in MALFORMED:
            answer = await client.request(kind, **data)
            assert (answer["error"]["code"], answer["error"]["name"]) == (3500, "bad_request"), (kind, data)
        assert "error" not in await client.subscribe(f"portfolio:{cast.growth}")


async def test_a_request_needs_an_id_that_its_answer_can_name(api: RunningApi, transport: str) -> None:
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        for data in ({}, {"id": None}, {"id": [1]}, {"id": {"a": 1}}, {"id": "x" * 65}):
            answer = await client.ask("list", data)
            assert answer["error"]["code"] == 3500, data
        assert (await client.request("list"))["streams"] == []


GARBAGE = {
    "websocket": (
        "",
        "x",
        "7",
        "null",
        "[]",
        '"list"',
        "{}",
        '{"type":"list"',
        '{"type":7,"id":1}',
        '{"type":null,"id":1}',
        '{"type":["list"],"id":1}',
        '{"id":1}',
        '{"type":"subscribe","id":1,"streams":[{"stream":"demo"}],"max_hz":NaN}',
        '{"type":"acknowledge","id":1,"seq":1e400}',
        '{"type":"acknowledge","id":1,"seq":' + "9" * 5000 + "}",
        '{"type":"\\ud800","id":1}',
        '{"type":"list","id":' + "[" * 8000 + "]" * 8000 + "}",
        '{"type":"list","x":' * 800,
        b"",
        b"\x00\xff",
        b'{"type":"list","id":1}',
    ),
    "socketio": (
        "4",
        "42",
        "42/live,",
        "42/live,[]",
        "42/live,{}",
        "42/live,[7]",
        "42/live,[null]",
        "42/live,[[]]",
        '42/live,["subscribe"]',
        '42/live,["subscribe",1,2,3]',
        '42/live,["list",{"id":NaN}]',
        '42/live,["list",' + "[" * 8000 + "]" * 8000 + "]",
        '42/live,["acknowledge",{"id":1,"seq":' + "9" * 5000 + "}]",
        '42/other,["list"]',
        "43/live,7[]",
        "451-/live,[]",
        "9",
        "4x",
        "3",
    ),
}


async def test_garbage_ends_nothing_and_leaves_no_traceback(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = f"portfolio:{cast.growth}"
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as bystander:
        await bystander.subscribe(stream)
        async with frames(api, transport, "ana") as socket:
            for frame in GARBAGE[transport]:
                await socket.send(frame)
            await socket.send(framed(transport, "list", {"id": 77}))
            assert "error" not in await answer_on(socket, transport, 77)
        last = create_valuation(cast.growth, {"AAPL": (next_seq(), 1)}, seq=next_seq())
        await publish(store, last)
        await eventually(lambda: holds(bystander.follower, last))
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert "Error" not in said, said


async def test_the_last_of_two_equal_keys_counts(api: RunningApi, transport: str) -> None:
    twice = '{"type":"%s","id":1,"id":8,"streams":[{"stream":"portfolio:x"}],"streams":[{"stream":"demo"}]}'
    request = twice % "subscribe" if transport == "websocket" else f'42/live,8["subscribe",{twice % "x"}]'
    async with frames(api, transport, "ana") as socket:
        await socket.send(request)
        assert "error" not in await answer_on(socket, transport, 8)


async def test_a_connection_follows_fifty_streams_at_most(api: RunningApi, cast: Cast, transport: str) -> None:
    some = ["demo", "alerts", f"portfolio:{cast.growth}", f"floor:{cast.advisor}", "quote:AAPL"]
    async with open_live(transport, api.url, await sign_in(api.url, "admin")) as client:
        assert "error" not in await client.subscribe(*some)
        answer = await client.subscribe(*(f"portfolio:{uuid4()}" for _ in range(46)))
        assert (answer["error"]["code"], answer["error"]["name"]) == (3504, "too_many_streams")
        assert {one["stream"] for one in (await client.request("list"))["streams"]} == set(some)


async def test_a_message_that_is_too_large_ends_its_connection_and_one_byte_less_does_not(
    api: RunningApi, transport: str
) -> None:
    async with frames(api, transport, "ana") as socket:
        empty = framed(transport, "list", {"id": 1, "padding": ""})
        fits = framed(transport, "list", {"id": 1, "padding": "x" * (LARGEST_REQUEST - len(empty))})
        await socket.send(fits)
        assert "error" not in await answer_on(socket, transport, 1)
        await socket.send(fits + " ")
        messages = [str(one) async for one in until_closed(socket)]
    if transport == "websocket":
        assert json.loads(messages[-1])["code"] == socket.close_code == 3505


async def test_too_many_requests_at_once_are_refused_and_later_ones_are_not(api: RunningApi, transport: str) -> None:
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        answers = await asyncio.gather(*(client.request("list") for _ in range(120)))
        refused = [one["error"]["name"] for one in answers if "error" in one]
        assert set(refused) == {"too_many_requests"}
        assert 50 <= len(answers) - len(refused) < 100

        async def again() -> bool:
            return "error" not in await client.request("list")

        await eventually(again, "the allowance comes back")
        assert client.goodbye is None


async def test_who_never_says_who_they_are_is_cut(api: RunningApi, transport: str) -> None:
    async with websockets.connect(ADDRESSES[transport](api.url)) as socket:
        messages = [str(one) async for one in until_closed(socket)]
    if transport == "websocket":
        assert json.loads(messages[-1])["name"] == "not_authenticated"
        assert socket.close_code == 3009


async def test_pings_do_not_keep_a_stranger_in(api: RunningApi, transport: str) -> None:
    async with websockets.connect(ADDRESSES[transport](api.url)) as socket:

        async def pinged() -> bool:
            await socket.ping()
            return False

        with pytest.raises(websockets.ConnectionClosed):
            await eventually(pinged, seconds=5)


async def test_one_user_has_so_many_connections_over_both_transports_and_guests_theirs(
    module_postgres_url: str, module_redis_url: str, cast: Cast, transport: str
) -> None:
    other = {"socketio": "websocket", "websocket": "socketio"}[transport]
    async with open_api(module_postgres_url, module_redis_url, live_connections=2, live_guests=1) as api:
        auth, guest = await sign_in(api.url, "ana"), {"guest": True}
        async with open_live(transport, api.url, auth), open_live(other, api.url, guest):
            last = await connect_live(other, api.url, auth)
            for who in (auth, guest):
                with pytest.raises(Refused) as refusal:
                    await connect_live(transport, api.url, who)
                assert (refusal.value.code, refusal.value.error["name"]) == (3010, "too_many_connections")
            async with open_live(transport, api.url, await sign_in(api.url, "ben")):
                await last.close()

            async def comes_in() -> bool:
                try:
                    await (await connect_live(transport, api.url, auth)).close()
                except Refused:
                    return False
                return True

            await eventually(comes_in, "the place of who has gone is free")


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://127.0.0.1", "http://127.0.0.1.evil.test"])
async def test_pages_of_other_origins_are_refused_at_the_handshake(
    api: RunningApi, transport: str, origin: str
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(ADDRESSES[transport](api.url), additional_headers={"Origin": origin})
    assert refusal.value.response.status_code == 403


async def test_our_own_origin_and_programs_without_one_come_in(api: RunningApi, transport: str) -> None:
    for origin in (api.url, None):
        async with open_live(transport, api.url, await sign_in(api.url, "ana"), origin=origin) as client:
            assert "error" not in await client.request("list")


async def test_polling_is_refused_with_words_and_so_are_other_namespaces(api: RunningApi) -> None:
    async with httpx.AsyncClient(base_url=api.url) as web:
        for answer in (
            await web.get("/socket.io/?EIO=4&transport=polling"),
            await web.post("/socket.io/?EIO=4&transport=polling", content="40/live,"),
        ):
            assert answer.status_code == 400
            assert "Long polling is not offered: connect with transports: ['websocket']" in answer.json()["message"]
        plain = await web.get("/ws/v1")
        assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
        assert "ws://" in plain.json()["message"]
    async with websockets.connect(socketio_address(api.url)) as socket:
        await socket.recv()
        await socket.send("40")
        assert str(await socket.recv()).startswith("44")


async def test_clients_that_do_not_even_read_their_goodbye_are_cut(
    api: RunningApi, store: LiveStore, cast: Cast
) -> None:
    hub = api.process._holder.state.hub
    await eventually(lambda: not hub._clients)
    huge = {f"SYMBOL{index}": (index, 1) for index in range(20_000)}
    await publish(store, create_valuation(cast.income, huge, seq=next_seq()))
    async with frames(api, "socketio", "ana") as one, frames(api, "websocket", "ana") as other:
        clients = tuple(hub._clients)
        for transport, socket in (("socketio", one), ("websocket", other)):
            socket.transport.pause_reading()
            entry = {"stream": f"portfolio:{cast.income}"}
            await socket.send(framed(transport, "subscribe", {"id": 1, "streams": [entry]}))
        for client in clients:
            await eventually(lambda client=client: client._transport.backlog() > 100_000, "the network takes no more")
            client.dismiss(3501, "the session has ended")
        for client in clients:
            connection = client._transport._connection
            await eventually(connection.is_closing, "the connection is cut", LINGER_S + 5)
        await eventually(lambda: not hub._clients, "nothing is left of them")
        for socket in (one, other):
            socket.transport.abort()


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this kernel takes what it wants")
async def test_what_a_slow_client_has_missed_is_conflated_and_not_kept_in_the_kernel(
    module_postgres_url: str, module_redis_url: str, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.income}"

    async def value() -> int:
        seq = next_seq()
        values = {f"SYMBOL{index}": (index + seq, seq) for index in range(1, 1000)}
        await publish(store, create_valuation(cast.income, values, seq=seq))
        return seq

    await value()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_api(module_postgres_url, module_redis_url, sign_in_attempts=1000))
        auth, small = await sign_in(api.url, "ana"), await small_socket(api.url)
        slow = await stack.enter_async_context(connected(transport, api.url, auth, [stream], 20, sock=small))
        slow.transport.pause_reading()
        for _ in range(6):
            last = await value()
            await asyncio.sleep(0.06)  # a little longer than messages are apart: each might have gone by itself
        slow.transport.resume_reading()
        taken = []
        async for text in until_closed(slow):
            if "snapshot" in str(text)[:30] or "delta" in str(text)[:30]:
                found = re.search(r'"seq":(\d+)', str(text))
                taken.append(found is not None and int(found[1]))
                if taken[-1] == last:
                    break
    assert taken[-1] == last
    assert len(taken) <= 3, "a snapshot, perhaps a delta that was on its way, and the newest state"


async def test_a_client_that_does_not_read_is_cut_and_delays_nobody(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    hub = api.process._holder.state.hub
    await eventually(lambda: not hub._clients)
    async with frames(api, transport, "ana") as stalled:
        entry = {"stream": f"portfolio:{cast.income}"}
        await stalled.send(framed(transport, "subscribe", {"id": 1, "max_hz": 20, "streams": [entry]}))
        await answer_on(stalled, transport, 1)
        stalled.transport.pause_reading()
        async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
            await client.subscribe(f"portfolio:{cast.growth}")

            async def flooded() -> bool:
                huge = {f"SYMBOL{index}": (index + next_seq(), 1) for index in range(4000)}
                await publish(store, create_valuation(cast.income, huge, seq=next_seq()))
                return len(hub._clients) == 1

            await eventually(flooded, "the slow client is cut", seconds=20)
            last = create_valuation(cast.growth, {"AAPL": (42, 1)}, seq=next_seq())
            await publish(store, last)
            await eventually(lambda: holds(client.follower, last))
        await eventually(lambda: not hub._clients)
        stalled.transport.abort()
