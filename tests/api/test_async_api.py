"""The description of the live stream: valid, complete, and true of what real sessions say on both transports."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
import socketio
import websockets
from fakes import eventually
from fakes_api import Cast, RunningApi, create_valuation, publish, publish_totals
from fakes_live import ANSWERS, next_seq, raw_address, sign_in
from fakes_node import install
from jsonschema import Draft7Validator

from api.docs.examples import EXAMPLES
from api.live.codes import NAMES
from api.live.fields import FIELDS
from db.alert_rules import Wish, changed_rules, create_rule
from db.alerts import Crossing, raise_alerts
from db.live import LiveStore, StoredQuote
from db.portfolios import Viewer
from stream.messages import Valuation

REQUESTS = tuple(ANSWERS)
WRITE_EXAMPLES = "ALHAMBRA_WRITE_EXAMPLES"  # set it to take the examples anew from the session that is played here

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def document(api: RunningApi) -> Json:
    """Read the document as everybody can."""
    async with httpx.AsyncClient(base_url=api.url) as web:
        answer = await web.get("/docs/stream.json")
    assert answer.status_code == 200
    found: Json = answer.json()
    return found


@pytest.fixture(scope="module")
def asyncapi_schema() -> Json:
    """Read the schema of AsyncAPI 3.0 as its makers publish it."""
    schemas = install(Path(__file__).with_name("node")) / "node_modules" / "@asyncapi" / "specs" / "schemas"
    found: Json = json.loads((schemas / "3.0.0-without-$id.json").read_bytes())
    return found


def resolve(document: Json, found: Any) -> Any:
    """Follow a reference within the document, where there is one."""
    while isinstance(found, dict) and set(found) == {"$ref"}:
        place: Any = document
        for part in found["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        found = place
    return found


def messages(document: Json, transport: str) -> dict[str, Json]:
    """Return the messages of a channel by their keys."""
    return {key: resolve(document, one) for key, one in document["channels"][transport]["messages"].items()}


def problems(document: Json, message: Json, payload: Any) -> list[str]:
    """Return what of a payload the schema of a message forbids."""
    validator = Draft7Validator({**document, "allOf": [message["payload"]]})
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(payload)]


def test_the_document_is_valid_by_the_schema_of_asyncapi(document: Json, asyncapi_schema: Json) -> None:
    assert [error.message for error in Draft7Validator(asyncapi_schema).iter_errors(document)] == []
    for message in (*messages(document, "websocket").values(), *messages(document, "socketio").values()):
        Draft7Validator.check_schema({**document, "allOf": [message["payload"]]})


def test_every_field_has_a_type_and_a_sentence(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for field, described in schema["properties"].items():
            assert "$ref" in described or described.get("description"), f"{name}.{field}"
            assert described.keys() & {"type", "anyOf", "enum", "$ref"}, f"{name}.{field}"


def test_totals_and_rows_are_those_that_the_code_sends(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for kind in FIELDS.keys() - {"demo"}:
        for fields, part in zip(FIELDS[kind], ("Totals", "Row"), strict=True):
            described = schemas.get(kind.capitalize() + part, {"properties": {}})["properties"]
            assert set(described) == set(fields), kind + part


def test_codes_limits_and_streams_are_complete(document: Json) -> None:
    assert {one["code"]: one["name"] for one in document["x-codes"]} == NAMES
    assert all(one["retry"] == (one["code"] < 3500) and one["when"] for one in document["x-codes"])
    assert {one["stream"].partition(":")[0] for one in document["x-streams"]} == {*FIELDS, "alerts"}


def test_every_message_has_an_example_that_is_right(document: Json) -> None:
    for transport in ("websocket", "socketio"):
        for key, message in messages(document, transport).items():
            assert message["examples"], key
            for example in message["examples"]:
                assert problems(document, message, example["payload"]) == [], key


class Tape:
    """Write down what a connection carries, by the names of the messages."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Json]] = []
        self.heard: list[tuple[str, Any]] = []
        self.ask: Callable[..., Any]

    def hears(self, event: str, stream: str = "") -> bool:
        """Say whether such a message of such a stream has been heard."""
        return any(name == event and said.get("stream", "").startswith(stream) for name, said in self.heard)


