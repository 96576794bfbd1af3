"""Round amounts to minor units in compiled code, by the rule of `analytics.rounding`."""

from __future__ import annotations

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
