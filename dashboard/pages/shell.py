"""Hold every page: the head of the page with its way about, and the place where pages come and go."""

from __future__ import annotations

from dash import dcc, html

from dashboard.i18n import client_messages
from dashboard.i18n import gettext as _
from dashboard.pages.alerts import bell
from dashboard.pages.attributes import attributes
from dashboard.viewer import Viewer, current_viewer


def shell() -> html.Div:
    """Return the frame for whoever looks; it reads no data, so it may be asked for at any time."""
    viewer = current_viewer.get()
    return html.Div(
        [
            dcc.Location(id="location", refresh=False),
            html.Header([brand(), html.Nav(id="navigation", className="navigation"), *controls(viewer)]),
            html.Main(id="page"),
        ],
        className="shell",
    )


def brand() -> dcc.Link:
    """Return the name that leads home."""
    return dcc.Link([html.I(className="star"), "Alhambra"], href="/", className="brand")


def controls(viewer: Viewer | None) -> list[html.Div]:
    """Return the end of the head: how live the page is, alerts, colours, who is signed in, the way out."""
    texts = client_messages()
    state = html.Div(
        [html.B(), html.Span(texts["connecting"]), html.Span(className="age number")],
        id="connection",
        className="connection",
        role="status",
    )
    colours = html.Button(
        html.I(),
        id="colours",
        className="icon",
        type="button",
        title=_("Dark or light"),
        **attributes(aria_label=_("Dark or light")),
    )
    way_out = html.Form(
        html.Button(_("Sign out"), type="submit", className="plain"), action="/session/end", method="POST"
    )
    name = html.Span(viewer.name if viewer else "", className="who")
    return [html.Div([state, bell(), colours, name, way_out], className="controls")]


def navigation(viewer: Viewer, path: str) -> list[dcc.Link]:
    """Return the links of the head for a role; the one of `path` is marked."""
    staff = {"/floor": _("Trading floor"), "/status": _("Status")}
    links = {"client": {"/": _("Portfolio")}}.get(viewer.role, staff)
    if viewer.role == "kyc_agent":
        return []
    return [
        dcc.Link(text, href=href, className="chosen" if leads_to(href, path) else "") for href, text in links.items()
    ]


def leads_to(href: str, path: str) -> bool:
    """Tell whether the page at `path` belongs under the link `href`."""
    if href == "/":
        return path == "/" or path.startswith("/portfolio")
    return path.startswith(href) or (path == "/" and href == "/floor")
