"""Say how the figures of several portfolios make the one that is shown of them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analytics.returns import percent_of_opening
from api.portfolio.combine import Combined, Holding, allocation
from api.portfolio.provenance import ALSO_CALLED, Wanted
from api.portfolio.rates import conversion
from api.portfolio.reader import Present
from db.instruments import Instrument

Shape = dict[str, Any]
AMOUNTS = (
    "Each holding's amounts are converted at the rate now, added over the portfolios and rounded once, half-even; "
    "a total is the sum of those rounded rows."
)
DAY = (
    "Each holding's day P&L is converted at the rate now, and what the move of the rate since the prior close made of "
    "the rest of its value is added; the sums are rounded once, half-even."
)
NOT_SHOWN = "This figure is not shown of several portfolios together; name one by portfolioId."
MONEY = ("total_equity", "cash", "buying_power", "day_pnl", "unrealised_pnl")
OF_HOLDING = ("value", "day_pnl", "unrealised_pnl")


def together_shape(wanted: Wanted, present: Present, instruments: Mapping[str, Instrument]) -> Shape:
    """Return the figure of all portfolios together as it is shown, and how it is made; null where none is."""
    combined = present.combined
    shown = shown_together(wanted, combined, instruments)
    field = ALSO_CALLED.get(wanted.field, wanted.field)
    made = DAY if field.startswith("day_pnl") else AMOUNTS
    return {
        "shown": shown,
        "currency": combined.currency,
        "words": NOT_SHOWN if shown is None else made,
        "rates": {
            one.base_currency: conversion(present.dollar_values, one.base_currency, combined.currency)
            for one in present.valuations
        },
    }


def shown_together(wanted: Wanted, combined: Combined, instruments: Mapping[str, Instrument]) -> float | None:
    """Return what `/overview`, `/holdings` and `/allocation` show of a figure, or None where they do not."""
    field = ALSO_CALLED.get(wanted.field, wanted.field)
    if wanted.symbol is not None:
        holding = next(one for one in combined.holdings if one.symbol == wanted.symbol)
        return _of_holding(field, holding, combined)
    if field in MONEY:
        return combined.amount(getattr(combined, field))
    if field == "day_pnl_pct":
        return percent_of_opening(combined.day_pnl, combined.total_equity)
    if field.startswith("allocation."):
        _, dimension, part = field.split(".", 2)
        return combined.amount(allocation(combined, instruments)[dimension].get(part, 0))
    return None


def _of_holding(field: str, holding: Holding, combined: Combined) -> float | None:
    if field in OF_HOLDING:
        return combined.amount(getattr(holding, field))
    if field in ("quantity", "price", "value_local", "cost_basis"):
        return float(getattr(holding, field))
    if field == "day_pnl_pct":
        return percent_of_opening(holding.day_pnl, holding.value)
    if field == "weight":
        return holding.value / combined.total_equity if combined.total_equity else 0.0
    return None