@asynccontextmanager
async def recorded(transport: str, url: str, auth: Json) -> AsyncIterator[Tape]:
    """Lend a connection of which everything is written down, whatever it is called."""
    opened = raw_tape if transport == "websocket" else socketio_tape
    async with opened(url, auth) as tape:
        yield tape


@asynccontextmanager
async def raw_tape(url: str, auth: Json) -> AsyncIterator[Tape]:
    tape = Tape()
    async with websockets.connect(raw_address(url), max_size=None, proxy=None) as socket:

        async def read() -> None:
            async for text in socket:
                said = json.loads(text)
                tape.heard.append((said["type"], said))

        async def ask(kind: str, **fields: Any) -> None:
            request = {"type": kind, "id": len(tape.asked) + 1, **fields}
            tape.asked.append((kind, request))
            await socket.send(json.dumps(request))
            await eventually(lambda: any(said.get("id") == request["id"] for _, said in tape.heard), kind)

        tape.ask = ask
        reader = asyncio.create_task(read())
        await ask("auth", **auth)
        yield tape
        reader.cancel()


@asynccontextmanager
async def socketio_tape(url: str, auth: Json) -> AsyncIterator[Tape]:
    tape = Tape()
    client = socketio.AsyncClient(reconnection=False)

    async def hear(event: str, *said: Any) -> None:
        tape.heard.append((event, said[0] if len(said) == 1 else said))

    async def ask(kind: str, **fields: Any) -> None:
        request = {"id": len(tape.asked) + 1, **fields}
        tape.asked.append((kind, request))
        answer = await client.call(kind, request, namespace="/live", timeout=15)
        tape.heard.append(("error" if "error" in answer else ANSWERS[kind], answer))

    tape.ask = ask
    client.on("*", hear, namespace="/live")
    await client.connect(url, auth=auth, transports=["websocket"], namespaces=["/live"])
    yield tape
    await client.disconnect()


def apple_and_cash(portfolio: UUID, price: float, seq: int) -> Valuation:
    """Make the valuation of 120 shares and 2,500 dollars, as the stream would."""
    value, gain, cash = round(120 * price, 2), round(120 * (price - 188), 2), 2500.0
    equity = round(value + cash, 2)
    found = create_valuation(portfolio, {"AAPL": (round(100 * value), round(100 * gain)), "USD": (250_000, 0)}, seq=seq)
    shares, dollars = found.rows
    return msgspec.structs.replace(
        found,
        rows=[
            msgspec.structs.replace(
                shares, quantity=120.0, price=price, prior_close=188.0, cost_basis=round(value - 2 * gain, 2),
                day_pnl_price=gain, contribution=found.day_pnl_pct,
            ),
            msgspec.structs.replace(dollars, quantity=cash, price=1.0, prior_close=1.0),
        ],
        allocation={
            "asset_class": {"equity": value, "cash": cash},
            "sector": {"Technology": value, "Cash": cash},
            "country": {"US": equity},
            "currency": {"USD": equity},
        },
    )  # fmt: skip


@pytest.fixture
async def quoted(store: LiveStore) -> None:
    """Have quotes, of which rates of exchange are some."""
    await publish_quote(store, "AAPL", 189.5, 188.0)
    await publish_quote(store, "EUR/USD", 1.0833, 1.0817)


async def publish_quote(store: LiveStore, symbol: str, price: float, close: float) -> None:
    quote = StoredQuote(symbol, price, close, 1_795_000_000_000_000_000 + next_seq(), "simulated")
    await store.write_quotes({symbol: json.dumps(vars_of(quote)).encode()})
    await store.publish_quotes([quote])


def vars_of(quote: StoredQuote) -> Json:
    return {name: getattr(quote, name) for name in quote.__struct_fields__}


