"""Know by which dimensions a portfolio is allocated, and in which column of the sums each instrument counts.

The four dimensions are kept as two pairs, (asset class, sector) and (country, currency): a position then adds to
two columns and not to four, and the dimensions are sums of columns. In whole minor units that is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream.prices import InstrumentSpec

DIMENSIONS = ("asset_class", "sector", "country", "currency")
LINE = 8  # float64 in a cache line: rows of sums are padded to whole ones


class Dimensions:
    """Give each pair a column. `codes` is uint32 by instrument: column of the first pair, that of the second << 16."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str, str], int] = {}
        self.codes: npt.NDArray[np.uint32] = np.empty(0, np.uint32)

    @property
    def width(self) -> int:
        """Return how many columns a row of sums has."""
        return max(-(-len(self._columns) // LINE), 1) * LINE

    def learn(self, specs: Sequence[InstrumentSpec]) -> None:
        """Give columns to the instruments that are new; those of the others stay."""
        fresh = [
            self._column("class", spec.asset_class, spec.sector)
            | self._column("place", spec.country, spec.currency) << 16
            for spec in specs[len(self.codes) :]
        ]
        self.codes = np.concatenate([self.codes, np.array(fresh, np.uint32)])

    def cash_columns(self) -> list[int]:
        """Return the columns whose sum is the cash."""
        return [column for (kind, name, _), column in self._columns.items() if (kind, name) == ("class", "cash")]

    def describe(self, sums: npt.NDArray[np.float64], scale: float) -> dict[str, dict[str, float]]:
        """Return one row of sums (float64 [width], minor units) by dimension, in units of the currency."""
        found: dict[str, dict[str, float]] = {name: defaultdict(float) for name in DIMENSIONS}
        values = sums.tolist()
        for (kind, first, second), column in self._columns.items():
            if values[column]:
                names = DIMENSIONS[:2] if kind == "class" else DIMENSIONS[2:]
                found[names[0]][first] += values[column]
                found[names[1]][second] += values[column]
        return {name: {key: value / scale for key, value in parts.items()} for name, parts in found.items()}

    def _column(self, kind: str, first: str, second: str) -> int:
        return self._columns.setdefault((kind, first, second), len(self._columns))
