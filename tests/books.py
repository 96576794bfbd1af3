"""Make small books of positions and prices for the tests of the stream."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from analytics.revaluation import Rates, Terms, create_inputs
from stream.messages import PortfolioPositions, Position, QuoteBatch
from stream.prices import InstrumentSpec, PriceTable

MINOR_UNITS = {"USD": 2, "EUR": 2, "GBP": 2, "CHF": 2, "AED": 2, "JPY": 0}
CLOSE_NS = 1_000_000_000
NOW_NS = 2_000_000_000_000

SPECS = [
    InstrumentSpec(1, "USD", "US dollar", "cash", "Cash", "US", "USD", None, 1.0, 1.0, 0),
    InstrumentSpec(2, "EUR", "Euro", "cash", "Cash", "DE", "EUR", None, 1.0, 1.0, 0),
    InstrumentSpec(3, "AAPL", "Apple", "equity", "Technology", "US", "USD", None, 1.0, 150.0, CLOSE_NS),
    InstrumentSpec(4, "XOM", "Exxon Mobil", "equity", "Energy", "US", "USD", None, 1.0, 110.5, CLOSE_NS),
    InstrumentSpec(5, "EURBOND", "Euro bond", "bond", "Government", "DE", "EUR", None, 0.01, 98.75, CLOSE_NS),
    InstrumentSpec(7, "EUR/USD", "Euro", "fx", "Currency", "DE", "USD", "EUR", 1.0, 1.1, CLOSE_NS),
    InstrumentSpec(8, "GBP/USD", "Sterling", "fx", "Currency", "GB", "USD", "GBP", 1.0, 1.3, CLOSE_NS),
    InstrumentSpec(9, "USD/CHF", "Franc", "fx", "Currency", "CH", "CHF", "USD", 1.0, 0.88, CLOSE_NS),
    InstrumentSpec(10, "USD/AED", "Dirham", "fx", "Currency", "AE", "AED", "USD", 1.0, 3.6725, CLOSE_NS),
    InstrumentSpec(11, "USD/JPY", "Yen", "fx", "Currency", "JP", "JPY", "USD", 1.0, 151.25, CLOSE_NS),
    InstrumentSpec(12, "NESN", "Swiss shares", "equity", "Food", "CH", "CHF", None, 1.0, 90.1, CLOSE_NS),
]


def create_prices() -> PriceTable:
    """Return a table of the sample instruments at their prior closes."""
    return PriceTable(MINOR_UNITS, SPECS)


def positions(portfolio: str, base: str, version: int, *lines: tuple[int, str, str]) -> PortfolioPositions:
    """Return positions from (instrument, quantity, cost in base); the whole quantity was there at the close."""
    return PortfolioPositions(
        portfolio,
        version,
        base,
        tuple(
            Position(instrument, Decimal(quantity), Decimal(cost), Decimal(cost), Decimal(quantity), Decimal(0))
            for instrument, quantity, cost in lines
        ),
        NOW_NS,
        NOW_NS,
    )


def quotes(*marks: tuple[int, float], event_ns: int = NOW_NS) -> QuoteBatch:
    """Return a batch of trades (instrument, last) at one time."""
    size = len(marks)
    absent = np.full(size, np.nan)
    return QuoteBatch(
        "test",
        event_ns,
        np.array([identity for identity, _ in marks], np.uint32),
        absent,
        absent,
        np.array([price for _, price in marks], np.float64),
        absent,
        np.full(size, event_ns, np.int64),
    )


def batch_inputs(prices: PriceTable) -> tuple[dict[int, Terms], Rates]:
    """Read the marks of a table as the `Decimal` inputs of a batch recomputation."""
    marks = {
        spec.id: Decimal(float(mark))
        for spec, mark in zip(prices.specs, prices.mark, strict=True)
        if not np.isnan(mark)
    }
    return create_inputs(prices.specs, marks, MINOR_UNITS)
