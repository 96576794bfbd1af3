"""Be clients of the live stream as other people write them: one face for both transports, and the rules they keep."""

from __future__ import annotations

import asyncio
import itertools
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import orjson
import socketio
import websockets
from fakes_api import PASSWORD, document_of, email
from socketio.exceptions import ConnectionError as SocketIOError

from stream.messages import Valuation

TRANSPORTS = ("socketio", "websocket")
MESSAGES = ("snapshot", "delta", "alert", "heartbeat", "revoked", "closing")
NAMESPACE = "/live"
NO_RETRY = 3500
ANSWERED_S = 20.0

_seqs = itertools.count(1)

Auth = Mapping[str, Any]  # {"token": …}, {"guest": True}, or nothing: a page of ours comes with its cookie


class Refused(Exception):
    """Say that the server does not let this client in; `error` is what it said: code, name and message."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']} {error.get('name')}: {error.get('message')}")
        self.error = error
        self.code = int(error["code"])


class Follower:
    """Keep what a client of the live stream must: the state of each stream, by the protocol's rules."""

    def __init__(self) -> None:
        self.positions: dict[str, tuple[int, int]] = {}
        self.totals: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.gaps = 0
        self.received: list[tuple[str, dict[str, Any]]] = []

    def take(self, event: str, message: dict[str, Any]) -> None:
        """Apply a message, and keep it."""
        self.received.append((event, message))
        self.apply(event, message)

    def apply(self, event: str, message: dict[str, Any]) -> bool:
        """Apply a message; returns False where it does not follow what is held, which then stays as it is."""
        if event == "snapshot":
            self._replace(message)
        elif event == "delta":
            return self._merge(message)
        return True

    def events(self, kind: str, stream: str | None = None) -> list[dict[str, Any]]:
        """Return the messages of a kind, in order; of one stream where it is named."""
        return [
            message for event, message in self.received if event == kind and stream in (None, message.get("stream"))
        ]

    def held(self, stream: str) -> dict[str, Any]:
        """Return a stream as it stands in a request: with the position that is held, where there is one."""
        position = self.positions.get(stream)
        return {"stream": stream} | ({} if position is None else {"epoch": position[0], "seq": position[1]})

    def continue_from(self, other: Follower) -> None:
        """Hold what another client held when it went."""
        self.positions, self.totals, self.rows = dict(other.positions), dict(other.totals), dict(other.rows)

    def _replace(self, message: dict[str, Any]) -> None:
        stream = message["stream"]
        key = key_of(stream)
        self.positions[stream] = (message["epoch"], message["seq"])
        self.totals[stream] = dict(message["totals"])
        self.rows[stream] = {row[key]: dict(row) for row in message["rows"]}

    def _merge(self, message: dict[str, Any]) -> bool:
        stream = message["stream"]
        key = key_of(stream)
        if self.positions.get(stream) != (message["epoch"], message["prev"]):
            self.gaps += 1
            return False
        self.positions[stream] = (message["epoch"], message["seq"])
        self.totals[stream].update(message["totals"])
        for gone in message["removed"]:
            del self.rows[stream][gone]
        for row in message["rows"]:
            self.rows[stream].setdefault(row[key], {}).update(row)
        return True


def next_seq() -> int:
    """Return a seq that is newer than any before it, for tests that share a portfolio."""
    return next(_seqs)


def key_of(stream: str) -> str:
    """Return the field that names a row."""
    return "portfolio_id" if stream.startswith("floor:") else "symbol"


def cents(amounts: Iterable[float]) -> int:
    """Return the sum of amounts in cents, exactly."""
    return sum(round(100 * amount) for amount in amounts)


def holds(follower: Follower, valuation: Valuation) -> bool:
    """Say whether a client holds a valuation; fails where it stands at its position and holds something else."""
    stream = f"portfolio:{valuation.portfolio_id}"
    if follower.positions.get(stream) != (valuation.epoch, valuation.seq):
        return False
    document = document_of(valuation)
    for name in ("total_equity", "day_pnl", "cash", "allocation", "computed_ns"):
        assert follower.totals[stream][name] == document[name], name
    rows = follower.rows[stream]
    assert rows.keys() == {row["symbol"] for row in document["rows"]}
    assert all(row.items() <= rows[row["symbol"]].items() for row in document["rows"])
    adds_up(follower, stream)
    return True


