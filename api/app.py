"""Compose the one web process: REST, the live sockets and the pages, behind one edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import socketio
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.alerts.routes import router as alert_routes
from api.auth.pages import router as session_routes
from api.auth.routes import router as auth_routes
from api.docs.routes import router as docs_routes
from api.edge import Edge
from api.errors import NotFound, add_error_handlers
from api.health import router as health_routes
from api.live.namespace import LiveNamespace, create_socket_server
from api.live.periodic import periodically
from api.live.websocket import LiveWebSocket
from api.operations.routes import router as operations_routes
from api.pages_data import PageData
from api.portfolio.routes import router as portfolio_routes
from api.resources import open_state
from api.settings import ApiSettings
from api.state import StateHolder
from dashboard.app import create_dashboard
from dashboard.security import content_security_policy
from dashboard.static import StaticAssets
from dashboard.vendor import ASSETS

DOOR_CHECK_S = 0.5
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class WebProcess:
    """Be the ASGI application, and say goodbye to the live clients when asked to."""

    def __init__(self, edge: ASGIApp, holder: StateHolder) -> None:
        self._edge = edge
        self._holder = holder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        await self._edge(scope, receive, send)

    def go_away(self) -> None:
        """Tell the live clients to connect elsewhere; to be called before the server closes their connections."""
        self._holder.state.hub.go_away()


def create_app(settings: ApiSettings) -> WebProcess:
    """Make the web process; nothing is opened before its lifespan begins.

    Raises `dashboard.vendor.FrontEndMissing` where the front end was never built.
    """
    holder = StateHolder()
    namespace = LiveNamespace(holder)
    sockets = create_socket_server(namespace, list(settings.own_origins))
    server = create_server(settings, holder, namespace)
    dashboard = create_dashboard(server, PageData(holder))
    pages = StaticAssets(server, ASSETS)
    inner = LiveWebSocket(socketio.ASGIApp(sockets, other_asgi_app=pages), holder, settings.own_origins)
    edge = Edge(inner, holder, settings, lambda nonce: content_security_policy(dashboard, nonce))
    return WebProcess(edge, holder)


def create_server(settings: ApiSettings, holder: StateHolder, namespace: LiveNamespace) -> FastAPI:
    """Make the server with every route of ours; the pages come after, because they answer whatever is left."""
    server = FastAPI(
        title="Alhambra",
        lifespan=create_lifespan(settings, holder, namespace),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    server.state.holder = holder
    add_error_handlers(server)
    if settings.frontend_origin:
        server.add_middleware(
            CORSMiddleware,
            allow_origins=[settings.frontend_origin],
            allow_credentials=True,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    served = (
        auth_routes,
        session_routes,
        portfolio_routes,
        alert_routes,
        operations_routes,
        health_routes,
        docs_routes,
    )
    for routes in served:
        server.include_router(routes)
    server.add_api_route("/metrics", metrics, include_in_schema=False)
    server.add_api_route("/api/{path:path}", no_route, methods=EVERY_METHOD, include_in_schema=False)
    return server


def create_lifespan(
    settings: ApiSettings, holder: StateHolder, namespace: LiveNamespace
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Make the lifespan: the only owner of the connections and of everything that runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_state(settings) as state, state.hub.running():
            holder.hold(state)
            door = asyncio.create_task(periodically(DOOR_CHECK_S, namespace.check_door), name="live door")
            try:
                yield
            finally:
                door.cancel()
                holder.hold(None)

    return lifespan


async def metrics() -> Response:
    """Return what Prometheus reads."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def no_route() -> Response:
    """Answer for what is not there, before Dash would answer with a page."""
    raise NotFound("Route not found")
