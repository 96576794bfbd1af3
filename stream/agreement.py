"""Compare a live valuation with its recomputation from nothing."""

from __future__ import annotations

from analytics.revaluation import BatchValuation
from stream.messages import Valuation


def largest_difference(live: Valuation, batch: BatchValuation, minor_units: int) -> float:
    """Return the largest difference of any total, relative to the portfolio's equity (at least one minor unit)."""
    scale, totals = 10**minor_units, batch.totals
    pairs = (
        (live.total_equity, totals.value),
        (live.cash, totals.cash),
        (live.day_pnl, totals.day_pnl),
        (live.day_pnl_price, totals.day_pnl_price),
        (live.unrealised_pnl, totals.unrealised_pnl),
        (live.realised_pnl_today, totals.realised_today),
    )
    size = max(abs(totals.value), 1)
    return max(float(abs(round(streamed * scale) - recomputed)) / size for streamed, recomputed in pairs)
