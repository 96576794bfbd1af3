"""Draw what a portfolio consists of."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from dashboard.figures.look import PALETTE, layout


def allocation_figure(amounts: Mapping[str, float]) -> go.Figure:
    """Return a ring of `amounts` by label, in the order given; what is negative has no arc.

    The page writes the legend itself, with the amounts, and the total into the middle.
    """
    ring = go.Pie(
        labels=list(amounts),
        values=[max(amount, 0.0) for amount in amounts.values()],
        hole=0.74,
        sort=False,
        direction="clockwise",
        textinfo="none",
        marker={"colors": PALETTE, "line": {"width": 0}},
        hovertemplate="%{label}  <b>%{percent}</b><extra></extra>",
    )
    return go.Figure(ring, layout(margin={"l": 6, "r": 6, "t": 6, "b": 6}))
