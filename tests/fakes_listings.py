"""Instruments as venues see them: just enough to be named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listing:
    """Hold what a venue must know of an instrument."""

    symbol: str
    asset_class: str = "equity"
    currency: str = "USD"
    exchange: str | None = "XNYS"
