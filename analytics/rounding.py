"""Round amounts to minor units, half-even, the same in binary and in decimal arithmetic.

A price of 157.575 times 101 is a tie in decimal and a hair beside it in binary. So an amount is first
rounded to a 16384th of the minor unit (a power of two: exact in both), then half-even to the unit: binary
noise, about 1e-7 of a unit, no longer decides.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

GRID = 16384.0


def to_minor(amount: float) -> int:
    """Round an amount already in minor units to a whole number of them."""
    return round(round(amount * GRID) / GRID)


def to_minor_exact(amount: Decimal) -> int:
    """Do in `Decimal` what `to_minor` does in float64."""
    grid = Decimal(int(GRID))
    snapped = (amount * grid).quantize(Decimal(1), ROUND_HALF_EVEN) / grid
    return int(snapped.quantize(Decimal(1), ROUND_HALF_EVEN))
