"""Show alerts on every page: a bell in the head, and a panel where rules are set and alerts are read."""

from __future__ import annotations

from html import escape

from dash import html

from dashboard.i18n import gettext as _
from dashboard.pages.attributes import attributes


def bell() -> html.Button:
    """Return the button that opens the panel; the page's own code writes how many alerts wait."""
    return html.Button(
        [html.I(), html.Span(className="waiting number")],
        id="bell",
        className="icon bell",
        type="button",
        title=_("Alerts"),
        **attributes(aria_label=_("Alerts")),
    )


def alerts_panel() -> str:
    """Return the panel as HTML, for outside of the application: the browser itself opens and closes it."""
    name, rules, newest = escape(_("Alerts")), escape(_("Rules")), escape(_("Newest"))
    return f"""<div id="alerts" class="alerts" popover role="dialog" aria-label="{name}">
{rule_form()}
<h2>{rules}</h2>
<ul id="alert-rules"></ul>
<h2>{newest}</h2>
<ul id="alert-list"></ul>
</div>
<div id="toasts" class="toasts" role="status"></div>
"""


def rule_form() -> str:
    """Return the form for a rule; what the portfolio kinds are about is the portfolio that is looked at."""
    title, symbol, symbol_hint = escape(_("Set an alert")), escape(_("Symbol")), escape(_("e.g. AAPL"))
    above, below, level = escape(_("above")), escape(_("below")), escape(_("Level"))
    each_time, submit, kind = escape(_("Each time")), escape(_("Set alert")), escape(_("What to watch"))
    direction = escape(_("Direction"))
    kinds = options(_("Instrument"), instrument_kinds()) + options(_("This portfolio"), portfolio_kinds())
    return f"""<form id="alert-form">
<h2>{title}</h2>
<select name="kind" aria-label="{kind}">
{kinds}
</select>
<input name="symbol" aria-label="{symbol}" placeholder="{symbol_hint}" list="alert-symbols" maxlength="32"
 autocomplete="off" spellcheck="false">
<datalist id="alert-symbols"></datalist>
<div class="limit">
<select name="direction" aria-label="{direction}">
<option value="above">{above}</option><option value="below">{below}</option>
</select>
<input name="threshold" class="number" type="number" step="any" required aria-label="{level}" placeholder="{level}">
<span class="unit number"></span>
</div>
<div class="ends"><label><input name="again" type="checkbox"> {each_time}</label><button>{submit}</button></div>
<p class="complaint" role="alert" hidden></p>
</form>"""


def options(group: str, kinds: dict[str, str]) -> str:
    """Return a group of choices."""
    choices = "".join(f'<option value="{kind}">{escape(label)}</option>' for kind, label in kinds.items())
    return f'<optgroup label="{escape(group)}">{choices}</optgroup>'


def instrument_kinds() -> dict[str, str]:
    """Return the names of what can be watched of an instrument; staleness is told apart by what is stale."""
    return {
        "price": _("Price"),
        "price_change_pct": _("Change of the day"),
        "stale_price": _("Time without a price"),
    }


def portfolio_kinds() -> dict[str, str]:
    """Return the names of what can be watched of a portfolio."""
    return {
        "total_equity": _("Total equity"),
        "day_pnl": _("Day P&L"),
        "day_pnl_pct": _("Day P&L in percent"),
        "stale_share": _("Share of stale prices"),
    }


def alert_messages() -> dict[str, str]:
    """Return the texts of alerts that the browser's own code shows."""
    kinds = instrument_kinds() | portfolio_kinds()
    return {f"kind_{kind}": label for kind, label in kinds.items()} | {
        "alert_above": _("{what} above {level}"),
        "alert_below": _("{what} below {level}"),
        "rule_armed": _("On"),
        "rule_tripped": _("Raised"),
        "rule_done": _("Done"),
        "rule_paused": _("Paused"),
        "rule_silenced": _("No access"),
        "rule_delete": _("Delete"),
        "no_rules": _("You have set no alert yet."),
        "no_alerts": _("Nothing has been raised yet."),
        "failed": _("This did not work. Please try again."),
    }
