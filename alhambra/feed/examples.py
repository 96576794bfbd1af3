"""Name instruments that venues are asked for where nobody says which, and no bank is at hand."""

from __future__ import annotations

from db.instruments import Instrument
from ingest.market.symbols import Mapped, SymbolMap
from ingest.venues.venue import PolledVenue, StreamVenue

_WELL_KNOWN = (
    ("BTC/USD", "crypto", None, "24/7"),
    ("ETH/USD", "crypto", None, "24/7"),
    ("AAPL", "equity", "US0378331005", "XNAS"),
    ("MSFT", "equity", "US5949181045", "XNAS"),
    ("EUR/USD", "fx", None, "24/5"),
    ("GBP/USD", "fx", None, "24/5"),
)
EXAMPLES = tuple(
    Instrument(number, symbol, isin, symbol, asset_class, "none", "US", "USD", None, 1.0, 0.01, "", exchange)
    for number, (symbol, asset_class, isin, exchange) in enumerate(_WELL_KNOWN, start=1)
)


def example_symbols(venue: StreamVenue | PolledVenue) -> SymbolMap:
    """Return what a venue calls the best known of what it quotes."""
    named = ((venue.venue_symbol(one), one) for one in EXAMPLES)
    return SymbolMap({symbol: Mapped(one) for symbol, one in named if symbol is not None})


def map_anything(symbols: tuple[str, ...]) -> SymbolMap:
    """Return symbols of a venue as they are, each for an instrument that stands for nothing but itself."""
    return SymbolMap(
        {
            symbol: Mapped(Instrument(number, symbol, None, symbol, "", "none", "US", "USD", None, 1.0, 0.01, "", None))
            for number, symbol in enumerate(symbols, start=1)
        }
    )
