"""Show one figure of a portfolio or a book: a label, the number, and what explains it."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard.pages.attributes import attributes


def number(field: str, kind: str, *, signed: bool = False) -> html.Span:
    """Return a place for a live number; the page's own code writes `field` there as `kind` says.

    Kinds: money (with cents set smaller), amount, compact, percent, share, age, count. `signed` shows plus and colour.
    """
    sign = attributes(data_signed="true") if signed else {}
    parts = [html.Span(className="whole"), html.Span(className="cents")] if kind == "money" else None
    return html.Span(parts, className="number", **attributes(data_field=field, data_kind=kind), **sign)


def tile(label: str, value: html.Span, *explained: Any) -> html.Div:
    """Return a tile; its size does not depend on the numbers, so that nothing moves when they arrive."""
    return html.Div(
        [
            html.Div(label, className="label"),
            html.Div(value, className="value"),
            html.Div(list(explained), className="explained"),
        ],
        className="tile",
    )
