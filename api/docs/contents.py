"""Describe what the streams hold: the totals and rows of each kind, with units, as types that make schemas.

Nothing is encoded through these types, because that costs time where it matters; a test holds every message of real
sessions against the schemas made from them. Which fields there are follows from the code that sends them: one that is
new appears by itself, without type or sentence, until somebody has described it, which a test demands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.live.fields import FIELDS
from stream.messages import Valuation, ValuationRow

BASE, REFERENCE, OWN = "base currency", "reference currency", "instrument's currency"
PERCENT, FRACTION, NS = "percent", "fraction", "ns since 1970"

Texts = Mapping[str, tuple[str, str]]  # by field: what it is, and its unit
Types = Mapping[str, Any]

_TEXT_OR_NULL: Any = str | None
_ANNOTATED: Any = Annotated  # for types that only the running program knows


def told(text: str, unit: str = "") -> Meta:
    """Return what stands beside a type: a sentence, and its unit where it has one."""
    return Meta(description=text, extra_json_schema={"x-unit": unit} if unit else None)


def content(name: str, text: str, order: Iterable[str], types: Types, texts: Texts, key: str | None = None) -> Any:
    """Make the type of a stream's totals or rows, of these fields and no other.

    Only `key` is always there: a delta leaves out what has not changed, and a client what it did not ask for.
    """
    members: list[Any] = []
    for field in order:
        kind, beside = types.get(field, Any), told(*texts.get(field, ("",)))
        if field == key:
            members.append((field, _ANNOTATED[kind, beside]))
        else:
            members.append((field, _ANNOTATED[kind | UnsetType, beside], UNSET))
    made = msgspec.defstruct(name, members, module=__name__, kw_only=True, frozen=True, forbid_unknown_fields=True)
    made.__doc__ = text
    return made


class ClientPortfolio(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One of a client's portfolios."""

    portfolio_id: Annotated[str, told("The portfolio.")]
    name: Annotated[str, told("Its name.")]
    base_currency: Annotated[str, told("Its currency, ISO 4217.")]
    total_equity: Annotated[float, told("Everything in it.", BASE)]
    day_pnl: Annotated[float, told("Profit of the day so far.", BASE)]
    day_pnl_pct: Annotated[float, told("The same, of total equity less day P&L.", PERCENT)]


