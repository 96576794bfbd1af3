"""Stand in for what the pages read and for the live server: an invented book that moves, on the real protocol."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID, uuid5

import msgspec
import numpy as np
import socketio
import uvicorn
from fakes import eventually
from fastapi import FastAPI
from floors import Desk
from starlette.responses import RedirectResponse

from api.live.floor import FloorBook, FloorPortfolio
from api.live.floor_view import FloorView
from api.live.protocol import View, parse_stream
from dashboard.app import create_dashboard
from dashboard.data import Component, DemoLogin, FloorInfo, Health, IntradayPoint, PortfolioInfo, PriceSource
from dashboard.security import content_security_policy
from dashboard.static import StaticAssets
from dashboard.vendor import ASSETS
from dashboard.viewer import Viewer, current_nonce, current_viewer
from db.live import Totals, TotalsLayout

SPACE = UUID(int=2)
CLIENT = Viewer(uuid5(SPACE, "client"), "client", "Amelia Hart")
ADVISOR = Viewer(uuid5(SPACE, "advisor"), "advisor", "Jonas Keller")
AGENT = Viewer(uuid5(SPACE, "agent"), "kyc_agent", "Noor Haddad")
VIEWERS = {viewer.role: viewer for viewer in (CLIENT, ADVISOR, AGENT)}
SHARES = [
    # symbol, name, class, sector, country, quantity, price
    ("AAPL", "Apple", "equity", "Information Technology", "US", 2400, 189.12),
    ("MSFT", "Microsoft", "equity", "Information Technology", "US", 1100, 412.40),
    ("JPM", "JPMorgan Chase", "equity", "Financials", "US", 1500, 201.77),
    ("JNJ", "Johnson & Johnson", "equity", "Health Care", "US", 1700, 152.05),
    ("XOM", "Exxon Mobil", "equity", "Energy", "US", 1900, 112.38),
    ("KO", "Coca-Cola", "equity", "Consumer Staples", "US", 3200, 61.92),
    ("CVX", "Chevron", "equity", "Energy", "US", 620, 154.11),
    ("HD", "Home Depot", "equity", "Consumer Discretionary", "US", 480, 348.60),
    ("PFE", "Pfizer", "equity", "Health Care", "US", 5100, 27.71),
    ("WMT", "Walmart", "equity", "Consumer Staples", "US", 2300, 68.35),
    ("BAC", "Bank of America", "equity", "Financials", "US", 4400, 37.90),
    ("GE", "General Electric", "equity", "Industrials", "US", 900, 162.83),
    ("LLY", "Eli Lilly", "equity", "Health Care", "US", 130, 781.25),
    ("UNH", "UnitedHealth", "equity", "Health Care", "US", 240, 521.90),
    ("QUAL", "Quality factor ETF", "etf", "Diversified", "US", 1300, 164.02),
    ("USMV", "Minimum volatility ETF", "etf", "Diversified", "US", 1800, 86.44),
    ("EUEQ", "European equity fund", "fund", "Diversified", "DE", 950, 118.26),
    ("CHBD", "Swiss Confederation 2031", "bond", "Government", "CH", 250000, 0.9871),
    ("UST32", "US Treasury 2032", "bond", "Government", "US", 400000, 0.9634),
    ("USD", "US dollar", "cash", "Cash", "US", 412650.22, 1.0),
    ("EUR", "Euro", "cash", "Cash", "DE", 86400.10, 1.0842),
]
CURRENCIES = {"EUEQ": "EUR", "CHBD": "CHF", "EUR": "EUR"}
PEOPLE = [
    "Amelia Hart",
    "Luca Moretti",
    "Sofía Navarro",
    "Chen Wei",
    "Faisal Al Nahyan",
    "Greta Lindqvist",
    "Omar Haddad",
]
NAMES = [("Growth", "USD"), ("Income EUR", "EUR"), ("Family Reserve", "CHF")]


def portfolio_info(index: int) -> PortfolioInfo:
    """Describe the portfolio at `index` of the invented bank."""
    person = PEOPLE[index // len(NAMES)]
    name, currency = NAMES[index % len(NAMES)]
    client = CLIENT.user_id if person == CLIENT.name else uuid5(SPACE, person)
    return PortfolioInfo(uuid5(SPACE, f"{person} {name}"), name, currency, client, person)


PORTFOLIOS = [portfolio_info(index) for index in range(len(PEOPLE) * len(NAMES))]


class FakeData:
    """Answer what the pages read from an invented bank."""

    logins: tuple[DemoLogin, ...] = (
        DemoLogin("client", "Amelia Hart", "amelia.hart@example.com", "a password"),
        DemoLogin("advisor", "Jonas Keller", "jonas.keller@example.com", "a password"),
        DemoLogin("compliance", "Ines Duarte", "ines.duarte@example.com", "a password"),
        DemoLogin("admin", "Theo Brandt", "theo.brandt@example.com", "a password"),
    )

    summary = "delayed"
    components: tuple[Component, ...] = (
        Component("database", "ok", "answers in 0.8 ms"),
        Component("redis", "ok", "answers in 0.3 ms"),
        Component("kafka", "ok", "0 records behind"),
        Component("iboss", "failed", "does not answer (TimeoutError)"),
        Component("live_equals_batch:stream-1", "ok", "2310 valuations checked, the last 0 s ago"),
        Component("market:simulated", "degraded", "no quote for 12 s"),
        Component("stream", "ok", "84 portfolios, 812004 ticks, 0 records behind"),
    )

    async def portfolio(self, viewer: Viewer, portfolio_id: UUID) -> PortfolioInfo | None:
        seen = [one for one in PORTFOLIOS if one.id == portfolio_id]
        return next((one for one in seen if viewer.role == "advisor" or one.client_id == viewer.user_id), None)

    async def portfolios(self, viewer: Viewer, client_id: UUID) -> list[PortfolioInfo]:
        return [one for one in PORTFOLIOS if one.client_id == client_id]

    async def floors(self, viewer: Viewer) -> list[FloorInfo]:
        return [FloorInfo(ADVISOR.user_id, ADVISOR.name)] if viewer.role == "advisor" else []

    async def intraday(self, viewer: Viewer, portfolio_id: UUID) -> list[IntradayPoint]:
        walk, level, now = random.Random(3), 0.0, time.time_ns() // 60_000_000_000
        points = []
        for minute in range(360):
            level += walk.gauss(24, 420)
            points.append(IntradayPoint((now - 360 + minute) * 60_000_000_000, level, 3_000_000 + level))
        drift = 9_300.0 - level
        return [
            IntradayPoint(one.minute_ns, one.day_pnl + drift * (step + 1) / len(points), one.total_equity)
            for step, one in enumerate(points)
        ]

    async def price_source(self) -> PriceSource:
        return PriceSource("simulated", "S&P 500 constituents 1990-2022")

    async def health(self) -> Health:
        return Health(self.summary, self.components)

    async def demo_logins(self) -> tuple[DemoLogin, ...]:
        return self.logins


@dataclass
class Book:
    """Move an invented portfolio and describe it as the valuation does; whole cents throughout."""

    walk: random.Random = field(default_factory=lambda: random.Random(11))
    prices: dict[str, float] = field(default_factory=lambda: {row[0]: row[6] for row in SHARES})

    def step(self) -> None:
        for symbol, *_rest, start in SHARES:
            if start != 1.0 and self.walk.random() < 0.4:
                self.prices[symbol] = round(self.prices[symbol] * (1 + self.walk.gauss(0.00002, 0.0007)), 4)

    def rows(self) -> list[dict[str, Any]]:
        whole = sum(round(quantity * self.prices[symbol], 2) for symbol, *_a, quantity, _price in SHARES)
        return [self.row(share, whole) for share in SHARES]

    def row(self, share: tuple[Any, ...], whole: float) -> dict[str, Any]:
        symbol, name, asset_class, sector, country, quantity, start = share
        price, value = self.prices[symbol], round(quantity * self.prices[symbol], 2)
        return {
            "symbol": symbol, "name": name, "asset_class": asset_class, "sector": sector, "country": country,
            "currency": CURRENCIES.get(symbol, "USD"), "quantity": quantity, "price": price, "value": value,
            "day_pnl": round(value - quantity * start * 0.998, 2) if start != 1.0 else 0.0,
            "day_pnl_pct": (price / (start * 0.998) - 1) * 100 if start != 1.0 else 0.0,
            "unrealised_pnl": round(value - quantity * start * 0.86, 2) if asset_class != "cash" else 0.0,
            "weight": value / whole, "price_ns": time.time_ns(), "stale": symbol == "CHBD",
        }  # fmt: skip

    def totals(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        equity, cash = sum(r["value"] for r in rows), sum(r["value"] for r in rows if r["asset_class"] == "cash")
        pnl = sum(r["day_pnl"] for r in rows)
        allocation: dict[str, dict[str, float]] = {}
        for dimension in ("asset_class", "sector", "country", "currency"):
            parts = allocation.setdefault(dimension, {})
            for row in rows:
                parts[row[dimension]] = parts.get(row[dimension], 0.0) + row["value"]
        return {
            "name": "Growth", "base_currency": "USD", "total_equity": round(equity, 2), "cash": round(cash, 2),
            "buying_power": round(cash, 2), "market_value": round(equity - cash, 2), "day_pnl": round(pnl, 2),
            "day_pnl_pct": pnl / (equity - pnl) * 100, "day_pnl_price": round(pnl * 0.9, 2),
            "day_pnl_currency": round(pnl * 0.1, 2), "unrealised_pnl": round(sum(r["unrealised_pnl"] for r in rows), 2),
            "realised_pnl_today": 1240.5, "stale_share": 0.084, "oldest_price_ns": time.time_ns() - 47_000_000_000,
            "computed_ns": time.time_ns(), "allocation": allocation,
        }  # fmt: skip

    def floor_rows(self) -> list[dict[str, Any]]:
        return [self.floor_row(index, one) for index, one in enumerate(PORTFOLIOS)]

    def floor_row(self, index: int, one: PortfolioInfo) -> dict[str, Any]:
        share = SHARES[index % 18]
        moved = self.prices[share[0]] / share[6] - 1 + (index % 5 - 2) * 0.0021
        equity = round(1_200_000 + index * 137_411.17, 2)
        rate = {"USD": 1.0, "EUR": 1.0842, "CHF": 1.1217}[one.base_currency]
        return {
            "portfolio_id": str(one.id), "name": one.name, "client": one.client_name,
            "base_currency": one.base_currency,
            "total_equity": round(equity * (1 + moved), 2), "day_pnl": round(equity * moved, 2),
            "day_pnl_pct": moved * 100, "equity_reference": round(equity * (1 + moved) * rate, 2),
            "day_pnl_reference": round(equity * moved * rate, 2), "stale_share": 0.0,
        }  # fmt: skip

    def floor_amounts(self, seq: int) -> Totals:
        """Describe all portfolios as a stream worker does; cents, whatever the currency."""
        rows = self.floor_rows()

        def column(name: str, scale: int, kind: str) -> bytes:
            return np.array([round(row[name] * scale, 6) for row in rows]).astype(kind).tobytes()

        cents = [column(name, 100, "<i8") for name in ("total_equity", "day_pnl")]
        reference = [column(name, 100, "<i8") for name in ("equity_reference", "day_pnl_reference")]
        percent, stale = column("day_pnl_pct", 1, "<f8"), column("stale_share", 1, "<f8")
        now = time.time_ns()
        return Totals(1, seq, now, now, 1, "USD", *cents, percent, *reference, stale)


def create_desk() -> Desk:
    """Make the floor of all invented portfolios, before its first figures."""
    digits = {"USD": 2, "EUR": 2, "CHF": 2}
    book = FloorBook()
    book.take_layout("0", TotalsLayout(1, 1, tuple(str(one.id) for one in PORTFOLIOS)))
    held = [
        FloorPortfolio(str(one.id), one.name, one.client_name, one.base_currency, digits[one.base_currency])
        for one in PORTFOLIOS
    ]
    return Desk(book, held)


class LiveStage(socketio.AsyncNamespace):  # type: ignore[misc]  # socketio is untyped
    """Speak the live protocol for an invented book; tests pause it, drop messages and take rights away."""

    def __init__(self) -> None:
        super().__init__("/live")
        self.book, self.epoch, self.seq = Book(), 1, 0
        self.desk = create_desk()
        self.views: dict[str, FloorView] = {}
        self.streams: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.paused = self.silent = False
        self.drop_next = 0
        self.source = "live"

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: object) -> None:
        if SimpleCookie(environ.get("HTTP_COOKIE", "")).get("viewer") is None:
            raise socketio.exceptions.ConnectionRefusedError("unauthorised", {"code": 3501, "message": "not signed in"})

    async def on_disconnect(self, sid: str, reason: object = None) -> None:
        self.streams.pop(sid, None)
        self.views.pop(sid, None)

    async def on_subscribe(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        stream = request["streams"][0]["stream"]
        if stream == "alerts":  # nothing is ever raised here
            return {"id": request["id"], "streams": []}
        self.asked.append(request)
        self.streams[sid] = stream
        if stream.startswith("floor:"):
            view = msgspec.convert(request["streams"][0]["view"], View)
            self.views[sid] = FloorView(parse_stream(stream), view, self.desk)
            self.show_floors()
        await self.emit("snapshot", self.message(sid, None), to=sid)
        epoch, seq = self.position(sid)
        position = {"stream": stream, "epoch": epoch, "seq": seq, "recovered": False}
        return {"id": request["id"], "streams": [position]}

    async def on_unsubscribe(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        self.streams.pop(sid, None)
        self.views.pop(sid, None)
        return {"id": request["id"], "streams": request["streams"]}

    def position(self, sid: str) -> tuple[int, int]:
        """Return where the stream stands that somebody follows."""
        view = self.views.get(sid)
        return (self.epoch, self.seq) if view is None else view.state.position

    def message(self, sid: str, prev: int | None) -> dict[str, Any]:
        """Return a snapshot, or what follows `prev`."""
        view, now = self.views.get(sid), time.time_ns()
        if view is not None:
            found = view.state.snapshot(now) if prev is None else view.state.delta_since(prev, now)
            return {} if found is None else msgspec.json.decode(found.body, type=dict[str, Any])
        rows = self.book.rows()
        stamps = {"stream": self.streams[sid], "epoch": self.epoch, "seq": self.seq, "event_ns": now, "sent_ns": now}
        more = {} if prev is None else {"prev": prev, "removed": []}
        return {**stamps, "totals": self.book.totals(rows), "rows": rows, **more}

    def show_floors(self) -> None:
        """Bring every view up to the newest figures."""
        if self.desk.book.take_totals("0", self.book.floor_amounts(self.seq + 1)):
            self.desk.turn()
        for view in self.views.values():
            view.refresh()

    async def tick(self) -> None:
        """Move the book by one step and send everyone what follows."""
        self.book.step()
        before = {sid: self.position(sid)[1] for sid in self.streams}
        self.seq += 1
        self.show_floors()
        if self.drop_next:
            self.drop_next -= 1
            return
        messages = {sid: self.message(sid, prev) for sid, prev in before.items()}
        for sid, message in messages.items():
            await self.emit("delta", message, to=sid)

    async def beat(self) -> None:
        """Send the heartbeat with the newest positions."""
        for sid, stream in list(self.streams.items()):
            epoch, seq = self.position(sid)
            position = {"epoch": epoch, "seq": seq}
            await self.emit(
                "heartbeat", {"sent_ns": time.time_ns(), "source": self.source, "streams": {stream: position}}, to=sid
            )

    async def revoke(self) -> None:
        """Take everyone's rights away."""
        for sid, stream in list(self.streams.items()):
            await self.emit("revoked", {"stream": stream, "code": 3503, "message": "no longer yours"}, to=sid)
        self.streams.clear()

    async def run(self) -> None:
        """Publish four times a second until cancelled, unless paused; beat once a second, unless silent."""
        for step in range(1_000_000_000):
            await asyncio.sleep(0.25)
            if not (self.paused or self.silent):
                await self.tick()
            if step % 4 == 0 and not self.silent:
                await self.beat()


