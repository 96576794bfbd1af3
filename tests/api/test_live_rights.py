"""Try every stream as everybody, on both transports, and take rights away from who follows."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import websockets
from fakes import eventually
from fakes_api import Cast, RunningApi, create_valuation, open_api, publish, publish_totals
from fakes_live import Auth, holds, next_seq, open_live, raw_address, sign_in, until_closed

from api.live.protocol import KINDS_ALONE, KINDS_WITH_ID
from db.live import LiveStore

STAFF = {"compliance", "admin"}
SIGNED_IN = {"ana", "ben", "stranger", "advisor", "other", "kyc", *STAFF}
ROLES = (*sorted(SIGNED_IN), "guest")
# Who may follow what; of whom and of what there is none, nobody.
ALLOWED = {
    "portfolio:growth": {"ana", "advisor", *STAFF},
    "portfolio:income": {"ana", "advisor", *STAFF},
    "portfolio:bens": {"ben", "other", *STAFF},
    "portfolio:ana": set(),
    "portfolio:nobody": set(),
    "client:ana": {"ana", "advisor", *STAFF},
    "client:ben": {"ben", "other", *STAFF},
    "client:stranger": {"stranger", *STAFF},
    "client:advisor": set(),
    "client:compliance": set(),
    "client:growth": set(),
    "client:nobody": set(),
    "floor:advisor": {"advisor", *STAFF},
    "floor:other_advisor": {"other", *STAFF},
    "floor:ana": set(),
    "floor:kyc": set(),
    "floor:compliance": set(),
    "floor:nobody": set(),
    "quote:AAPL": SIGNED_IN,
    "quote:EUR/USD": SIGNED_IN,
    "quote:NOBODY": set(),
    "alerts": SIGNED_IN,
    "demo": {*SIGNED_IN, "guest"},
}
IN_TIME_S = 5.0
ASSIGN = "insert into advisor_clients (advisor_id, client_id) values ($1, $2)"
RELEASE = "delete from advisor_clients where advisor_id = $1 and client_id = $2"


def stream_of(cast: Cast, target: str) -> str:
    """Return the stream's public name; whom the cast does not know gets an identifier of nobody."""
    kind, _, whose = target.partition(":")
    return target if kind in ("quote", "alerts", "demo") else f"{kind}:{getattr(cast, whose, uuid4())}"


async def auth_of(api: RunningApi, name: str) -> Auth:
    return {"guest": True} if name == "guest" else await sign_in(api.url, name)


@pytest.fixture(scope="module")
async def positions(api: RunningApi, store: LiveStore, cast: Cast) -> dict[str, dict[str, int]]:
    """Have a document in every stream; returns where each stands, as somebody who may see it knows."""
    for portfolio in (cast.growth, cast.income, cast.bens):
        await publish(store, create_valuation(portfolio, {"AAPL": (1000, 5), "USD": (1, 0)}, seq=next_seq()))
    await publish_totals(store, {cast.growth: (1000, 5), cast.bens: (10, 1)}, seq=next_seq(), layout=next_seq())
    visible = {target: stream_of(cast, target) for target, names in ALLOWED.items() if "admin" in names}
    async with open_live("websocket", api.url, await sign_in(api.url, "admin")) as client:
        entries = {one["stream"]: one for one in (await client.subscribe(*visible.values()))["streams"]}
    return {
        target: {"epoch": entries[stream]["epoch"], "seq": entries[stream]["seq"]} for target, stream in visible.items()
    }


@pytest.mark.parametrize("name", ROLES)
async def test_everybody_may_follow_exactly_what_is_their_own(
    api: RunningApi, cast: Cast, positions: dict[str, dict[str, int]], name: str, transport: str
) -> None:
    subscribed, resumed = set(), set()
    async with open_live(transport, api.url, await auth_of(api, name)) as client:
        for target in ALLOWED:
            stream = stream_of(cast, target)
            for found, held in ((subscribed, {}), (resumed, positions.get(target, {"epoch": 1, "seq": 1}))):
                code = code_of(await client.subscribe({"stream": stream, **held}))
                assert code in (None, 3503), target
                if code is None:
                    found.add(target)
    allowed = {target for target, names in ALLOWED.items() if name in names}
    assert subscribed == allowed
    assert resumed == allowed