async def raise_alert(url: str, user: UUID, store: LiveStore) -> None:
    """Have a rule of a user raise an alert."""
    connection = await asyncpg.connect(url)
    rule = await create_rule(
        connection, Viewer(user, "client"), Wish("price", "AAPL", None, "above", Decimal(190), "once")
    )
    [version] = [one.version for one in await changed_rules(connection, 0) if one.id == rule]
    async with connection.transaction():
        crossing = Crossing(rule, version, 190.25, "simulated", 1_795_000_000_000_000_000, datetime.now(UTC))
        await raise_alerts(connection, [crossing])
    await connection.close()
    await store.announce_alerts([user])


async def a_client_follows(tape: Tape, api: RunningApi, store: LiveStore, cast: Cast, url: str, token: Json) -> None:
    """Play what happens to a client who follows everything that there is, until the session is ended."""
    streams = [f"portfolio:{cast.income}", f"client:{cast.ana}", "quote:AAPL", "alerts", "demo"]

    async def change() -> None:
        number = next_seq()
        price = round(189.5 + number % 300 / 100, 2)
        await publish(store, create_valuation(cast.growth, {"EUR": (500_000, 0)}, seq=number, currency="EUR"))
        await publish(store, apple_and_cash(cast.income, price, number))
        await publish_quote(store, "AAPL", price, 188.0)

    await change()
    await tape.ask("subscribe", streams=[{"stream": one} for one in streams], max_hz=20)
    await tape.ask("list")
    await raise_alert(url, cast.ana, store)

    async def all_heard() -> bool:
        await change()
        kinds = [one for one in streams if one != "alerts"]
        return tape.hears("alert") and all(tape.hears("delta", one) for one in kinds)

    await eventually(all_heard, "every stream has sent a delta, and alerts an alert")
    await tape.ask("acknowledge", seq=1)
    await tape.ask("auth", token=token["token"])
    await tape.ask("subscribe", streams=[{"stream": "portfolio:nobody"}])
    held = next(said for name, said in reversed(tape.heard) if name == "delta" and said["stream"] == streams[0])
    position = {"epoch": held["epoch"], "seq": held["seq"]}
    fields = {"totals": ["total_equity", "day_pnl"], "rows": ["value", "day_pnl"]}
    await tape.ask("subscribe", streams=[{"stream": streams[0], **position, "fields": fields}], max_hz=4)
    await tape.ask("unsubscribe", streams=["demo"])
    await eventually(lambda: any(name == "heartbeat" and said["streams"] for name, said in tape.heard))
    async with httpx.AsyncClient(base_url=api.url) as web:
        await web.post("/api/auth/logout", json={"refreshToken": token["refreshToken"]})
    await eventually(lambda: tape.hears("closing"), "the session's end is noticed")


async def an_advisor_looks(tape: Tape, store: LiveStore, cast: Cast) -> None:
    """Play what happens on a floor, whole and with a view."""
    layout = next_seq()

    async def change() -> None:
        number = next_seq()
        amounts = {cast.growth: (10_000 + number, 100), cast.income: (5_000, -30)}
        await publish_totals(store, amounts, seq=number, layout=layout)

    stream = f"floor:{cast.advisor}"
    view = {"sort": [{"column": "day_pnl_pct", "descending": True}], "filter": [{"column": "client", "op": "contains",
            "value": "ana"}], "range": [0, 50]}  # fmt: skip
    for wanted in ({"stream": stream, "view": view}, {"stream": stream}):
        already = len(tape.heard)
        await change()
        await tape.ask("subscribe", streams=[wanted], max_hz=20)

        async def changed(after: int = already) -> bool:
            await change()
            return {"snapshot", "delta"} <= {name for name, _ in tape.heard[after:]}

        await eventually(changed, "the floor moves")


