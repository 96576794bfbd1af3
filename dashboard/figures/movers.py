"""Draw which portfolios of a book move it most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.figures.look import DOWN, UP, axis, layout


@dataclass(frozen=True, slots=True)
class Mover:
    """Hold a portfolio's label and its day P&L in the reference currency."""

    label: str
    day_pnl: float


def movers_figure(movers: Sequence[Mover], currency: str) -> go.Figure:
    """Return horizontal bars of `movers`, the first on top, amounts in `currency`."""
    bars = go.Bar(
        x=[mover.day_pnl for mover in movers],
        y=[mover.label for mover in movers],
        orientation="h",
        marker={"color": [UP if mover.day_pnl >= 0 else DOWN for mover in movers], "line": {"width": 0}},
        hovertemplate="%{y}  <b>%{x:,.2f}</b> " + currency + "<extra></extra>",
    )
    return go.Figure(
        bars,
        layout(
            xaxis=axis(tickformat="~s", nticks=6),
            yaxis=axis(
                autorange="reversed", automargin=True, ticks="", showgrid=False, zeroline=False, type="category"
            ),
            bargap=0.38,
            margin={"l": 8, "r": 14, "t": 4, "b": 24},
        ),
    )