class Standing(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A portfolio that stands out, by percent."""

    portfolio_id: Annotated[str, told("The portfolio.")]
    client: Annotated[str, told("Whose it is.")]
    name: Annotated[str, told("Its name.")]
    day_pnl_pct: Annotated[float, told("Profit of the day so far.", PERCENT)]


class Mover(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A portfolio that moves the floor."""

    portfolio_id: Annotated[str, told("The portfolio.")]
    client: Annotated[str, told("Whose it is.")]
    name: Annotated[str, told("Its name.")]
    day_pnl_reference: Annotated[float, told("Profit of the day so far.", REFERENCE)]


_BEST_OR_NULL: Any = Standing | None
_SUM: Texts = {
    "total_equity": ("Everything: market value and cash. The rows add up to it.", BASE),
    "day_pnl": ("Profit of the day so far. The rows add up to it.", BASE),
    "day_pnl_pct": ("The same, of total equity less day P&L.", PERCENT),
    "stale_share": ("How much of the gross value has a stale price.", FRACTION),
    "computed_ns": ("When it was computed.", NS),
}
_PORTFOLIO: Texts = {
    **_SUM,
    "name": ("Name of the portfolio.", ""),
    "base_currency": ("Currency of the amounts, ISO 4217.", ""),
    "cash": ("Money on its accounts.", BASE),
    "buying_power": ("What can be spent now.", BASE),
    "market_value": ("Value of everything but cash.", BASE),
    "day_pnl_price": ("The part of day P&L that prices made, at the rates of the prior close.", BASE),
    "day_pnl_currency": ("The part that rates of exchange made.", BASE),
    "unrealised_pnl": ("Value less cost. The rows add up to it.", BASE),
    "realised_pnl_today": ("Profit taken today.", BASE),
    "oldest_price_ns": ("Time of the oldest price used; 0 where only cash is held.", NS),
    "allocation": ("By asset_class, sector, country and currency: amounts by name; each adds up to equity.", BASE),
}
_HOLDING: Texts = {
    "instrument": ("Number of the instrument.", ""),
    "symbol": ("Symbol; the key of the row. Cash has the code of its currency.", ""),
    "quantity": ("How many; negative where short.", ""),
    "price": ("Newest price.", OWN),
    "value": ("What the position is worth.", BASE),
    "value_local": ("The same.", OWN),
    "day_pnl": ("Profit of the day so far.", BASE),
    "day_pnl_pct": ("The same, of the value at the prior close and what was bought since.", PERCENT),
    "unrealised_pnl": ("Value less cost.", BASE),
    "cost_basis": ("What the position cost.", OWN),
    "weight": ("Share of total equity.", FRACTION),
    "price_ns": ("Time of the price; 0 for cash.", NS),
    "stale": ("Whether `state` is `stale`.", ""),
    "prior_close": ("Price at the prior close, in the shares of now: divided by the splits since.", OWN),
    "day_pnl_price": ("The part of day P&L that the price made.", BASE),
    "contribution": ("What the position adds to the portfolio's `day_pnl_pct`.", PERCENT),
    "state": ("Of the price: `live`; `close`: its market has shut since; `stale`: its market is open, it is old.", ""),
    "name": ("Name of the instrument.", ""),
    "asset_class": ("Asset class; null where the instrument is unknown, as the next three.", ""),
    "sector": ("Sector.", ""),
    "country": ("Country, ISO 3166.", ""),
    "currency": ("Currency it trades in, ISO 4217.", ""),
}
_CLIENT: Texts = {
    **_PORTFOLIO,
    "name": ("Name of the client.", ""),
    "base_currency": ("Currency of the amounts, that of the first portfolio, ISO 4217.", ""),
    "portfolios": ("The portfolios, the first first; amounts in the base currency of each.", ""),
}
_QUOTE: Texts = {
    "symbol": ("Symbol of the instrument.", ""),
    "name": ("Name of the instrument.", ""),
    "currency": ("Currency it trades in, ISO 4217.", ""),
    "price": ("Newest price.", OWN),
    "prior_close": ("Price at the prior close, in the shares of now; 0 where none is known.", OWN),
    "change": ("Price less prior close.", OWN),
    "change_pct": ("The same, of the prior close.", PERCENT),
    "price_ns": ("Time of the price; 0 where nobody has quoted it yet, and it is the newest close.", NS),
    "source": ("Where the price comes from: a feed, or `close`.", ""),
}
_QUOTE_TYPES: Types = {
    **dict.fromkeys(("symbol", "name", "source"), str),
    **dict.fromkeys(("price", "prior_close", "change", "change_pct"), float),
    "currency": _TEXT_OR_NULL,
    "price_ns": int,
}
_FLOOR: Texts = {
    "reference_currency": ("Currency of the amounts, ISO 4217.", ""),
    "total_equity": ("Equity of all portfolios. The rows' `equity_reference` add up to it.", REFERENCE),
    "day_pnl": ("Profit of the day so far. The rows' `day_pnl_reference` add up to it.", REFERENCE),
    "day_pnl_pct": ("The same, of total equity less day P&L.", PERCENT),
    "portfolios": ("How many portfolios stand on the floor.", ""),
    "stale_share": ("How much of the equity has a stale price.", FRACTION),
    "computed_ns": ("When the oldest of the workers' sums was computed.", NS),
    "gainers": ("How many portfolios have gained today.", ""),
    "losers": ("How many have lost.", ""),
    "gained": ("What the gainers have gained.", REFERENCE),
    "lost": ("What the losers have lost, negative.", REFERENCE),
    "best": ("The portfolio that has gained most, in percent; null on an empty floor.", ""),
    "worst": ("The portfolio that has lost most, in percent; null on an empty floor.", ""),
    "movers": ("The portfolios that move the floor most, the strongest first.", ""),
    "view_rows": ("With a view: how many rows match its filter.", ""),
    "view_first": ("With a view: the place of the first row of the window.", ""),
    "view_order": ("With a view: the keys of the window's rows, in order.", ""),
}
_FLOOR_TYPES: Types = {
    **dict.fromkeys(("total_equity", "day_pnl", "day_pnl_pct", "stale_share", "gained", "lost"), float),
    **dict.fromkeys(("portfolios", "gainers", "losers", "computed_ns", "view_rows", "view_first"), int),
    **dict.fromkeys(("best", "worst"), _BEST_OR_NULL),
    "reference_currency": str,
    "movers": list[Mover],
    "view_order": list[str],
}
_BOOK: Texts = {
    "portfolio_id": ("The portfolio; the key of the row.", ""),
    "name": ("Name of the portfolio.", ""),
    "client": ("Whose it is.", ""),
    "base_currency": ("Its currency, ISO 4217.", ""),
    "total_equity": ("Everything in it: market value and cash.", BASE),
    "day_pnl": ("Profit of the day so far.", BASE),
    "day_pnl_pct": ("The same, of total equity less day P&L.", PERCENT),
    "equity_reference": ("Total equity.", REFERENCE),
    "day_pnl_reference": ("Profit of the day so far.", REFERENCE),
    "stale_share": ("How much of the gross value has a stale price.", FRACTION),
}
_BOOK_TYPES: Types = {
    **dict.fromkeys(("portfolio_id", "name", "client", "base_currency"), str),
    **dict.fromkeys(
        ("total_equity", "day_pnl", "day_pnl_pct", "equity_reference", "day_pnl_reference", "stale_share"), float
    ),
}
_HOLDING_TYPES: Types = {
    **get_type_hints(ValuationRow),
    "name": str,
    **dict.fromkeys(("asset_class", "sector", "country", "currency"), _TEXT_OR_NULL),
}
_PORTFOLIO_TYPES: Types = {**get_type_hints(Valuation), "name": str, "portfolios": list[ClientPortfolio]}

PortfolioTotals = content(
    "PortfolioTotals", "Totals of a portfolio.", FIELDS["portfolio"][0], _PORTFOLIO_TYPES, _PORTFOLIO
)
PortfolioRow = content("PortfolioRow", "A position.", FIELDS["portfolio"][1], _HOLDING_TYPES, _HOLDING, "symbol")
ClientTotals = content("ClientTotals", "Totals of a client.", FIELDS["client"][0], _PORTFOLIO_TYPES, _CLIENT)
ClientRow = content("ClientRow", "A position.", FIELDS["client"][1], _HOLDING_TYPES, _HOLDING, "symbol")
FloorTotals = content("FloorTotals", "Totals of a floor.", FIELDS["floor"][0], _FLOOR_TYPES, _FLOOR)
FloorRow = content("FloorRow", "A portfolio on a floor.", FIELDS["floor"][1], _BOOK_TYPES, _BOOK, "portfolio_id")
QuoteTotals = content("QuoteTotals", "A quote.", FIELDS["quote"][0], _QUOTE_TYPES, _QUOTE)
