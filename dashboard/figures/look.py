"""Give every chart one look: no template, our colours, transparent ground that follows the page."""

from __future__ import annotations

from typing import Any

ACCENT = "#4c8dff"
MUTED = "#8593ad"
UP = "#22b98a"
DOWN = "#f0596b"
PALETTE = ("#4c8dff", "#22c993", "#e8b04b", "#b38cff", "#ff7a90", "#5ad1e6", "#f08c4a", "#8fd460", "#d977c8", "#7f8fb0")
FONT = "Inter, system-ui, sans-serif"
CONFIG = {"displayModeBar": False, "responsive": True}


def layout(**changes: Any) -> dict[str, Any]:
    """Return the layout that all charts share, with `changes`."""
    shared: dict[str, Any] = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "color": MUTED, "size": 11},
        "hoverlabel": {"font": {"family": FONT, "size": 12}, "bordercolor": "rgba(0,0,0,0)"},
        "uirevision": "kept",
        "showlegend": False,
        "margin": {"l": 56, "r": 10, "t": 8, "b": 24},
    }
    return shared | changes


def axis(**changes: Any) -> dict[str, Any]:
    """Return an axis with faint lines that are readable on dark and on light, with `changes`."""
    shared: dict[str, Any] = {
        "gridcolor": "rgba(133,147,173,.14)",
        "zerolinecolor": "rgba(133,147,173,.45)",
        "zerolinewidth": 1,
        "linecolor": "rgba(0,0,0,0)",
        "tickfont": {"size": 10.5},
        "fixedrange": True,
    }
    return shared | changes
