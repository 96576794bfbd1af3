"""Frame a part of a page: a title, what belongs beside the title, and the content."""

from __future__ import annotations

from typing import Any, cast

from dash import dcc, html

from dashboard.figures.look import CONFIG
from dashboard.pages.attributes import attributes


def panel(name: str, title: str, content: Any, *, beside: Any = None) -> html.Section:
    """Return a panel; `name` places it in the page's grid."""
    head = html.Div([html.H2(title), html.Div(beside, className="beside")], className="head")
    return html.Section([head, content], className=f"panel {name}")


def chart(name: str, figure: Any) -> dcc.Graph:
    """Return a chart that fills the place its panel gives it."""
    return dcc.Graph(id=name, figure=figure, config=cast(Any, CONFIG), className="chart", responsive=True)


def choices(kind: str, options: dict[str, str], chosen: str) -> html.Div:
    """Return a row of buttons of which one is pressed; the page's own code handles them."""
    return html.Div(
        [
            html.Button(
                label,
                type="button",
                className="choice",
                **attributes(**{f"data_{kind}": value, "aria_pressed": "true" if value == chosen else "false"}),
            )
            for value, label in options.items()
        ],
        className="choices",
        role="group",
    )
