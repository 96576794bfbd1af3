"""Translate combined portfolios into the shapes of the REST contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from analytics.returns import PeriodReturn, percent_of_opening
from api.portfolio.combine import Combined, Holding, allocation
from api.portfolio.reader import Shown
from db.instruments import Instrument

Shape = dict[str, Any]
ALLOCATION_NAMES = {
    "asset_class": "assetClass",
    "sector": "sector",
    "country": "country",
    "currency": "currency",
}


def overview_shape(
    combined: Combined,
    portfolios: Sequence[Shape],
    performance: Mapping[str, PeriodReturn | None],
    instruments: Mapping[str, Instrument],
    now_ns: int,
) -> Shape:
    """Return `/portfolio/overview`; percentages and returns are in percent."""
    return {
        **head_shape(combined),
        "totalEquity": combined.amount(combined.total_equity),
        "dayPL": combined.amount(combined.day_pnl),
        "dayPLPercent": percent_of_opening(combined.day_pnl, combined.total_equity),
        "cashBalance": combined.amount(combined.cash),
        "buyingPower": combined.amount(combined.buying_power),
        "unrealisedPL": combined.amount(combined.unrealised_pnl),
        "realisedPLToday": combined.amount(combined.realised_pnl_today),
        "staleShare": combined.stale_share,
        "oldestPriceAgeMs": _age_ms(combined.oldest_price_ns, now_ns),
        "holdings": holdings_shape(combined, instruments, now_ns),
        "performance": {name: period_shape(found, combined.minor_units) for name, found in performance.items()},
        "portfolios": list(portfolios),
    }


def holdings_shape(combined: Combined, instruments: Mapping[str, Instrument], now_ns: int) -> list[Shape]:
    """Return `/portfolio/holdings`: `price`, `valueLocal` and `costBasis` in the instrument's own currency."""
    return [_holding_shape(one, combined, instruments.get(one.symbol), now_ns) for one in combined.holdings]


def allocation_shape(combined: Combined, instruments: Mapping[str, Instrument]) -> Shape:
    """Return `/portfolio/allocation`: of each dimension the parts, which add up to `totalEquity`."""
    equity = combined.total_equity
    dimensions = {
        ALLOCATION_NAMES[dimension]: [
            {"name": name, "value": combined.amount(value), "weight": value / equity if equity else 0.0}
            for name, value in parts.items()
        ]
        for dimension, parts in allocation(combined, instruments).items()
    }
    return {**head_shape(combined), "totalEquity": combined.amount(equity), **dimensions}


def head_shape(combined: Combined) -> Shape:
    """Return in which currency, as of when and at which position of the stream the numbers are."""
    as_of = datetime.fromtimestamp(combined.event_ns / 1e9, UTC)
    return {
        "baseCurrency": combined.currency,
        "asOf": as_of.isoformat(timespec="milliseconds"),
        "epoch": combined.epoch,
        "seq": combined.seq,
    }


def past_shape(shown: Shown | None) -> Shape:
    """Return whether what was stored equals its recomputation, and where it does not; nothing of the present."""
    if shown is None:
        return {}
    return {
        "matches": not shown.differences,
        "differences": [
            {
                "portfolioId": str(one.portfolio_id),
                "field": one.field,
                "stored": one.stored,
                "recomputed": one.recomputed,
            }
            for one in shown.differences
        ],
    }


def period_shape(found: PeriodReturn | None, minor_units: int) -> Shape | None:
    """Return what a period brought, or None where the history is shorter."""
    if found is None:
        return None
    return {"return": 100.0 * found.fraction, "value": round(found.gain, minor_units)}


def _holding_shape(one: Holding, combined: Combined, instrument: Instrument | None, now_ns: int) -> Shape:
    equity = combined.total_equity
    return {
        "symbol": one.symbol,
        "name": instrument.name if instrument else one.symbol,
        "shares": one.quantity,
        "price": one.price,
        "value": combined.amount(one.value),
        "dayPL": combined.amount(one.day_pnl),
        "dayPLPercent": percent_of_opening(one.day_pnl, one.value),
        "assetClass": instrument.asset_class if instrument else None,
        "sector": instrument.sector if instrument else None,
        "country": instrument.country if instrument else None,
        "currency": instrument.currency if instrument else None,
        "valueLocal": one.value_local,
        "weight": one.value / equity if equity else 0.0,
        "costBasis": one.cost_basis,
        "unrealisedPL": combined.amount(one.unrealised_pnl),
        "priceAgeMs": _age_ms(one.price_ns, now_ns),
        "stale": one.stale,
        "priceState": one.state,
        "contribution": combined.contribution(one),
    }


def _age_ms(event_ns: int, now_ns: int) -> int | None:
    return max(0, now_ns - event_ns) // 1_000_000 if event_ns else None