class Edge:
    """Do what the web process's middleware does: viewer from a cookie, nonce, policy, sign-in where there is none."""

    def __init__(self, inner: Any, app: Any) -> None:
        self.inner, self.app = inner, app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        cookie = SimpleCookie(dict(scope["headers"]).get(b"cookie", b"").decode())
        role = cookie["viewer"].value if "viewer" in cookie else None
        nonce = secrets.token_urlsafe(16)
        current_viewer.set(VIEWERS.get(role or ""))
        current_nonce.set(nonce)
        if role is None and scope["path"] in ("/", "/floor"):
            await RedirectResponse("/sign-in", 303)(scope, receive, send)
            return

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = content_security_policy(self.app, nonce).encode()
                message["headers"] = [*message["headers"], (b"content-security-policy", policy)]
            await send(message)

        await self.inner(scope, receive, with_policy)


@dataclass
class Stage:
    """Hold what is served and the live server behind it."""

    url: str
    live: LiveStage
    data: FakeData


def create_stage(live: LiveStage, data: FakeData, origin: str) -> Any:
    """Compose pages and live server as the web process does."""
    server = FastAPI(openapi_url=None)

    @server.get("/api/health")
    async def health() -> dict[str, Any]:
        found = await data.health()
        parts = {one.name: {"level": one.level, "detail": one.detail} for one in found.components}
        return {"summary": found.summary, "services": parts, "workers": {}}

    sockets = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[origin])
    sockets.register_namespace(live)
    app = create_dashboard(server, data)
    return Edge(StaticAssets(socketio.ASGIApp(sockets, server), ASSETS), app)


@asynccontextmanager
async def open_stage(port: int, data: FakeData | None = None) -> Any:
    """Serve the pages on a loopback port until left."""
    url, live, data = f"http://127.0.0.1:{port}", LiveStage(), data or FakeData()
    app = create_stage(live, data, url)
    config = uvicorn.Config(app, port=port, log_config=None, ws="websockets-sansio")
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server._serve(), name="stage")
        publishing = tasks.create_task(live.run(), name="publishing")
        try:
            await eventually(lambda: server.started, "the stage serves")
            yield Stage(url, live, data)
        finally:
            publishing.cancel()
            server.should_exit = True
            await serving