def adds_up(follower: Follower, stream: str) -> None:
    """Fail unless the rows of a portfolio that is held add up to its totals, to the cent."""
    rows, totals = follower.rows[stream].values(), follower.totals[stream]
    assert cents(row["value"] for row in rows) == cents([totals["total_equity"]])
    assert cents(row["day_pnl"] for row in rows) == cents([totals["day_pnl"]])
    for dimension, parts in totals["allocation"].items():
        assert cents(parts.values()) == cents([totals["total_equity"]]), dimension


class LiveClient(ABC):
    """Ask and listen on one connection; what comes unasked is the follower's."""

    transport: str

    def __init__(self, follower: Follower | None = None) -> None:
        self.follower = follower or Follower()
        self._ids = itertools.count(1)

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Say whether the connection stands."""

    @abstractmethod
    async def ask(self, kind: str, data: Any) -> dict[str, Any]:
        """Send a request as it is, however wrong, and return its answer; raises `ConnectionError` where none comes."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ended it."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection."""

    @property
    def goodbye(self) -> dict[str, Any] | None:
        """Return what the server said when it ended the connection, or None while it has said nothing."""
        found = self.follower.events("closing")
        return found[-1] if found else None

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request with an id of its own and return its answer, which names that id and the server's time."""
        identifier = next(self._ids)
        answer = await self.ask(kind, {"id": identifier, **fields})
        assert answer["id"] == fields.get("id", identifier), answer
        assert isinstance(answer["server_ns"], int), answer
        return answer

    async def subscribe(self, *streams: str | Mapping[str, Any], max_hz: float = 20, **more: Any) -> dict[str, Any]:
        """Subscribe to streams, named or with what else there is to say of them, and return the answer."""
        wanted = [{"stream": one} if isinstance(one, str) else dict(one) for one in streams]
        return await self.request("subscribe", streams=wanted, max_hz=max_hz, **more)


class SocketIOClient(LiveClient):
    """Speak Socket.IO, with python-socketio's own client."""

    transport = "socketio"

    def __init__(self, follower: Follower | None = None) -> None:
        super().__init__(follower)
        self._client = socketio.AsyncClient(reconnection=False)
        self._refusal: Any = None
        for event in MESSAGES:
            self._client.on(event, self._taker(event), namespace=NAMESPACE)
        self._client.on("connect_error", self._refused, namespace=NAMESPACE)

    @property
    def is_open(self) -> bool:
        """Say whether the connection stands."""
        return bool(self._client.connected)

    async def open(self, url: str, auth: Auth, headers: Mapping[str, str]) -> None:
        """Connect and come in; raises `Refused`, and `ConnectionError` where the handshake itself fails."""
        try:
            await self._client.connect(
                url, headers=dict(headers), auth=dict(auth) or None, transports=["websocket"], namespaces=[NAMESPACE]
            )
        except SocketIOError as error:
            await self._client.disconnect()
            if isinstance(self._refusal, dict) and "code" in (said := self._refusal.get("data") or self._refusal):
                raise Refused(said) from error
            raise ConnectionError(f"{error} {self._refusal}") from error

    async def ask(self, kind: str, data: Any) -> dict[str, Any]:
        """Send a request as it is, however wrong, and return its acknowledgement."""
        try:
            answer: dict[str, Any] = await self._client.call(kind, data, namespace=NAMESPACE, timeout=ANSWERED_S)
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionError(repr(error)) from error
        return answer

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        await self._client.wait()

    async def close(self) -> None:
        """End the connection."""
        await self._client.disconnect()

    def _taker(self, event: str) -> Any:
        async def take(message: dict[str, Any]) -> None:
            self.follower.take(event, message)

        return take

    async def _refused(self, data: Any = None) -> None:
        self._refusal = data


