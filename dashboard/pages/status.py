"""Show how everything is: to staff each part with what it says of itself, to a client one plain sentence."""

from __future__ import annotations

from dash import html

from dashboard.data import Component, Health
from dashboard.i18n import client_messages
from dashboard.i18n import gettext as _
from dashboard.pages.attributes import attributes
from dashboard.pages.panel import panel
from dashboard.viewer import Viewer


def status_page(health: Health, viewer: Viewer) -> html.Div:
    """Return the page as of now; its own script keeps it so, asking `/api/health` every five seconds."""
    summary = html.P(
        client_messages()[f"summary_{health.summary}"],
        id="summary",
        className="summary",
        role="status",
        **attributes(data_level=health.summary),
    )
    if viewer.role == "client":
        inner = [html.H1(_("Status")), summary]
        return html.Div(html.Div(inner, className="panel polite"), id="status", className="page single")
    head = html.Div([html.H1(_("Status")), summary, as_of()], className="heading")
    parts = html.Div([part(one) for one in health.components], id="components", className="components")
    return html.Div([head, panel("status-panel", _("Components"), parts)], id="status", className="page")


def as_of() -> html.Span:
    """Return the place for when the page was last brought up to date; the browser writes its own time there."""
    return html.Span(id="as-of", className="notice as-of number", title=_("Last asked"))


def part(component: Component) -> html.Div:
    """Return one line: how it is, in a word and a colour, what it is, and what it says."""
    return html.Div(
        [
            html.Span(client_messages()[f"level_{component.level}"], className="level"),
            html.Span(label(component.name), className="name"),
            html.Span(component.detail, className="detail"),
        ],
        className="component",
        **attributes(data_component=component.name, data_level=component.level),
    )


def label(name: str) -> str:
    """Return what people call a component; of several of a kind, which one stands after it."""
    kind, _colon, which = name.partition(":")
    labels = {
        "database": _("Database"),
        "redis": _("Live state"),
        "kafka": _("Message broker"),
        "iboss": _("Back office IBOSS"),
        "stream": _("Valuation"),
        "market": _("Market prices"),
        "live_equals_batch": _("Live equals batch"),
        "positions_equal_bookings": _("Positions equal bookings"),
        "reconciliation": _("Reconciliation"),
        "standby": _("Standby"),
    }
    found = labels.get(kind, kind)
    return f"{found} · {which}" if which else found
