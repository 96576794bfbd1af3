"""Write the HTML document around the application: language, colours, what to fetch first, the texts of the client."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape

from dashboard.i18n import client_messages, direction, language, locale
from dashboard.pages.alerts import alert_messages, alerts_panel
from dashboard.vendor import Vendor
from dashboard.viewer import current_viewer

# Fetched by the table and the charts when they are first drawn: asked for at once they cost no round trip later.
LAZY_SCRIPTS = (
    "/_dash-component-suites/dash_ag_grid/async-community.js",
    "/_dash-component-suites/dash/dcc/async-graph.js",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """Hold what Dash puts into a page, as HTML; `title` is text."""

    title: str
    css: str
    config: str
    scripts: str
    app_entry: str
    renderer: str


def document(parts: Parts, vendor: Vendor, nonce: str) -> str:
    """Return the page from Dash's `parts`; styles that components make get `nonce`."""
    return f"""<!DOCTYPE html>
<html lang="{language()}" dir="{direction()}" data-locale="{locale()}" data-scheme="dark">
<head>
<meta charset="utf-8">
<meta name="csp-nonce" content="{escape(nonce)}">
<meta name="plotly" content="{vendor.url("plotly.js")}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="dark light">
<title>{escape(parts.title)}</title>
<link rel="icon" type="image/svg+xml" href="{vendor.own("star.svg")}">
<script src="{vendor.own("00_nonce.js")}"></script>
<script src="{vendor.own("01_plotly.js")}"></script>
<script src="{vendor.own("02_scheme.js")}"></script>
{preloads(vendor)}
<link rel="stylesheet" href="{vendor.url("fonts.css")}">
<link rel="stylesheet" href="{vendor.own("app.css")}">
{parts.css}
</head>
<body>
{parts.app_entry}
{alerts_panel() if current_viewer.get() else ""}
<script type="application/json" id="messages">{script_json(client_messages() | alert_messages())}</script>
<footer>
{parts.config}
{parts.scripts}
{parts.renderer}
</footer>
</body>
</html>
"""


def preloads(vendor: Vendor) -> str:
    """Return the hints for what the page needs soon but names late."""
    scripts = (vendor.url("plotly.js"), *LAZY_SCRIPTS)
    hints = [f'<link rel="preload" as="script" href="{address}">' for address in scripts]
    font = vendor.url("inter-latin.woff2")
    hints.append(f'<link rel="preload" as="font" type="font/woff2" crossorigin href="{font}">')
    return "\n".join(hints)


def script_json(value: object) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")
