"""A small server of the raw WebSocket protocol that does wrong on command, for the tests of `alhambra.client`.

It remembers every state it ever had by (epoch, seq), so that a test can hold each update against what was true.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from alhambra.client import Patience, Update

QUICK = Patience(longest_pause_s=0.02, stale_s=0.3, lost_s=1.0, good_s=0.5)
STREAM = "portfolio:11111111-1111-4111-8111-111111111111"
PORTFOLIO = STREAM.partition(":")[2]
SYMBOLS = ("AAPL", "NESN", "SAN", "USD", "XAU")
Position = tuple[int, int]
State = tuple[dict[str, Any], dict[str, dict[str, Any]]]


class Bank:
    """Hold one portfolio, everybody who follows it, and what is to go wrong next."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.epoch, self.seq = 1, 0
        self.history: dict[Position, State] = {}
        self.followers: dict[ServerConnection, Position | None] = {}
        self.connections: set[ServerConnection] = set()
        self.requests: list[dict[str, Any]] = []
        self.refusals: dict[str, tuple[int, str]] = {}  # a request or a stream, and how it is refused
        self.leave_out = 0  # so many messages of the stream are lost
        self.silent = False
        self.source = "live"
        self.sent: Counter[str] = Counter()
        self.alerts: list[int] = []  # the numbers of those that are raised and not acknowledged
        self.raised = 0
        self.listeners: dict[ServerConnection, int] = {}  # to alerts, and up to which they were sent
        self._values = {"AAPL": (1_000_00, 10_00), "USD": (500_00, 0)}
        self._prices = dict.fromkeys(SYMBOLS, 1.0)
        self.tick()

    @property
    def newest(self) -> State:
        """Return what is true now."""
        return self.history[(self.epoch, self.seq)]

    def tick(self) -> None:
        """Change something: a price, of which no sum would tell, or a value, and sometimes which rows there are."""
        symbol = self.random.choice(SYMBOLS)
        if symbol in self._values and self.random.random() < 0.5:
            self._prices[symbol] = self.random.random()
        elif symbol in self._values and self.random.random() < 0.3 and len(self._values) > 1:
            del self._values[symbol]
        else:
            self._values[symbol] = (self.random.randrange(-10_000, 1_000_000), self.random.randrange(-9_999, 9_999))
        self.seq += 1
        self.history[(self.epoch, self.seq)] = self._state()

    def begin_epoch(self) -> None:
        """Begin a new epoch, as after another worker took over."""
        self.epoch, self.seq = self.epoch + 1, 0
        self.tick()

    def _state(self) -> State:
        rows = {
            symbol: {"symbol": symbol, "price": self._prices[symbol], "value": value / 100, "day_pnl": gain / 100}
            for symbol, (value, gain) in self._values.items()
        }
        equity = sum(value for value, _ in self._values.values()) / 100
        totals = {
            "name": "Growth",
            "base_currency": "EUR",
            "total_equity": equity,
            "day_pnl": sum(gain for _, gain in self._values.values()) / 100,
            "allocation": {"asset_class": {symbol: row["value"] for symbol, row in rows.items()}},
        }
        return totals, rows

    def message_after(self, position: Position | None) -> dict[str, Any]:
        """Return what leads from a position to now: a delta, or a snapshot where it is of another epoch."""
        totals, rows = self.newest
        head = {"stream": STREAM, "epoch": self.epoch, "seq": self.seq, "event_ns": 1, "sent_ns": time.time_ns()}
        if position is None or position[0] != self.epoch:
            return {"type": "snapshot", **head, "totals": totals, "rows": list(rows.values())}
        old_totals, old_rows = self.history[position]
        changes = [
            {
                "symbol": symbol,
                **{name: value for name, value in row.items() if old_rows.get(symbol, {}).get(name) != value},
            }
            for symbol, row in rows.items()
            if old_rows.get(symbol) != row
        ]
        return {
            "type": "delta",
            **head,
            "prev": position[1],
            "totals": {name: value for name, value in totals.items() if old_totals[name] != value},
            "rows": changes,
            "removed": [symbol for symbol in old_rows if symbol not in rows],
        }

    async def publish(self) -> None:
        """Change something and tell the followers, unless the message is to be lost."""
        self.tick()
        await self.bring()

    async def bring(self) -> None:
        """Bring every follower up to now."""
        for connection, position in list(self.followers.items()):
            if position == (self.epoch, self.seq):
                continue
            message = self.message_after(position)
            self.followers[connection] = (self.epoch, self.seq)
            if self.leave_out:
                self.leave_out -= 1
            else:
                await self.send(connection, message)

    async def send_all(self, message: dict[str, Any] | str | bytes) -> None:
        """Send something to everybody, whatever it is."""
        for connection in list(self.connections):
            await self.send(connection, message)

    async def send(self, connection: ServerConnection, message: dict[str, Any] | str | bytes) -> None:
        """Send a message, or any text or bytes."""
        if self.silent:
            return
        if isinstance(message, dict):
            self.sent[message["type"]] += 1
        with contextlib.suppress(ConnectionClosed):
            await connection.send(json.dumps(message) if isinstance(message, dict) else message)

    async def close_all(self, code: int, name: str) -> None:
        """Say goodbye to everybody with a code."""
        await self.send_all({"type": "closing", "code": code, "name": name, "message": f"{name} in a test"})
        for connection in list(self.connections):
            await connection.close(code, name)

    def cut_all(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self.connections):
            connection.transport.abort()

    async def beat(self) -> None:
        """Say at short intervals where everybody stands."""
        while True:
            await asyncio.sleep(0.05)
            for connection in list(self.connections):
                position = self.followers.get(connection)
                streams = {STREAM: {"epoch": position[0], "seq": position[1]}} if position else {}
                if connection in self.listeners:
                    streams["alerts"] = {"epoch": 1, "seq": self.listeners[connection]}
                message = {"type": "heartbeat", "sent_ns": time.time_ns(), "source": self.source, "streams": streams}
                await self.send(connection, message)

    async def serve(self, connection: ServerConnection) -> None:
        """Answer one client."""
        self.connections.add(connection)
        try:
            async for text in connection:
                request = json.loads(text)
                self.requests.append(request)
                await self.answer(connection, request)
        except ConnectionClosed:
            return
        finally:
            self.connections.discard(connection)
            self.followers.pop(connection, None)
            self.listeners.pop(connection, None)

    async def answer(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        """Answer a request as the protocol says, or refuse it."""
        head = {"id": request["id"], "server_ns": time.time_ns()}
        kind = request["type"]
        streams = [one["stream"] if isinstance(one, dict) else one for one in request.get("streams", [])]
        asked = streams if kind == "subscribe" else []
        refusal = next((self.refusals[one] for one in (kind, *asked) if one in self.refusals), None)
        if refusal is not None:
            error = {"code": refusal[0], "name": refusal[1], "message": "no, says the test"}
            await self.send(connection, {"type": "error", **head, "error": error})
        elif kind == "auth":
            await self.send(connection, {"type": "authenticated", **head, "role": "client"})
        elif kind == "subscribe":
            await self.subscribe(connection, request, head)
        else:
            answer = {"list": "listed", "unsubscribe": "unsubscribed", "acknowledge": "acknowledged"}[kind]
            if STREAM in streams:
                self.followers.pop(connection, None)
            if kind == "acknowledge":
                self.alerts = [seq for seq in self.alerts if seq > request["seq"]]
            seq = {"seq": request["seq"]} if kind == "acknowledge" else {"streams": []}
            await self.send(connection, {"type": answer, **head, **seq})

    async def subscribe(self, connection: ServerConnection, request: dict[str, Any], head: dict[str, Any]) -> None:
        """Grant streams; those that are not ours are granted and stay empty."""
        entries = []
        for one in request["streams"]:
            held = (one.get("epoch"), one.get("seq"))
            recovered = one["stream"] == STREAM and held in self.history and held[0] == self.epoch
            entries.append({"stream": one["stream"], "epoch": self.epoch, "seq": self.seq, "recovered": recovered})
            if one["stream"] == STREAM:
                self.followers[connection] = held if recovered else None
            if one["stream"] == "alerts":
                self.listeners[connection] = 0
        await self.send(connection, {"type": "subscribed", **head, "streams": entries})
        await self.bring()
        await self.bring_alerts()

    async def raise_alert(self, lost: bool = False) -> None:
        """Raise an alert and tell who listens, unless the message is to be lost."""
        self.raised += 1
        self.alerts.append(self.raised)
        if lost:
            self.listeners = dict.fromkeys(self.listeners, self.raised)
        await self.bring_alerts()

    async def bring_alerts(self) -> None:
        """Send the alerts that are not acknowledged and were not sent on a connection."""
        for connection, newest in list(self.listeners.items()):
            self.listeners[connection] = self.raised
            for seq in self.alerts:
                if seq > newest:
                    await self.send(connection, alert(seq))

    def is_true(self, update: Update) -> bool:
        """Say whether an update shows exactly what was true at its position."""
        totals, rows = self.history[(update.epoch, update.seq)]
        return dict(update.totals) == totals and {key: dict(row) for key, row in update.rows.items()} == rows

    def is_newest(self, update: Update) -> bool:
        """Say whether an update shows what is true now."""
        return (update.epoch, update.seq) == (self.epoch, self.seq)

    def asked(self, kind: str) -> list[dict[str, Any]]:
        """Return the requests of a kind."""
        return [one for one in self.requests if one["type"] == kind]


def alert(seq: int) -> dict[str, Any]:
    """Return an alert as it is sent."""
    content = {
        "id": f"alert {seq}",
        "rule": "a rule",
        "kind": "price",
        "subject": "quote:AAPL",
        "title": "Apple Inc.",
        "currency": "USD",
        "direction": "above",
        "threshold": 200.0,
        "value": 200.0 + seq,
        "price_source": "feed",
        "price_ns": seq,
        "raised_ns": seq,
    }
    return {"type": "alert", "stream": "alerts", "epoch": 1, "seq": seq, "sent_ns": time.time_ns(), "alert": content}


@asynccontextmanager
async def open_bank(bank: Bank) -> AsyncIterator[str]:
    """Serve a bank on a free port; yields its address."""
    async with serve(bank.serve, "127.0.0.1", 0, close_timeout=0.2) as server:
        beating = asyncio.create_task(bank.beat())
        try:
            yield f"http://127.0.0.1:{port_of(server)}"
        finally:
            beating.cancel()


def port_of(server: Server) -> int:
    """Return the port a server listens on."""
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port