def code_of(answer: dict[str, Any]) -> int | None:
    return answer["error"]["code"] if "error" in answer else None


def test_the_matrix_names_every_kind_of_stream_and_everybody(cast: Cast) -> None:
    assert {target.partition(":")[0] for target in ALLOWED} == {*KINDS_WITH_ID, *KINDS_ALONE, "quote"}
    assert {name for _, name, _, status, _ in cast.people() if status == "active"} == SIGNED_IN


async def test_who_has_not_said_who_they_are_is_told_nothing_of_any_stream(api: RunningApi, cast: Cast) -> None:
    for target in ALLOWED:
        async with websockets.connect(raw_address(api.url)) as socket:
            await socket.send(
                json.dumps({"type": "subscribe", "id": 1, "streams": [{"stream": stream_of(cast, target)}]})
            )
            answers = [json.loads(one) async for one in until_closed(socket)]
        assert [(one["type"], one["code"]) for one in answers] == [("closing", 3501)]
        assert socket.close_code == 3501


@asynccontextmanager
async def connection_to(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def usual(module_postgres_url: str, module_redis_url: str, cast: Cast) -> AsyncIterator[RunningApi]:
    """Serve a web process that looks after rights as often as it does in earnest."""
    async with open_api(module_postgres_url, module_redis_url, sign_in_attempts=1000) as running:
        yield running


async def test_within_five_seconds_all_that_was_lost_ends_and_all_else_stays(
    usual: RunningApi, cast: Cast, module_postgres_url: str, transport: str
) -> None:
    bens, growth = f"portfolio:{cast.bens}", f"portfolio:{cast.growth}"
    url = usual.url
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(connection_to(module_postgres_url))
        await database.execute(ASSIGN, cast.advisor, cast.ben)
        tokens = {name: await sign_in(url, name) for name in ("advisor", "stranger", "kyc", "ana", "compliance", "ben")}
        clients = {
            name: await stack.enter_async_context(open_live(transport, url, token)) for name, token in tokens.items()
        }
        followed = {
            "advisor": (bens, f"client:{cast.ben}", growth, f"floor:{cast.advisor}"),
            "stranger": ("demo", "alerts"),
            "kyc": ("quote:AAPL",),
            "ana": (growth,),
            "compliance": (bens, f"floor:{cast.advisor}"),
            "ben": (bens,),
        }
        for name, streams in followed.items():
            assert code_of(await clients[name].subscribe(*streams)) is None, name
        changed = time.monotonic()
        await database.execute(RELEASE, cast.advisor, cast.ben)
        await database.execute("update users set status = 'suspended' where id = $1", cast.stranger)
        await database.execute("update users set role = 'client' where id = $1", cast.kyc)
        await database.execute("update users set role = 'advisor' where id = $1", cast.compliance)
        async with httpx.AsyncClient(base_url=url) as web:
            await web.post("/api/auth/logout", json={"refreshToken": tokens["ana"]["refreshToken"]})
        for name in ("stranger", "kyc", "compliance", "ana"):
            await eventually(lambda name=name: clients[name].goodbye, f"{name} is dismissed", IN_TIME_S)
        await eventually(lambda: len(clients["advisor"].follower.events("revoked")) == 2, "the right ends", IN_TIME_S)
        assert time.monotonic() - changed < IN_TIME_S
        await database.execute("update users set status = 'active', role = 'client' where id = $1", cast.stranger)
        await database.execute("update users set role = 'kyc_agent' where id = $1", cast.kyc)
        await database.execute("update users set role = 'compliance' where id = $1", cast.compliance)
        for name in ("stranger", "kyc", "compliance", "ana"):
            assert clients[name].goodbye["code"] == 3501
            assert {one["stream"] for one in clients[name].follower.events("revoked")} == set(followed[name])
            await eventually(lambda name=name: not clients[name].is_open, f"{name} is out")
        revoked = {one["stream"]: one["code"] for one in clients["advisor"].follower.events("revoked")}
        assert revoked == {bens: 3503, f"client:{cast.ben}": 3503}
        assert code_of(await clients["advisor"].subscribe(bens)) == 3503
        left = (await clients["advisor"].request("list"))["streams"]
        assert {one["stream"] for one in left} == {growth, f"floor:{cast.advisor}"}
        assert clients["ben"].is_open
        assert clients["ben"].follower.events("revoked") == []


async def test_a_token_renewed_in_time_keeps_the_stream_when_the_old_session_ends(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream = f"portfolio:{cast.growth}"
    old, new = await sign_in(api.url, "ana"), await sign_in(api.url, "ana")
    async with open_live(transport, api.url, old) as client:
        await client.subscribe(stream)
        assert (await client.request("auth", token=new["token"]))["role"] == "client"
        async with httpx.AsyncClient(base_url=api.url) as web:
            await web.post("/api/auth/logout", json={"refreshToken": old["refreshToken"]})
            await several_checks_of_rights(api)
            for _ in range(3):
                last = create_valuation(cast.growth, {"AAPL": (next_seq(), 5)}, seq=next_seq())
                await publish(store, last)
                await eventually(lambda last=last: holds(client.follower, last))
            assert (client.goodbye, client.follower.gaps) == (None, 0)
            assert len(client.follower.events("snapshot")) == 1
            await web.post("/api/auth/logout", json={"refreshToken": new["refreshToken"]})
            await eventually(lambda: client.goodbye, "the new session counts", IN_TIME_S)
    assert client.goodbye["code"] == 3501


async def several_checks_of_rights(api: RunningApi) -> None:
    """Wait until rights have been asked for a few times: whoever comes and is dismissed later has been asked for."""
    async with open_live("websocket", api.url, await sign_in(api.url, "ben")) as probe:
        beats = len(probe.follower.events("heartbeat")) + 10
        await eventually(lambda: len(probe.follower.events("heartbeat")) >= beats, "a second has gone by")


@pytest.mark.parametrize("wrong", ["another", "garbage", "nothing", "guest"])
async def test_a_renewal_that_is_refused_changes_nothing(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str, wrong: str
) -> None:
    stream = f"portfolio:{cast.growth}"
    offered = {
        "another": {"token": (await sign_in(api.url, "admin"))["token"]},
        "garbage": {"token": "garbage"},
        "nothing": {},
        "guest": {"guest": True},
    }[wrong]
    async with open_live(transport, api.url, await sign_in(api.url, "ana")) as client:
        await client.subscribe(stream)
        refused = await client.request("auth", **offered)
        assert code_of(refused) == (3500 if wrong in ("nothing", "guest") else 3501)
        assert code_of(await client.subscribe(f"portfolio:{cast.bens}")) == 3503  # not the administrator's rights
        last = create_valuation(cast.growth, {"AAPL": (next_seq(), 5)}, seq=next_seq())
        await publish(store, last)
        await eventually(lambda: holds(client.follower, last))
        assert client.goodbye is None


async def test_a_guest_becomes_nobody_by_a_token(api: RunningApi, transport: str) -> None:
    async with open_live(transport, api.url, {"guest": True}) as client:
        assert code_of(await client.request("auth", token=(await sign_in(api.url, "ana"))["token"])) == 3501
        assert code_of(await client.request("acknowledge", seq=1)) == 3503
        assert code_of(await client.subscribe("demo")) is None
