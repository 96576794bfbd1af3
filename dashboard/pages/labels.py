"""Name for people what the instruments carry as codes; countries and currencies the browser names itself."""

from __future__ import annotations

from dashboard.i18n import gettext as _


def asset_class_labels() -> dict[str, str]:
    """Return the names of the asset classes by code."""
    return {
        "equity": _("Equities"),
        "etf": _("ETFs"),
        "bond": _("Bonds"),
        "fund": _("Funds"),
        "crypto": _("Crypto-assets"),
        "cash": _("Cash"),
    }


def sector_labels() -> dict[str, str]:
    """Return the names of the sectors by what the instruments carry; one that is not here is shown as it stands."""
    return {
        "Communication Services": _("Communication Services"),
        "Consumer Discretionary": _("Consumer Discretionary"),
        "Consumer Staples": _("Consumer Staples"),
        "Energy": _("Energy"),
        "Financials": _("Financials"),
        "Health Care": _("Health Care"),
        "Industrials": _("Industrials"),
        "Information Technology": _("Information Technology"),
        "Materials": _("Materials"),
        "Real Estate": _("Real Estate"),
        "Utilities": _("Utilities"),
        "Government": _("Government"),
        "Corporate": _("Corporate"),
        "Diversified": _("Diversified"),
        "Digital Assets": _("Digital Assets"),
        "Cash": _("Cash"),
    }
