"""Make the bank's instruments and two years of their closes from the real history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from babel.numbers import get_currency_name

from alhambra.bank import catalogue
from alhambra.bank.history import DAYS, RealHistory, Series, business_days, read_history
from alhambra.bank.model import ExtraInstrument, Instrument

Array = npt.NDArray[np.float64]

YIELD_VOLATILITY = 0.0005  # of a day: five basis points
PULL_TO_PAR = 0.004  # of a day
SHARED_SHOCK = 0.8  # correlation of a bond's yield, or a crypto-asset's day, with the shock common to all of them
_SHIFTED = "dates shifted to today"


@dataclass(frozen=True, slots=True)
class Market:
    """Hold what can be traded: `closes` float64 [dates, instruments], `income` percent a year by symbol.

    Closes before a split are in old shares: nothing is adjusted for it.
    """

    dates: tuple[date, ...]
    instruments: tuple[Instrument, ...]
    closes: Array
    income: dict[str, float]

    def columns(self) -> dict[str, int]:
        """Return the column of each symbol in `closes`."""
        return {instrument.symbol: column for column, instrument in enumerate(self.instruments)}


class _Listing:
    """Collect instruments with their closes, numbered from 1 in the order they come."""

    def __init__(self) -> None:
        self.instruments: list[Instrument] = []
        self.closes: list[Array] = []
        self.income: dict[str, float] = {}

    def add(
        self,
        symbol: str,
        name: str,
        asset_class: str,
        sector: str,
        country: str,
        currency: str,
        closes: Array,
        source: str,
        *,
        income: float = 0.0,
        base_currency: str | None = None,
        price_factor: float = 1.0,
        tick_size: float = 0.01,
        exchange: str | None = None,
    ) -> None:
        """Add one; closes are rounded to the tick, and those before a split are put back into old shares."""
        if symbol in self.income:
            raise ValueError(f"the bank has an instrument {symbol} already")
        if symbol in catalogue.SPLITS:
            day, ratio = catalogue.SPLITS[symbol]
            closes = np.concatenate([np.round(closes[:day] * float(ratio), 2), closes[day:]])
            source += f"; an invented split, {ratio} new for 1 old, {DAYS - day} days before the end"
        self.instruments.append(
            Instrument(
                len(self.instruments) + 1,
                symbol,
                name,
                asset_class,
                sector,
                country,
                currency,
                base_currency,
                price_factor,
                tick_size,
                source,
                exchange,
            )
        )
        self.closes.append(closes)
        self.income[symbol] = income


def create_market(today: date, extra: Sequence[ExtraInstrument] = (), seed: int = 7) -> Market:
    """List the catalogue and `extra` with closes up to the last business day before `today`.

    Raises `ValueError` where an extra instrument has a symbol that is taken.
    """
    history = read_history()
    listing = _Listing()
    _add_real(listing, history)
    paths = {symbol: series.values for symbol, series in history.prices.items()}
    bonds = _bond_prices(paths["SP500"], seed)
    _add_bonds(listing, bonds)
    _add_baskets(listing, history, paths, bonds)
    _add_cash_and_rates(listing, history)
    _add_crypto_assets(listing, seed)
    for one in extra:
        _add_extra(listing, one)
    return Market(business_days(today), tuple(listing.instruments), np.column_stack(listing.closes), listing.income)


def _add_real(listing: _Listing, history: RealHistory) -> None:
    for symbol, name, sector, income, exchange in catalogue.rows(catalogue.EQUITIES):
        closes, source = _real(history.prices[symbol])
        listing.add(
            symbol, name, "equity", sector, "US", "USD", closes, source, income=float(income), exchange=exchange
        )
    for symbol, name, income in catalogue.rows(catalogue.FACTOR_ETFS):
        closes, source = _real(history.prices[symbol])
        listing.add(
            symbol,
            name,
            "etf",
            "Diversified",
            "US",
            "USD",
            closes,
            source,
            income=float(income),
            exchange=catalogue.FACTOR_ETF_EXCHANGE,
        )


def _real(series: Series) -> tuple[Array, str]:
    return np.round(series.values, 2), f"Real adjusted daily closes of {series.span} (skfolio), {_SHIFTED}"


def _add_bonds(listing: _Listing, prices: dict[str, Array]) -> None:
    source = (
        "Terms invented; prices from a model: yield shocks of 5 basis points a day scaled by the real S&P 500's "
        f"volatility, pulled to par; {_SHIFTED}"
    )
    for symbol, name, sector, country, currency, coupon, _duration, _first in catalogue.rows(catalogue.BONDS):
        closes = np.round(prices[symbol], 2)
        listing.add(
            symbol,
            name,
            "bond",
            sector,
            country,
            currency,
            closes,
            source,
            income=float(coupon),
            price_factor=0.01,
            exchange=catalogue.EXCHANGES.get(currency),
        )


def _bond_prices(index: Array, seed: int) -> dict[str, Array]:
    """Return prices in percent [days]: p grows by -duration x yield shock, and is pulled to 100.

    The shock of a day is normal, partly common to all bonds; its size follows the real volatility of the
    index over the twenty days before.
    """
    table = list(catalogue.rows(catalogue.BONDS))
    duration = np.array([float(row[6]) for row in table])
    random = np.random.default_rng([seed, 1])
    common = random.standard_normal((DAYS, 1))
    own = random.standard_normal((DAYS, len(table)))
    shock = YIELD_VOLATILITY * (SHARED_SHOCK * common + np.sqrt(1 - SHARED_SHOCK**2) * own)
    shock *= _relative_volatility(index)[:, None]
    prices = np.empty((DAYS, len(table)))
    prices[0] = [float(row[7]) for row in table]
    for day in range(1, DAYS):
        before = prices[day - 1]
        prices[day] = before * (1 - duration * shock[day]) + PULL_TO_PAR * (100 - before)
    return {row[0]: prices[:, place] for place, row in enumerate(table)}


def _relative_volatility(index: Array, window: int = 20) -> Array:
    """Return the mean absolute return of the last `window` days relative to its mean of all days, [days]."""
    moves = np.abs(np.diff(np.log(index), prepend=np.log(index[0])))
    sums = np.cumsum(np.concatenate([np.full(window, moves.mean()), moves]))
    recent = (sums[window:] - sums[:-window]) / window
    return np.asarray(recent / recent.mean(), np.float64)


def _add_baskets(listing: _Listing, history: RealHistory, paths: dict[str, Array], bonds: dict[str, Array]) -> None:
    currencies = {row[0]: row[4] for row in catalogue.rows(catalogue.BONDS)}
    dollars = {symbol: path * _in_dollars(history, currencies[symbol]) for symbol, path in bonds.items()}
    for symbol, name, asset_class, sector, country, currency, first, income, basket in catalogue.rows(
        catalogue.BASKETS
    ):
        weights = catalogue.parse_basket(basket)
        growth = _basket_growth(weights, paths | dollars) / _in_dollars(history, currency)
        closes = np.round(float(first) * growth / growth[0], 2)
        source = f"Invented; a basket, rebalanced daily, in percent: {basket}"
        if currency != "USD":
            source += f"; in {currency} at the real rates of {history.rates['EUR/USD'].span} (ECB)"
        listing.add(
            symbol,
            f"Alhambra {name}",
            asset_class,
            sector,
            country,
            currency,
            closes,
            f"{source}; real prices of {history.prices['SP500'].span} (skfolio); {_SHIFTED}",
            income=float(income),
            exchange=catalogue.EXCHANGES.get(currency),
        )


def _basket_growth(weights: dict[str, float], dollars: dict[str, Array]) -> Array:
    """Return what one dollar in a basket, rebalanced daily, grows to, [days]."""
    returns = sum(weight * (dollars[symbol][1:] / dollars[symbol][:-1] - 1) for symbol, weight in weights.items())
    return np.concatenate([[1.0], np.cumprod(1.0 + np.asarray(returns, np.float64))])


def _in_dollars(history: RealHistory, currency: str) -> Array:
    """Return US dollars for one unit of a currency, [days]."""
    if currency == "USD":
        return np.ones(DAYS)
    direct = history.rates.get(f"{currency}/USD")
    return direct.values if direct is not None else 1.0 / history.rates[f"USD/{currency}"].values


def _add_cash_and_rates(listing: _Listing, history: RealHistory) -> None:
    for symbol, name, country in catalogue.rows(catalogue.CASH):
        listing.add(symbol, name, "cash", "Cash", country, symbol, np.ones(DAYS), "Cash is always worth 1")
    for symbol, name, country, tick in catalogue.rows(catalogue.RATES):
        series = history.rates[symbol]
        source = f"Real reference rates of {series.span} (ECB), {_SHIFTED}"
        if symbol == "USD/AED":
            source = "The dirham is pegged to the dollar: 3.6725 on every day"
        base, currency = symbol.split("/")
        listing.add(
            symbol,
            name,
            "fx",
            "Currency",
            country,
            currency,
            series.values,
            source,
            base_currency=base,
            tick_size=float(tick),
            exchange=catalogue.FX_EXCHANGE,
        )
    series = history.prices["SP500"]
    source = f"Real levels of {series.span} (skfolio), {_SHIFTED}"
    levels = np.round(series.values, 2)
    listing.add("SP500", "S&P 500", "index", "Index", "US", "USD", levels, source, exchange=catalogue.EXCHANGES["USD"])


def _add_crypto_assets(listing: _Listing, seed: int) -> None:
    for (symbol, name, first, last, deviation), path in _walks(seed):
        listing.add(
            symbol,
            name,
            "crypto",
            "Digital Assets",
            catalogue.NO_COUNTRY,
            "USD",
            np.round(path, 2),
            f"Invented: a walk of {deviation} percent a day from {first} to {last} dollars",
            exchange=catalogue.CRYPTO_EXCHANGE,
        )


def _walks(seed: int) -> Iterator[tuple[list[str], Array]]:
    """Yield the row of each crypto-asset and its prices [days]: a walk between two prices, much of it common to all."""
    table = list(catalogue.rows(catalogue.CRYPTO_ASSETS))
    random = np.random.default_rng([seed, 3])
    common = random.standard_normal((DAYS - 1, 1))
    own = random.standard_normal((DAYS - 1, len(table)))
    shock = SHARED_SHOCK * common + np.sqrt(1 - SHARED_SHOCK**2) * own
    for place, row in enumerate(table):
        first, last, deviation = (float(cell) for cell in row[2:])
        walk = np.concatenate([[0.0], np.cumsum(shock[:, place])]) * deviation / 100
        walk += np.linspace(0.0, np.log(last / first) - walk[-1], DAYS)  # so that it ends where it is to end
        yield row, first * np.exp(walk)


def _add_extra(listing: _Listing, extra: ExtraInstrument) -> None:
    if extra.asset_class not in ("fx", "index") and extra.currency not in listing.income:
        name = get_currency_name(extra.currency, locale="en")
        source = "Cash is always worth 1"
        listing.add(extra.currency, name, "cash", "Cash", "US", extra.currency, np.ones(DAYS), source)
    listing.add(
        extra.symbol,
        extra.symbol,
        extra.asset_class,
        "Currency" if extra.asset_class == "fx" else "Unclassified",
        "US",
        extra.currency,
        np.full(DAYS, extra.first_price),
        "Given for a replay: one price on every day",
        base_currency=extra.base_currency,
        tick_size=1e-6,
    )
