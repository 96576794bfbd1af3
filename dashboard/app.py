"""Compose the dashboard: Dash on the web process's own server, the sign-in page beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import structlog
from dash import Dash, Input, Output
from dash import dash_table as unused_table
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from dashboard.data import DashboardData
from dashboard.document import Parts, document
from dashboard.pages.notice import failure, signed_out
from dashboard.pages.shell import navigation, shell
from dashboard.pages.sign_in import sign_in_page
from dashboard.pages.turn import turn_to
from dashboard.routes import parse_route
from dashboard.vendor import ASSETS, Vendor, read_vendor
from dashboard.viewer import current_nonce, current_viewer

log = structlog.get_logger(__name__)


class Dashboard(Dash):
    """Be Dash with our own document around it."""

    vendor: Vendor

    def interpolate_index(
        self,
        metas: str = "",
        title: str = "",
        css: str = "",
        config: str = "",
        scripts: str = "",
        app_entry: str = "",
        favicon: str = "",
        renderer: str = "",
    ) -> str:
        """Return the HTML document of a page request."""
        del metas, favicon
        parts = Parts(title, css, config, scripts, app_entry, renderer)
        return document(parts, self.vendor, current_nonce.get())


def create_dashboard(server: FastAPI, data: DashboardData) -> Dash:
    """Add the pages to `server` and return the application.

    Register every other route on `server` before: Dash answers whatever is left. Raises FrontEndMissing where the
    front end was never built.
    """
    vendor = read_vendor()
    add_sign_in(server, data, vendor)
    # The table of Dash itself is never used; without it a page loads 200 kB less.
    vars(unused_table)["_js_dist"].clear()
    app = Dashboard(
        __name__,
        # Dash takes any server of a backend that it knows; its annotation knows Flask only.
        server=cast(Any, server),
        url_base_pathname="/",
        assets_folder=str(ASSETS),
        # By ourselves, under hashed addresses and in the order that matters.
        include_assets_files=False,
        external_scripts=vendor.scripts(),
        title="Alhambra",
        update_title=cast(Any, None),
        suppress_callback_exceptions=True,
        on_error=log_failure,
    )
    app.vendor = vendor
    app.backend.websocket_capability = False
    app.layout = shell
    add_pages(app, data)
    # The first layout costs half a second of imports: paid here, before anyone waits.
    app.serve_layout()  # type: ignore[no-untyped-call]  # dash is untyped here
    return app


def add_sign_in(server: FastAPI, data: DashboardData, vendor: Vendor) -> None:
    """Add the sign-in page to `server`."""

    @server.get("/sign-in", include_in_schema=False)
    async def sign_in(error: str | None = None) -> HTMLResponse:
        logins = await data.demo_logins()
        return HTMLResponse(sign_in_page(error, logins, vendor))


def add_pages(app: Dash, data: DashboardData) -> None:
    """Add the callback that turns an address into a page."""

    @app.callback(
        Output("page", "children"),
        Output("navigation", "children"),
        Input("location", "pathname"),
        on_error=show_failure,
    )
    async def turn(path: str | None) -> tuple[Component, Sequence[Component]]:
        viewer = current_viewer.get()
        if viewer is None:
            return signed_out(), []
        page = await turn_to(parse_route(path or "/"), viewer, data)
        return page, navigation(viewer, path or "/")


def log_failure(failed: Exception) -> None:
    """Log what a callback raised; Dash itself says nothing."""
    if not isinstance(failed, PreventUpdate):
        log.error("page callback failed", exc_info=failed)


def show_failure(failed: Exception) -> tuple[Any, list[Any]]:
    """Log what building a page raised and show that it did not work."""
    log_failure(failed)
    return failure(), []
