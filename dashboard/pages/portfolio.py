"""Show one portfolio live: what it is worth, why it moved, what it consists of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from dashboard.data import IntradayPoint, PortfolioInfo, PriceSource
from dashboard.figures.allocation import allocation_figure
from dashboard.figures.intraday import intraday_figure
from dashboard.i18n import gettext as _
from dashboard.pages.attributes import attributes
from dashboard.pages.labels import asset_class_labels, sector_labels
from dashboard.pages.notice import source_notice
from dashboard.pages.panel import chart, choices, panel
from dashboard.pages.table import flashing_column, number_column, signed_column, table, text_column
from dashboard.pages.tile import number, tile


def portfolio_page(
    portfolio: PortfolioInfo,
    siblings: Sequence[PortfolioInfo],
    points: Sequence[IntradayPoint],
    source: PriceSource,
    *,
    of_another: bool,
) -> html.Div:
    """Return the page of `portfolio`, with links to its client's other portfolios.

    `points` are today's minutes, `of_another` says that the viewer is not the client, so that the name is shown.
    """
    return html.Div(
        [
            heading(portfolio, siblings, source, of_another=of_another),
            html.Div(tiles(), className="tiles"),
            panel("holdings", _("Holdings"), holdings(), beside=_("in %s") % portfolio.base_currency),
            panel("intraday", _("Intraday P&L"), chart("intraday", intraday_figure(points, portfolio.base_currency))),
            panel("allocation", _("Allocation"), allocation(), beside=dimensions()),
        ],
        id="live",
        className="page portfolio",
        **attributes(
            data_stream=f"portfolio:{portfolio.id}",
            data_currency=portfolio.base_currency,
            data_key="symbol",
            data_table="holdings",
        ),
    )


def heading(
    portfolio: PortfolioInfo, siblings: Sequence[PortfolioInfo], source: PriceSource, *, of_another: bool
) -> html.Div:
    """Return the line above the figures: whose portfolio, the other ones, where prices come from."""
    title: Any = html.H1(portfolio.name) if len(siblings) < 2 else tabs(portfolio, siblings)
    owner = html.Span(portfolio.client_name, className="owner") if of_another else None
    return html.Div([owner, title, source_notice(source)], className="heading")


def tabs(chosen: PortfolioInfo, portfolios: Sequence[PortfolioInfo]) -> html.Nav:
    """Return links to the client's portfolios."""
    links = [
        dcc.Link(
            [one.name, html.Span(one.base_currency, className="currency")],
            href=f"/portfolio/{one.id}",
            className="tab chosen" if one.id == chosen.id else "tab",
        )
        for one in portfolios
    ]
    return html.Nav(links, className="tabs", **attributes(aria_label=_("Portfolios")))


def tiles() -> list[html.Div]:
    """Return the figures that are seen first."""
    return [
        tile(_("Total equity"), number("total_equity", "money"), number("day_pnl_pct", "percent"), _("today")),
        tile(
            _("Day P&L"),
            number("day_pnl", "money", signed=True),
            _("price"),
            number("day_pnl_price", "compact"),
            html.Span([_("FX"), number("day_pnl_currency", "compact")], className="pair"),
        ),
        tile(
            _("Unrealised P&L"),
            number("unrealised_pnl", "money", signed=True),
            _("realised today"),
            number("realised_pnl_today", "compact"),
        ),
        tile(_("Market value"), number("market_value", "money"), number("invested_share", "share"), _("invested")),
        tile(_("Cash"), number("cash", "money"), _("buying power"), number("buying_power", "amount")),
        tile(_("Stale prices"), number("stale_share", "share"), _("oldest price"), number("oldest_price_ns", "age")),
    ]


PRICE_STATES = {"stale": "params.data.stale", "closed": "params.data.state === 'close'"}


def holdings() -> html.Div:
    """Return the table of positions, the largest first."""
    columns = [
        text_column("symbol", _("Symbol"), 82, pinned="left", cellClass="symbol"),
        text_column("name", _("Name"), 150, flex=1, minWidth=90),
        number_column("quantity", _("Quantity"), 92, "quantity"),
        flashing_column("price", _("Price"), 88, "price"),
        signed_column("day_pnl_pct", _("Day %"), 70, "percent"),
        flashing_column("value", _("Value"), 104, "money", sort="desc"),
        signed_column("day_pnl", _("Day P&L"), 92, "signed"),
        signed_column("contribution", _("Contribution"), 96, "percent"),
        signed_column("unrealised_pnl", _("Unrealised"), 104, "signed"),
        number_column(
            "weight",
            _("Weight"),
            74,
            "share",
            cellClass="weight ag-right-aligned-cell",
            cellStyle={"function": "alhambraWeight(params)"},
        ),
    ]
    return html.Div(
        table("holdings", "symbol", columns, rowClassRules=PRICE_STATES),
        className="fill",
        **attributes(data_wide="name,quantity,contribution,unrealised_pnl,weight"),
    )


def dimensions() -> html.Div:
    """Return the switch of what the allocation is seen by."""
    options = {
        "asset_class": _("Class"),
        "sector": _("Sector"),
        "country": _("Country"),
        "currency": _("Currency"),
    }
    return choices("dimension", options, "asset_class")


def allocation() -> html.Div:
    """Return the ring with the total in its middle, and the legend with the amounts."""
    labels = {"asset_class": asset_class_labels(), "sector": sector_labels()}
    middle = html.Div(
        [html.Div(className="part"), html.Div(className="part-label")],
        className="middle",
        **attributes(aria_hidden="true"),
    )
    return html.Div(
        [
            html.Div([chart("ring", allocation_figure({})), middle], className="ring"),
            html.Ul(id="legend", className="legend"),
        ],
        className="fill ring-and-legend",
        **attributes(data_labels=json.dumps(labels)),
    )
