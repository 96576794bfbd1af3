"""Convert between currencies through the dollar, as the market quotes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

REFERENCE = "USD"


class MissingRate(LookupError):
    """Say that there is no rate for a currency."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Hold how many units of one currency a unit of another is: now, and at the prior close."""

    now: float
    close: float


def dollar_values(quotes: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Return what one unit of each currency is worth in dollars.

    A quote is (base currency, quoted currency, units of the quoted for one of the base); those without the
    dollar on one side, and prices that are not positive, say nothing here.
    """
    values = {REFERENCE: 1.0}
    for base, quoted, price in quotes:
        if not price > 0:
            continue
        if quoted == REFERENCE:
            values[base] = price
        elif base == REFERENCE:
            values[quoted] = 1.0 / price
    return values


def conversion(values: Mapping[str, float], source: str, target: str) -> float:
    """Return how many units of `target` one of `source` is; raises `MissingRate`."""
    if source == target:
        return 1.0
    try:
        return values[source] / values[target]
    except KeyError as error:
        raise MissingRate(f"there is no rate for {error.args[0]}") from error
