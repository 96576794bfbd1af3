"""Draw the day's P&L minute by minute; the page adds the live points."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboard.data import IntradayPoint
from dashboard.figures.look import ACCENT, axis, layout

NS_PER_MS = 1_000_000
# Seconds only where the axis is so short that minutes would repeat; never the date, it is always today.
TIMES = [
    {"dtickrange": [None, 59_999], "value": "%H:%M:%S"},
    {"dtickrange": [60_000, None], "value": "%H:%M"},
]


def intraday_figure(points: Sequence[IntradayPoint], currency: str) -> go.Figure:
    """Return the line of day P&L over `points` (oldest first), amounts in `currency`.

    Times are milliseconds since the epoch, UTC; the browser moves them to its own zone.
    """
    line = go.Scatter(
        x=[point.minute_ns // NS_PER_MS for point in points],
        y=[point.day_pnl for point in points],
        mode="lines",
        line={"width": 1.8, "color": ACCENT, "shape": "linear"},
        fill="tozeroy",
        fillcolor="rgba(76,141,255,.13)",
        hovertemplate="%{x|%H:%M:%S}  <b>%{y:,.2f}</b> " + currency + "<extra></extra>",
    )
    return go.Figure(
        line,
        layout(
            xaxis=axis(type="date", showgrid=False, nticks=6, zeroline=False, tickformatstops=TIMES),
            yaxis=axis(tickformat="~s", nticks=6),
            hovermode="x",
        ),
    )
