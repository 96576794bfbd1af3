"""Round amounts to minor units, half-even, the same in binary and in decimal arithmetic.

A price of 157.575 times 101 is a tie in decimal and a hair beside it in binary. So an amount is first
rounded to a 16384th of the minor unit (a power of two: exact in both), then half-even to the unit: binary
noise, about 1e-7 of a unit, no longer decides.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import numpy.typing as npt
from numba import njit

from analytics.rounding import GRID


@njit(inline="always")
def round_minor(amount: float) -> float:
    """Round an amount already in minor units to a whole number of them."""
    return np.rint(np.rint(amount * GRID) / GRID)  # type: ignore[no-any-return]


def round_minor_columns(amounts: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Do to a column what `round_minor` does to one amount."""
    return np.rint(np.rint(amounts * GRID) / GRID).astype(np.int64)


def round_minor_exact(amount: Decimal) -> int:
    """Do in `Decimal` what `round_minor` does in float64."""
    grid = Decimal(int(GRID))
    snapped = (amount * grid).quantize(Decimal(1), ROUND_HALF_EVEN) / grid
    return int(snapped.quantize(Decimal(1), ROUND_HALF_EVEN))
