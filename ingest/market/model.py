"""Estimate from daily closes how prices move together: the model behind the simulated feed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

TRADING_DAY_S = 6.5 * 3600
WHOLE_DAY_S = 24 * 3600  # over which a day's variance comes of what is traded round the clock, every day
MIN_RETURNS = 20
DEFAULT_DAILY_VOLATILITY = 0.01
MAX_DAILY_VOLATILITY = 0.10
PEGGED_DAILY_VOLATILITY = 5e-5  # a rate that moves less than half a basis point a day is held by a central bank
PEG_NOISE = 1e-5  # stationary deviation of a pegged rate, relative
PEG_RETURN_S = 60.0
SHRINKAGE = 0.01  # funds that are baskets of others make the correlation singular: a hundredth of identity mends it

_HALF_SPREAD_BP = {"fx": 0.2, "index": 0.0, "equity": 0.5, "etf": 0.5, "fund": 1.0, "bond": 1.5, "crypto": 1.0}
_LIQUIDITY = {"fx": 4.0, "crypto": 4.0, "etf": 3.0, "equity": 3.0, "index": 3.0}

Floats = npt.NDArray[np.float64]


class Quoted(Protocol):
    """Say what the model must know of an instrument."""

    @property
    def id(self) -> int:
        """Return its number on the wire."""
        ...

    @property
    def asset_class(self) -> str:
        """Return equity, etf, bond, fund, cash, fx, index or crypto."""
        ...

    @property
    def tick_size(self) -> float:
        """Return the smallest step of its price."""
        ...


@dataclass(frozen=True, slots=True)
class MarketModel:
    """Hold, for n instruments in one order, where prices start and how they move; arrays of length n.

    `volatility` is per square root of a second, `reversion` per second (zero but for pegged rates),
    `factor` [n, k] and `own` [n] make their correlation, factor · factorᵀ + own². `half_spread` is relative to
    the price; `one_sided` marks levels that have no bid and ask. `liquidity` sums to one.
    """

    instrument: npt.NDArray[np.uint32]
    start: Floats
    volatility: Floats
    reversion: Floats
    factor: Floats
    own: Floats
    half_spread: Floats
    one_sided: npt.NDArray[np.bool_]
    tick_size: Floats
    liquidity: Floats

    def __len__(self) -> int:
        return len(self.instrument)


def create_model(closes: Floats, instruments: Sequence[Quoted], starts: Mapping[int, float]) -> MarketModel:
    """Estimate the model from `closes` [days, instruments] (NaN where absent), columns as `instruments`.

    `starts` (id → price) wins over the newest close. Cash, and what has neither, is not quoted. Rates of
    exchange move together by their own history, everything else jointly by its. A trading day's
    variance is spread over 6.5 hours and the simulated market never closes, so 24 hours of it move
    prices √(24/6.5) ≈ 1.9 times as far as a real day does; those of crypto-assets as far as a real one.
    """
    start = np.array([starts.get(one.id, np.nan) for one in instruments])
    start = np.where(start > 0, start, newest_closes(closes))
    kept = np.flatnonzero((start > 0) & np.array([one.asset_class != "cash" for one in instruments], bool))
    quoted = [instruments[index] for index in kept.tolist()]
    classes = [one.asset_class for one in quoted]
    with np.errstate(invalid="ignore"):
        returns = np.diff(np.log(closes[:, kept]), axis=0)
    daily = _daily_volatility(returns, classes)
    rates = np.array([name == "fx" for name in classes], bool)
    pegged = rates & (daily < PEGGED_DAILY_VOLATILITY)
    noise = PEG_NOISE * np.sqrt(2.0 / PEG_RETURN_S)  # an Ornstein-Uhlenbeck process of deviation PEG_NOISE
    day_s = np.array([WHOLE_DAY_S if name == "crypto" else TRADING_DAY_S for name in classes])
    liquidity = np.array([_LIQUIDITY.get(name, 1.0) for name in classes])
    return MarketModel(
        np.array([one.id for one in quoted], np.uint32),
        start[kept],
        np.where(pegged, noise, daily / np.sqrt(day_s)),
        np.where(pegged, 1.0 / PEG_RETURN_S, 0.0),
        *_correlation_factors(returns, rates),
        np.array([_HALF_SPREAD_BP.get(name, 1.0) / 1e4 for name in classes]),
        np.array([name == "index" for name in classes], bool),
        np.array([one.tick_size for one in quoted]),
        liquidity / liquidity.sum() if len(liquidity) else liquidity,
    )


def newest_closes(closes: Floats) -> Floats:
    """Return the last close of each column, NaN where it has none."""
    newest = np.full(closes.shape[1], np.nan)
    for row in closes:
        newest = np.where(np.isnan(row), newest, row)
    return newest


def _daily_volatility(returns: Floats, classes: Sequence[str]) -> Floats:
    """Return the deviation of daily log returns (ddof 1); of what has too few, the median of its class."""
    present = ~np.isnan(returns)
    count = present.sum(axis=0)
    filled = np.where(present, returns, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(present, (returns - mean) ** 2, 0.0).sum(axis=0)
    daily: Floats = np.where(count >= MIN_RETURNS, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
    for index in np.flatnonzero(np.isnan(daily)).tolist():
        alike = [daily[other] for other, name in enumerate(classes) if name == classes[index]]
        known = [value for value in alike if value == value]
        daily[index] = float(np.median(known)) if known else DEFAULT_DAILY_VOLATILITY
    capped: Floats = np.minimum(daily, MAX_DAILY_VOLATILITY)
    return capped


def _correlation_factors(returns: Floats, rates: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return `factor` and `own` of the correlation of returns, with nothing between rates and the rest.

    An absent return counts as the mean, which keeps the matrix positive semidefinite (pairwise
    deletion does not). With fewer returns than instruments the returns themselves are the factor, each group
    with columns of its own; else Cholesky's [n, n] is smaller, and leaves nothing of their own.
    """
    present = ~np.isnan(returns)
    count = np.maximum(present.sum(axis=0), 1)
    centred = np.where(present, returns - np.where(present, returns, 0.0).sum(axis=0) / count, 0.0)
    size = np.sqrt((centred**2).sum(axis=0))
    unit = np.sqrt(1.0 - SHRINKAGE) * centred / np.where(size > 0, size, 1.0)
    both = np.concatenate([np.where(rates, unit, 0.0), np.where(rates, 0.0, unit)]).T
    own = 1.0 - (both**2).sum(axis=1)
    if both.shape[1] < both.shape[0]:
        return both, np.sqrt(own)
    return np.asarray(np.linalg.cholesky(both @ both.T + np.diag(own)), np.float64), np.zeros(len(own))
