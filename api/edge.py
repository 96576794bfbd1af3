"""Stand before everything: name the request, say who looks, guard the pages, and set the headers that protect them."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.authenticator import cookie_token
from api.auth.identity import Identity
from api.client_address import client_address
from api.errors import UNAVAILABLE, ApiError, Forbidden, PayloadTooLarge, Unavailable, render
from api.http_metrics import observe
from api.same_origin import is_json, is_same_origin
from api.settings import ApiSettings
from api.state import StateHolder
from dashboard.viewer import current_nonce, current_viewer

log = structlog.get_logger()

LARGEST_BODY = 10 * 1024 * 1024
TOO_LARGE = "The body is larger than 10 MB."
REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
CALLBACKS = "/_dash-update-component"
DASH_SOCKET = "/_dash-ws-callback"
SIGN_IN = "/sign-in"
# Whoever is not signed in may ask for these; every other GET is a page and leads to the sign-in form.
OPEN_PREFIXES = ("/api/", "/_dash-", "/assets/", "/socket.io", "/ws/")
DOCUMENTATION = ("/docs/stream", "/docs/stream.json")
OPEN_PATHS = frozenset({"/health", "/metrics", "/session", "/session/end", "/favicon.ico", SIGN_IN, *DOCUMENTATION})
QUIET_PREFIXES = ("/_dash-", "/assets/")
WITHOUT_VIEWER = (
    "/api/",
    "/assets/",
    "/_dash-component-suites/",
    "/socket.io",
    "/ws/",
    "/health",
    "/metrics",
    "/docs/",
)

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
}
HSTS = "max-age=31536000; includeSubDomains"
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Edge:
    """Wrap the whole application; `page_policy` gives the Content-Security-Policy of a page with this nonce."""

    def __init__(
        self, inner: ASGIApp, holder: StateHolder, settings: ApiSettings, page_policy: Callable[[str], str]
    ) -> None:
        self._inner = inner
        self._holder = holder
        self._settings = settings
        self._page_policy = page_policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"].startswith(DASH_SOCKET):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._inner(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else secrets.token_hex(8)
        nonce = secrets.token_urlsafe(16)
        exchange = _Exchange(send, request_id, nonce, self._settings.cookies_secure, self._page_policy)
        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                refusal = await self._prepare(scope, headers, nonce)
                if refusal is None:
                    await self._inner(scope, _bounded(headers, receive), exchange.send)
                else:
                    await refusal(scope, receive, exchange.send)
            finally:
                exchange.report(scope)

    async def _prepare(self, scope: Scope, headers: Headers, nonce: str) -> Response | None:
        """Set who looks at a page; return the answer where the request goes no further."""
        try:
            _check_size(headers)
            if scope["path"] == CALLBACKS and not self._is_own_callback(headers):
                raise Forbidden("Only our own pages may ask for this.")
            identity = await self._identity(scope, headers)
        except ApiError as error:
            return render(error)
        except UNAVAILABLE as error:
            log.warning("nobody can be signed in", error=repr(error))
            return render(Unavailable("The service cannot answer at the moment. Please try again."))
        current_nonce.set(nonce)
        current_viewer.set(None if identity is None else identity.page_viewer)
        return _turned_away(scope, identity)

    async def _identity(self, scope: Scope, headers: Headers) -> Identity | None:
        if scope["path"].startswith(WITHOUT_VIEWER):
            return None
        token = cookie_token(headers.get("cookie", ""))
        return None if token is None else await self._holder.state.authenticator.by_cookie(token)

    def _is_own_callback(self, headers: Headers) -> bool:
        return is_json(headers) and is_same_origin(headers, self._settings.own_origins)


class _Exchange:
    """Add the headers of an answer on its way out, and remember how it went."""

    def __init__(self, send: Send, request_id: str, nonce: str, secure: bool, policy: Callable[[str], str]) -> None:
        self._send = send
        self._request_id = request_id
        self._nonce = nonce
        self._secure = secure
        self._policy = policy
        self._status = 500
        self._began = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._protect(MutableHeaders(scope=message))
        await self._send(message)

    def report(self, scope: Scope) -> None:
        """Measure and log the request."""
        seconds = time.perf_counter() - self._began
        observe(scope, self._status, seconds)
        if not scope["path"].startswith(QUIET_PREFIXES):
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=self._status,
                ms=round(1000 * seconds, 1),
                address=client_address(scope),
            )

    def _protect(self, headers: MutableHeaders) -> None:
        headers["x-request-id"] = self._request_id
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        if self._secure:
            headers["strict-transport-security"] = HSTS
        kind = headers.get("content-type", "")
        if kind.startswith("text/html"):
            headers["content-security-policy"] = self._policy(self._nonce)
            headers["cache-control"] = "no-store"
        elif kind.startswith("application/json"):
            headers["content-security-policy"] = DATA_POLICY


def _turned_away(scope: Scope, identity: Identity | None) -> Response | None:
    path = scope["path"]
    if path == SIGN_IN:
        return None if identity is None or scope["method"] != "GET" else RedirectResponse("/", 303)
    if identity is not None or scope["method"] not in ("GET", "HEAD"):
        return None
    if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
        return None
    return RedirectResponse(SIGN_IN, 303)


def _check_size(headers: Headers) -> None:
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > LARGEST_BODY:
        raise PayloadTooLarge(TOO_LARGE)


def _bounded(headers: Headers, receive: Receive) -> Receive:
    """Count a body that does not say its length; reading too much of it raises a 413 that FastAPI passes on."""
    if "transfer-encoding" not in headers:
        return receive
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counted
