"""Show an advisor's whole book live: every portfolio, sorted by what moved, with totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from dashboard.data import FloorInfo, PriceSource
from dashboard.figures.movers import movers_figure
from dashboard.i18n import gettext as _
from dashboard.pages.attributes import attributes
from dashboard.pages.notice import source_notice
from dashboard.pages.panel import chart, choices, panel
from dashboard.pages.table import flashing_column, long_table, number_column, signed_column, text_column
from dashboard.pages.tile import number, tile

FIELDS = (
    "name",
    "client",
    "base_currency",
    "total_equity",
    "day_pnl",
    "day_pnl_pct",
    "equity_reference",
    "day_pnl_reference",
    "stale_share",
)
"""What the table asks of a floor's rows; `dashboard/assets/45_floor_table.js` leaves out what it does not show."""


def floor_page(floor: FloorInfo, floors: Sequence[FloorInfo], source: PriceSource) -> html.Div:
    """Return the floor of one advisor, with links to the other floors that the viewer may see."""
    currency = floor.reference_currency
    return html.Div(
        [
            heading(floor, floors, source),
            html.Div(tiles(), className="tiles"),
            panel("book", _("Portfolios"), book(currency), beside=seeking()),
            panel("movers", _("What moves the book"), chart("movers", movers_figure((), currency))),
            panel("breadth", _("Breadth"), breadth()),
        ],
        id="live",
        className="page floor",
        **attributes(
            data_stream=f"floor:{floor.advisor_id}",
            data_currency=currency,
            data_key="portfolio_id",
            data_table="book",
            data_columns=",".join(FIELDS),
        ),
    )


def heading(floor: FloorInfo, floors: Sequence[FloorInfo], source: PriceSource) -> html.Div:
    """Return the line above the figures: whose floor, the other ones, where prices come from."""
    if len(floors) < 2:
        return html.Div([html.H1(_("Trading floor")), source_notice(source)], className="heading")
    links = [
        dcc.Link(
            one.advisor_name,
            href=f"/floor/{one.advisor_id}",
            className="tab chosen" if one.advisor_id == floor.advisor_id else "tab",
        )
        for one in floors
    ]
    tabs = html.Nav(links, className="tabs", **attributes(aria_label=_("Floors")))
    return html.Div([tabs, source_notice(source)], className="heading")


def tiles() -> list[html.Div]:
    """Return the figures of the whole book, in the reference currency."""
    return [
        tile(_("Book"), number("total_equity", "money"), number("day_pnl_pct", "percent"), _("today")),
        tile(
            _("Day P&L"),
            number("day_pnl", "money", signed=True),
            number("gained", "compact"),
            number("lost", "compact"),
        ),
        tile(_("Portfolios"), number("portfolios", "count"), number("unmoved", "count"), _("unmoved")),
        tile(_("Gainers"), number("gainers", "count"), number("gainers_share", "share"), _("of the book")),
        tile(_("Losers"), number("losers", "count"), number("losers_share", "share"), _("of the book")),
        tile(_("Stale prices"), number("stale_share", "share"), _("computed"), number("computed_ns", "age"), _("ago")),
    ]


def book(currency: str) -> html.Div:
    """Return the table of portfolios, of which only those on the screen are followed; what moved most stands on top."""
    columns = [
        text_column("client", _("Client"), 128, pinned="left", cellClass="symbol"),
        text_column("name", _("Portfolio"), 126, flex=1, minWidth=96),
        text_column("base_currency", _("Currency"), 76),
        number_column("total_equity", _("Equity"), 114, "money"),
        signed_column("day_pnl", _("Day P&L"), 108, "signed"),
        signed_column("day_pnl_pct", _("Day %"), 74, "percent"),
        flashing_column("equity_reference", _("Equity, %s") % currency, 116, "money"),
        signed_column("day_pnl_reference", _("Day P&L, %s") % currency, 112, "signed"),
        number_column("stale_share", _("Stale"), 62, "share"),
        {"field": "rank", "hide": True, "sort": "desc"},  # stands for what "moved most" means: see `ranking`
    ]
    return html.Div(
        long_table("book", columns, rowClass="link", localeText={"noRowsToShow": _("No portfolio matches.")}),
        className="fill",
        **attributes(data_wide="base_currency,total_equity,day_pnl,equity_reference,stale_share"),
    )


def seeking() -> list[Any]:
    """Return what narrows the table down, and what orders it."""
    label = _("Find a client or a portfolio")
    find = dcc.Input(id="find", type="search", placeholder=label, maxLength=64, autoComplete="off", className="find")
    movements = {"all": _("All"), "up": _("Gainers"), "down": _("Losers")}
    shown = html.Span([number("view_rows", "count")], className="shown")
    return [shown, html.Label([html.Span(label), find]), choices("movement", movements, "all"), ranking()]


def ranking() -> html.Div:
    """Return the switch of what "moved most" means."""
    return choices("rank", {"percent": _("By percent"), "amount": _("By amount")}, "percent")


def breadth() -> html.Div:
    """Return the bar of gainers, unmoved and losers, and the best and the worst."""
    bar = html.Div(
        [html.I(className="gainers"), html.I(className="unmoved"), html.I(className="losers")],
        id="breadth",
        className="breadth-bar",
    )
    extremes = html.Dl(
        [
            html.Dt(_("Best")),
            html.Dd([html.Span(id="best-name"), number("best", "percent")]),
            html.Dt(_("Worst")),
            html.Dd([html.Span(id="worst-name"), number("worst", "percent")]),
        ],
        className="extremes",
    )
    return html.Div([bar, extremes], className="fill")
