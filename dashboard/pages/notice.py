"""Say in words where prices come from, and what cannot be shown."""

from __future__ import annotations

from dash import html

from dashboard.data import PriceSource
from dashboard.i18n import gettext as _


def source_notice(source: PriceSource) -> html.Div | None:
    """Return the sentence about prices that are not the market's own, or None where they are."""
    if source.kind == "simulated":
        text = _("Prices are simulated from real history, shifted to today")
    elif source.kind == "recorded":
        text = _("Prices are replayed from a recording")
    else:
        return None
    return html.Div(text, className="notice", title=source.history or text)


def polite_page(title: str, text: str) -> html.Div:
    """Return a page that has nothing to show and says why."""
    return html.Div(html.Div([html.H1(title), html.P(text)], className="panel polite"), className="page single")


def nothing_here() -> html.Div:
    """Return the page for what does not exist or is not the viewer's to see: the same, so that it tells nothing."""
    return polite_page(_("Nothing here"), _("This page does not exist, or it is not yours to see."))


def no_live_view() -> html.Div:
    """Return the page for a role that looks at no portfolios."""
    return polite_page(_("No live view"), _("Your role does not include portfolios. Your work is in the other tools."))


def no_portfolio() -> html.Div:
    """Return the page of a client without a portfolio."""
    return polite_page(_("No portfolio yet"), _("Your portfolio appears here as soon as your account is open."))


def failure() -> html.Div:
    """Return the page shown where building the asked-for one failed."""
    return polite_page(_("Something went wrong"), _("We could not build this page. Please load it again in a moment."))


def signed_out() -> html.Div:
    """Return what leads to the sign-in page: the page's own code follows it at once."""
    link = html.A(_("Sign in again"), href="/sign-in", className="button")
    return html.Div(link, id="signed-out", className="page single")
