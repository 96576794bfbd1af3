"""Give the closes and rates of a day as `Decimal`, as bookings need them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from alhambra.bank.market import Market
from alhambra.bank.model import Instrument

Array = npt.NDArray[np.float64]

RATE_STEP = Decimal("0.00000001")


def dollar_rates(instruments: Sequence[Instrument], closes: Array) -> dict[str, Array]:
    """Return US dollars for one unit of each currency that has a rate against the dollar, [dates]."""
    rates: dict[str, Array] = {"USD": np.ones(len(closes))}
    for column, instrument in enumerate(instruments):
        if instrument.base_currency is not None and instrument.currency == "USD":
            rates[instrument.base_currency] = closes[:, column]
        elif instrument.base_currency == "USD":
            rates[instrument.currency] = 1.0 / closes[:, column]
    return rates


class DayPrices:
    """Answer prices and rates by the index of the day; a day after the last has those of the last close."""

    def __init__(self, market: Market) -> None:
        self._columns = market.columns()
        self._closes = market.closes
        self._dollars = dollar_rates(market.instruments, market.closes)
        self._last = len(market.dates) - 1
        self._prices: dict[tuple[str, int], Decimal] = {}
        self._rates: dict[tuple[str, str, int], Decimal] = {}

    def price(self, symbol: str, day: int) -> Decimal:
        """Return the close of a symbol, exactly as it is in the history."""
        key = (symbol, min(day, self._last))
        found = self._prices.get(key)
        if found is None:
            found = self._prices[key] = Decimal(repr(float(self._closes[key[1], self._columns[symbol]])))
        return found

    def rate(self, currency: str, base: str, day: int) -> Decimal:
        """Return units of `base` for one unit of `currency`, to eight places.

        Raises `ValueError` where a currency has no rate against the dollar.
        """
        key = (currency, base, min(day, self._last))
        found = self._rates.get(key)
        if found is None:
            found = self._rates[key] = self._cross(*key)
        return found

    def _cross(self, currency: str, base: str, day: int) -> Decimal:
        if currency == base:
            return Decimal(1)
        for code in (currency, base):
            if code not in self._dollars:
                raise ValueError(f"the bank has no rate of {code} against USD")
        ratio = self._dollars[currency][day] / self._dollars[base][day]
        return Decimal(repr(float(ratio))).quantize(RATE_STEP)