async def test_everything_that_sessions_say_is_as_described_and_everything_described_is_said(
    document: Json,
    api: RunningApi,
    store: LiveStore,
    cast: Cast,
    quoted: None,
    module_postgres_url: str,
    transport: str,
) -> None:
    token = await sign_in(api.url, "ana")
    async with recorded(transport, api.url, {"token": token["token"]}) as client:
        await a_client_follows(client, api, store, cast, module_postgres_url, token)
    async with recorded(transport, api.url, {"token": (await sign_in(api.url, "advisor"))["token"]}) as advisor:
        await an_advisor_looks(advisor, store, cast)
    heard = [*client.heard, *advisor.heard]
    if transport == "socketio":
        heard.append(("connect_error", await refusal(api.url)))
    described = messages(document, transport)
    seen = {key_of(document, described, event, payload): payload for event, payload in heard}
    assert seen.keys() == described.keys() - set(REQUESTS)
    for event, payload in (*client.asked, *advisor.asked):
        assert problems(document, described[event], payload) == [], payload
    for key, payload in seen.items():  # or nothing here would fail where a field comes that nobody has described
        assert problems(document, described[key], {**payload, "new": 1}) != [], key
    for event, payload in heard:
        if event == "snapshot" and len(payload["totals"]) > 2:  # those of two fields were asked for so
            whole(payload)
    if transport == "socketio" and os.environ.get(WRITE_EXAMPLES):
        write_examples(document, [*client.asked, *advisor.asked], heard)


def key_of(document: Json, described: Mapping[str, Json], event: str, payload: Any) -> str:
    """Return which message this is; fails where it is none, or more than one."""
    found = {key: problems(document, one, payload) for key, one in described.items() if one["name"] == event}
    fitting = [key for key, wrong in found.items() if not wrong]
    assert len(fitting) == 1, f"{event} {payload}: {found}"
    return fitting[0]


def whole(snapshot: Json) -> None:
    """Fail unless a snapshot has every field that is described; only floors with a view say how they are viewed."""
    kind = snapshot["stream"].partition(":")[0]
    totals, row = FIELDS[kind]
    viewed = {name for name in totals if name.startswith("view_")}
    assert set(totals) - viewed <= set(snapshot["totals"]), kind
    assert not viewed or viewed <= set(snapshot["totals"]) or not viewed & set(snapshot["totals"]), kind
    assert all(set(one) == set(row) for one in snapshot["rows"]), kind


async def refusal(url: str) -> Any:
    """Return what a client without a good token is told."""
    client = socketio.AsyncClient(reconnection=False)
    told: list[Any] = []

    async def refused(reason: Any) -> None:
        told.append(reason)

    client.on("connect_error", refused, namespace="/live")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(url, auth={"token": "x"}, transports=["websocket"], namespaces=["/live"])
    return told[0].get("data", told[0])


def write_examples(document: Json, asked: list[tuple[str, Json]], heard: list[tuple[str, Any]]) -> None:
    """Keep one message of each kind, the first that says something, and every way in which streams were asked for."""
    described = messages(document, "socketio")
    found: dict[str, list[Json]] = {"auth": [{"id": 1, "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6…"}]}
    for event, payload in (*asked, *heard):
        key = event if event in REQUESTS else key_of(document, described, event, payload)
        if key == "subscribe" and payload["streams"][0].keys() != {"stream"}:
            found.setdefault(key, []).append(payload)
        elif key not in found and (event != "heartbeat" or payload["streams"]):
            found[key] = [payload]
    EXAMPLES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


async def test_the_page_is_for_everybody_and_says_all_that_the_document_says(
    web: httpx.AsyncClient, document: Json
) -> None:
    answer = await web.get("/docs/stream")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    page = answer.text
    assert "<script" not in page
    assert "style=" not in page
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    for one in document["x-codes"]:
        assert f"{one['code']}{one['name']}" in text
    for one in document["x-streams"]:
        assert one["stream"] in text
    for name in {message["name"] for message in messages(document, "websocket").values()}:
        assert f'id="{name}"' in page or f"<code>{name}</code>" in page
    anchors = set(re.findall(r'href="#(\w+)"', page))
    assert anchors <= set(re.findall(r'id="(\w+)"', page))


async def test_who_accepts_json_gets_the_document_and_other_pages_stay_closed(
    web: httpx.AsyncClient, document: Json
) -> None:
    assert (await web.get("/docs/stream", headers={"Accept": "application/json"})).json() == document
    assert "html" in (await web.get("/docs/stream", headers={"Accept": "text/html,*/*"})).headers["content-type"]
    assert (await web.get("/docs/other")).headers["location"] == "/sign-in"
