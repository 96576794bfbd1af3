"""Serve the simulator over HTTP: SOAP at /soap, its WSDL at /soap?wsdl, and /control for tests."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import msgspec
import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alhambra.iboss_sim.controls import ControlOrder, Controls
from alhambra.iboss_sim.faults import IbossFault
from alhambra.iboss_sim.ledger import Ledger
from alhambra.iboss_sim.service import IbossService
from alhambra.iboss_sim.sessions import CallQuota, Sessions
from alhambra.iboss_sim.soap import SoapReader, create_reader, encode_answer, encode_fault, wsdl_at
from alhambra.iboss_sim.splits import SplitDesk
from alhambra.iboss_sim.trading import TradingDesk

MAX_REQUEST_BYTES = 1 << 20
XML = "text/xml; charset=utf-8"
LOOPBACK = frozenset({"127.0.0.1", "::1"})
BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'

log = structlog.get_logger()


def utc_now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


def create_app(
    ledger: Ledger,
    controls: Controls,
    api_key: str | None = None,
    redis: Redis | None = None,
    trade_every_s: float = 0.0,
    now: Callable[[], datetime] = utc_now,
) -> Starlette:
    """Make the application over an open ledger; with `trade_every_s` above zero it trades by itself."""
    sessions = Sessions()
    desk = TradingDesk(ledger, redis, random.Random(11), now)  # noqa: S311  which trade is no secret
    splits = SplitDesk(ledger, now)
    service = IbossService(ledger, sessions, controls, splits)
    endpoint = SoapEndpoint(create_reader(), service, controls, CallQuota(), api_key)
    panel = ControlPanel(controls, sessions, ledger, desk, splits)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            trading = (
                tasks.create_task(_trade(desk, splits, trade_every_s), name="trading") if trade_every_s > 0 else None
            )
            yield
            if trading is not None:
                trading.cancel()

    routes = [
        Route("/soap", endpoint.wsdl, methods=["GET"]),
        Route("/soap", endpoint.soap, methods=["POST"]),
        Route("/control", panel.show, methods=["GET"]),
        Route("/control", panel.change, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class SoapEndpoint:
    """Turn HTTP into SOAP requests and answers, with quota, latency and failures."""

    def __init__(
        self, reader: SoapReader, service: IbossService, controls: Controls, quota: CallQuota, api_key: str | None
    ) -> None:
        self._reader = reader
        self._service = service
        self._controls = controls
        self._quota = quota
        self._api_key = api_key

    async def wsdl(self, request: Request) -> Response:
        """Answer the WSDL with this service's address."""
        return Response(wsdl_at(str(request.url.replace(query=""))), media_type=XML)

    async def soap(self, request: Request) -> Response:
        """Answer one SOAP call."""
        loop = asyncio.get_running_loop()
        allowed, headers = self._quota.count(self._controls.quota_per_minute, loop.time())
        await asyncio.sleep(self._controls.latency_ms / 1000)
        failure = self._controls.next_failure()
        try:
            self._admit(request, failure, allowed=allowed)
            answer = encode_answer(self._service.answer(self._reader.read(await _read_body(request))))
        except IbossFault as fault:
            return Response(encode_fault(fault), fault.status, headers, XML)
        return _fail(failure, answer) if failure else Response(answer, 200, headers, XML)

    def _admit(self, request: Request, failure: str | None, *, allowed: bool) -> None:
        if not allowed:
            raise IbossFault("QuotaExceeded", "the quota of this minute is used up", status=429)
        if failure == "fault":
            raise IbossFault("ServerError", "failing, as it was told to")
        given = request.headers.get("X-API-Key", "")
        if self._api_key and not hmac.compare_digest(given.encode(), self._api_key.encode()):
            raise IbossFault("AccessDenied", "the API key is wrong", status=401)


class ControlPanel:
    """Change the simulator while it runs; only for callers on this machine."""

    def __init__(
        self, controls: Controls, sessions: Sessions, ledger: Ledger, desk: TradingDesk, splits: SplitDesk
    ) -> None:
        self._controls = controls
        self._sessions = sessions
        self._ledger = ledger
        self._desk = desk
        self._splits = splits

    async def show(self, request: Request) -> Response:
        """Answer the present settings."""
        return self._settings() if _is_local(request) else _refused()

    async def change(self, request: Request) -> Response:
        """Apply a `ControlOrder` and answer the settings, with the reference of the trade or the split."""
        if not _is_local(request):
            return _refused()
        try:
            order = msgspec.json.decode(await _read_body(request), type=ControlOrder)
            self._controls.apply(order)
            self._splits.book_due()
            reference = None if order.trade is None else self._desk.order(order.trade).reference
            reference = reference if order.split is None else self._splits.announce(order.split)
        except (ValueError, IbossFault) as error:
            return JSONResponse({"error": str(error)}, 400)
        if order.expire_sessions:
            self._sessions.end_all()
        if order.expire_password is not None:
            self._ledger.expire_password(order.expire_password)
        return self._settings(reference)

    def _settings(self, reference: str | None = None) -> Response:
        names = ("latency_ms", "failure_rate", "session_seconds", "quota_per_minute", "fail_next", "failure")
        settings = {name: getattr(self._controls, name) for name in names}
        return JSONResponse(settings if reference is None else settings | {"reference": reference})


async def _trade(desk: TradingDesk, splits: SplitDesk, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        splits.book_due()
        booked = await desk.trade()
        if booked is not None:
            log.info("simulated trade", reference=booked.reference, account=booked.iboss_account_id, type=booked.type)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise IbossFault("InvalidRequest", f"more than {MAX_REQUEST_BYTES >> 20} MiB")
    return bytes(body)


def _fail(failure: str, answer: bytes) -> Response:
    match failure:
        case "http":
            return Response("Service Unavailable", 503, media_type="text/plain")
        case "truncated":
            return Response(answer[: len(answer) // 2], media_type=XML)
        case "dtd":
            return Response(BOMB, media_type=XML)
        case "hang_up":
            return Response(answer[:20], headers={"Content-Length": str(len(answer))}, media_type=XML)
        case _:
            return Response(b"\x00\xff<not xml", media_type=XML)


def _is_local(request: Request) -> bool:
    return request.client is not None and request.client.host in LOOPBACK


def _refused() -> Response:
    return JSONResponse({"error": "only from this machine"}, 403)