class WebSocketClient(LiveClient):
    """Speak JSON on a raw WebSocket: each answer names its request, and they come in the order of the requests."""

    transport = "websocket"

    def __init__(self, follower: Follower | None = None) -> None:
        super().__init__(follower)
        self._waiting: deque[asyncio.Future[dict[str, Any]]] = deque()
        self._socket: websockets.ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Say whether the connection stands."""
        return self._reader is not None and not self._reader.done()

    @property
    def close_code(self) -> int | None:
        """Return the WebSocket close code, or None while the connection stands."""
        return None if self._socket is None else self._socket.close_code

    async def open(self, url: str, auth: Auth, headers: Mapping[str, str]) -> None:
        """Connect and come in; raises `Refused`, and `ConnectionError` where the handshake itself fails."""
        try:
            self._socket = await websockets.connect(
                raw_address(url), additional_headers=dict(headers), max_size=None, proxy=None, open_timeout=ANSWERED_S
            )
        except (websockets.WebSocketException, OSError, TimeoutError) as error:
            raise ConnectionError(repr(error)) from error
        self._reader = asyncio.create_task(self._read(self._socket), name="raw live client")
        try:
            answer = await self.request("auth", **auth)
        except ConnectionError:
            if self.goodbye is None:
                raise
            raise Refused(self.goodbye) from None
        if "error" in answer:
            await self.close()
            raise Refused(answer["error"])

    async def ask(self, kind: str, data: Any) -> dict[str, Any]:
        """Send a request as it is, however wrong, and return its answer without the type."""
        assert self._socket is not None
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await self._socket.send(orjson.dumps({"type": kind, **data}).decode())
            async with asyncio.timeout(ANSWERED_S):
                answer: dict[str, Any] = await waiting
        except (websockets.WebSocketException, TimeoutError) as error:
            raise ConnectionError(repr(error)) from error
        expected = "error" if "error" in answer else ANSWERS.get(kind)
        assert answer.pop("type") == expected, answer
        return answer

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        if self._reader is not None:
            await asyncio.shield(self._reader)

    async def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            await self._socket.close()
            await self.wait_closed()

    async def _read(self, socket: websockets.ClientConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            while True:
                self._take(orjson.loads(await socket.recv()))
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"the connection has ended with {socket.close_code}"))

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] in MESSAGES:
            self.follower.take(message.pop("type"), message)
            return
        waiting = self._waiting.popleft()
        if not waiting.done():
            waiting.set_result(message)


ANSWERS = {
    "auth": "authenticated",
    "subscribe": "subscribed",
    "unsubscribe": "unsubscribed",
    "list": "listed",
    "acknowledge": "acknowledged",
}


def raw_address(url: str) -> str:
    """Return where the raw WebSocket of a web process is."""
    return url.replace("http", "ws", 1) + "/ws/v1"


def socketio_address(url: str) -> str:
    """Return where the WebSocket of Socket.IO is."""
    return url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"


async def until_closed(socket: websockets.ClientConnection) -> AsyncIterator[str | bytes]:
    """Yield what comes on a bare WebSocket until the server has ended the connection."""
    with suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(ANSWERED_S):
            while True:
                yield await socket.recv()


async def connect_live(
    transport: str,
    url: str,
    auth: Auth | None = None,
    cookie: str | None = None,
    origin: str | None = None,
    follower: Follower | None = None,
) -> LiveClient:
    """Connect a client; raises `Refused` with what the server said, and `ConnectionError` where it says nothing."""
    client = SocketIOClient(follower) if transport == "socketio" else WebSocketClient(follower)
    given = {"Cookie": cookie, "Origin": origin}
    await client.open(url, auth or {}, {name: value for name, value in given.items() if value is not None})
    return client


@asynccontextmanager
async def open_live(
    transport: str, url: str, auth: Auth | None = None, cookie: str | None = None, origin: str | None = None
) -> AsyncIterator[LiveClient]:
    """Lend a connected client."""
    client = await connect_live(transport, url, auth, cookie, origin)
    try:
        yield client
    finally:
        await client.close()


async def sign_in(url: str, name: str) -> dict[str, str]:
    """Sign somebody of the cast in; returns what they authenticate with, and their refresh token."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as web:
        answer = await web.post("/api/auth/login", json={"email": email(name), "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"token": answer.json()["token"], "refreshToken": answer.json()["refreshToken"]}


class Wanderer(Follower):
    """Follow streams through whatever happens, as the protocol asks: another server, a position, a growing pause.

    It keeps no messages, only what it holds and how often what happened.
    """

    def __init__(
        self, transport: str, urls: Sequence[str], auth: Auth, streams: Sequence[str], max_hz: float = 20
    ) -> None:
        super().__init__()
        self.transport = transport
        self.client: LiveClient | None = None
        self.connections = 0
        self.snapshots = 0
        self.goodbyes: list[int] = []
        self.source = "lost"
        self.wishes: dict[str, dict[str, Any]] = {}  # what else to say of a stream: which fields, which view
        self._urls = itertools.cycle(urls)
        self._auth = auth
        self.streams = tuple(streams)
        self._max_hz = max_hz
        self._lags: set[str] = set()
        self._wanted: asyncio.Queue[str] = asyncio.Queue()

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection now."""
        return self.client is not None and self.client.is_open

    def take(self, event: str, message: dict[str, Any]) -> None:
        """Apply a message, and want to hear again of what was missed."""
        if not self.apply(event, message):
            self._wanted.put_nowait(message["stream"])
        if event == "snapshot":
            self.snapshots += 1
        elif event == "closing":
            self.goodbyes.append(message["code"])
        elif event == "heartbeat":
            self.source = message["source"]
            self._compare(message["streams"])

    def wish(self, stream: str, **more: Any) -> None:
        """Subscribe to a stream anew, with other fields or another view."""
        self.wishes[stream] = more
        self._wanted.put_nowait(stream)

    async def run(self) -> None:
        """Follow for ever; ends only with `Refused` where trying again changes nothing."""
        pause = 0.05
        while True:
            try:
                self.client = await connect_live(self.transport, next(self._urls), self._auth, follower=self)
                pause = 0.05
                await self._follow(self.client)
            except Refused as refused:
                if refused.code >= NO_RETRY:
                    raise
            except ConnectionError:
                pass  # nobody answers there, or no longer: the next one may
            self.source = "lost"
            await asyncio.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, 2.0)

    async def _follow(self, client: LiveClient) -> None:
        self.connections += 1
        for stream in self.streams:
            self._wanted.put_nowait(stream)
        jobs = [asyncio.create_task(one) for one in (self._ask_again(client), client.wait_closed())]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in jobs:
                one.cancel()
            await client.close()

    async def _ask_again(self, client: LiveClient) -> None:
        """Subscribe to whatever is missed, with the position that is held."""
        while True:
            wanted = {await self._wanted.get()}
            while not self._wanted.empty():
                wanted.add(self._wanted.get_nowait())
            entries = [self.held(one) | self.wishes.get(one, {}) for one in wanted]
            answer = await client.subscribe(*entries, max_hz=self._max_hz)
            if "error" in answer:
                raise Refused(answer["error"])

    def _compare(self, streams: Mapping[str, Mapping[str, int]]) -> None:
        """Want to hear again of what two heartbeats in a row say that we should hold."""
        lags = {name for name, at in streams.items() if self.positions.get(name) != (at["epoch"], at["seq"])}
        for stream in lags & self._lags:
            self._wanted.put_nowait(stream)
        self._lags = lags


@asynccontextmanager
async def wandering(wanderers: Iterable[Wanderer]) -> AsyncIterator[None]:
    """Let clients wander; that one of them has ended is the test's failure."""
    tasks = [asyncio.create_task(one.run(), name="wanderer") for one in wanderers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in outcomes if not isinstance(one, asyncio.CancelledError)] == []
