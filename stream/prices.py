"""Hold the newest price of every instrument and the rates that follow from them, as arrays.

The newest event wins, whatever the order of arrival. An instrument that has had no quote stands at its
prior close and counts as stale. Rates of exchange are instruments like any other; every currency is
measured against the reference currency, and a cross rate is the quotient of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from stream.messages import FUTURE_TOLERANCE_NS, PRICE_LIMIT, QuoteBatch

REFERENCE_CURRENCY = "USD"
STALE_AFTER_S = {"equity": 900, "etf": 900, "index": 900, "fx": 300, "bond": 86_400, "fund": 172_800}


REASONS = (
    "",
    "unknown_instrument",
    "no_price",
    "not_finite",
    "not_positive",
    "crossed",
    "future",
    "too_large",
    "cash_has_no_quote",
)
UNKNOWN, ABSENT, NOT_FINITE, NOT_POSITIVE, CROSSED, FUTURE, TOO_LARGE, CASH_QUOTE = range(1, 9)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """Say what an instrument is; `prior_close` is NaN where it has none, `prior_close_ns` when it was made.

    Of a rate of exchange `base_currency` is set: the price is units of `currency` for one of it.
    """

    id: int
    symbol: str
    name: str
    asset_class: str
    sector: str
    country: str
    currency: str
    base_currency: str | None
    price_factor: float
    prior_close: float
    prior_close_ns: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Say why the quotes at `index` of a batch were refused."""

    reason: str
    index: npt.NDArray[np.int64]


class UnknownCurrency(ValueError):
    """Say that a currency has no minor unit or no rate against the reference currency."""


class PriceTable:
    """Keep marks by dense index (the order in which instruments were added), and crosses by currency."""

    def __init__(self, minor_units: Mapping[str, int], specs: Sequence[InstrumentSpec] = ()) -> None:
        self.currencies = tuple(sorted(minor_units))
        self.currency_index = {code: index for index, code in enumerate(self.currencies)}
        self.scale: Floats = np.array([10.0 ** minor_units[code] for code in self.currencies])
        self.specs: list[InstrumentSpec] = []
        self.index_of: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.mark: Floats = np.empty(0)
        self.mark_ns: Ints = np.empty(0, np.int64)
        self.newest_ns = 0
        self._stale_after: Ints = np.empty(0, np.int64)
        self.dirty: Flags = np.empty(0, np.uint8)
        self.add(specs)

    def add(self, specs: Sequence[InstrumentSpec]) -> None:
        """Add instruments at the end, so that the indices of those known stay; known ids are left as they are."""
        known = {spec.id for spec in self.specs}
        fresh = [spec for spec in specs if spec.id not in known]
        for spec in fresh:
            self._require_currency(spec)
        self.specs.extend(fresh)
        cash = np.array([spec.asset_class == "cash" for spec in fresh], bool)
        self.mark = np.concatenate([self.mark, np.where(cash, 1.0, np.nan)])
        self.mark_ns = np.concatenate([self.mark_ns, np.zeros(len(fresh), np.int64)])
        self.dirty = np.concatenate([self.dirty, np.ones(len(fresh), np.uint8)])
        self._index()
        self.refresh(0)

    def roll(self, closes: Mapping[int, tuple[float, int]]) -> None:
        """Replace the prior closes: id → (close, event time of the close in nanoseconds)."""
        self.specs = [spec if spec.id not in closes else _with_close(spec, *closes[spec.id]) for spec in self.specs]
        self._index()
        self.dirty[:] = 1
        self.refresh(0)

    def apply(self, batch: QuoteBatch, now_ns: int) -> list[Refusal]:
        """Take a batch; return what was refused and why. The rest has become the newest price where it is newer."""
        codes = np.zeros(len(batch), np.uint8)
        refused, newest = _apply_quotes(
            self.index_of,
            batch.instrument,
            batch.bid,
            batch.ask,
            batch.last,
            batch.event_ns,
            now_ns + FUTURE_TOLERANCE_NS,
            self.cash,
            self.mark,
            self.mark_ns,
            self.dirty,
            codes,
        )
        self.newest_ns = max(self.newest_ns, newest)
        if not refused:
            return []
        present = np.unique(codes[codes > 0]).tolist()
        return [Refusal(REASONS[code], np.flatnonzero(codes == code)) for code in present]

    def refresh(self, now_ns: int) -> None:
        """Derive from the marks what a revaluation needs: unit values, crosses, what changed and what is stale."""
        self.price = np.where(np.isnan(self.mark), self.prior_close, self.mark)
        np.nan_to_num(self.price, copy=False, nan=0.0)
        self.unit_value = self.price * self.factor
        self.stale = np.where(
            self.cash, False, (self.mark_ns == 0) | (now_ns - self.mark_ns > self._stale_after)
        ).astype(np.uint8)
        self.price_ns = np.where(self.cash, 0, np.where(self.mark_ns == 0, self.prior_close_ns, self.mark_ns))
        rates = self._rates(self.price)
        self.cross = rates[:, None] / rates[None, :] * self.scale[None, :]
        self.currency_dirty = self._currencies_touched()

    def settle(self) -> None:
        """Forget what changed: the revaluation has seen it."""
        self.dirty[:] = 0

    def rate(self, code: str, into: str) -> float:
        """Return the cross rate: units of `into` for one unit of `code`."""
        scale = float(self.scale[self.currency_index[into]])
        return float(self.cross[self.currency_index[code], self.currency_index[into]]) / scale

    def _index(self) -> None:
        """Lay the static columns anew from the specifications."""
        specs = self.specs
        ids = np.array([spec.id for spec in specs], np.int64)
        self.index_of = np.full(int(ids.max()) + 1 if len(ids) else 0, -1, np.int32)
        self.index_of[ids] = np.arange(len(ids))
        self.currency = np.array([self.currency_index[spec.currency] for spec in specs], np.uint8)
        self.factor = np.array([spec.price_factor for spec in specs], np.float64)
        self.prior_close = np.array([spec.prior_close for spec in specs], np.float64)
        self.prior_close_ns = np.array([spec.prior_close_ns for spec in specs], np.int64)
        self.cash = np.array([spec.asset_class == "cash" for spec in specs], bool)
        self.prior_close[self.cash] = 1.0
        self._stale_after = np.array([STALE_AFTER_S.get(spec.asset_class, 900) for spec in specs], np.int64) * 10**9
        self._index_rates()
        rates = self._rates(np.nan_to_num(self.prior_close, nan=0.0))
        self.cross_close = rates[:, None] / rates[None, :] * self.scale[None, :]

    def _index_rates(self) -> None:
        """Find for each currency the instrument that is its rate, and which way round it is quoted."""
        self._rate_instrument = np.full(len(self.currencies), -1, np.int64)
        self._rate_inverse = np.zeros(len(self.currencies), bool)
        for index, spec in enumerate(self.specs):
            if spec.base_currency is None:
                continue
            if spec.currency == REFERENCE_CURRENCY:
                self._rate_instrument[self.currency_index[spec.base_currency]] = index
            elif spec.base_currency == REFERENCE_CURRENCY:
                self._rate_instrument[self.currency_index[spec.currency]] = index
                self._rate_inverse[self.currency_index[spec.currency]] = True

    def _rates(self, price: Floats) -> Floats:
        """Return the value of one unit of each currency in the reference currency; 1 where it has no rate."""
        has_rate = self._rate_instrument >= 0
        quoted = np.ones(len(self.currencies))
        quoted[has_rate] = price[self._rate_instrument[has_rate]]
        quoted[quoted <= 0.0] = 1.0
        return np.where(self._rate_inverse, 1.0 / quoted, quoted)

    def has_rate(self, code: str) -> bool:
        """Say whether amounts in this currency can be converted."""
        index = self.currency_index.get(code)
        if code == REFERENCE_CURRENCY or index is None or self._rate_instrument[index] < 0:
            return code == REFERENCE_CURRENCY
        return bool(self.price[self._rate_instrument[index]] > 0.0)

    def _currencies_touched(self) -> Flags:
        has_rate = self._rate_instrument >= 0
        touched = np.zeros(len(self.currencies), np.uint8)
        touched[has_rate] = self.dirty[self._rate_instrument[has_rate]]
        return touched

    def _require_currency(self, spec: InstrumentSpec) -> None:
        for code in (spec.currency, spec.base_currency):
            if code is not None and code not in self.currency_index:
                raise UnknownCurrency(f"{spec.symbol} is in {code}, which is not in the table of currencies")


def _with_close(spec: InstrumentSpec, close: float, close_ns: int) -> InstrumentSpec:
    return InstrumentSpec(
        spec.id,
        spec.symbol,
        spec.name,
        spec.asset_class,
        spec.sector,
        spec.country,
        spec.currency,
        spec.base_currency,
        spec.price_factor,
        close,
        close_ns,
    )


@njit(cache=True)
def _judge(bid: float, ask: float, last: float) -> tuple[int, float]:
    """Return (0, mark) of a quote: last where present, else the middle; or (reason, 0)."""
    if not (bid != bid or ask != ask) and bid > ask:
        return CROSSED, 0.0
    mark = last if last == last else 0.5 * (bid + ask)
    if mark != mark:
        return ABSENT, 0.0
    if np.isinf(mark) or np.isinf(bid) or np.isinf(ask):
        return NOT_FINITE, 0.0
    if mark <= 0.0 or bid <= 0.0 or ask <= 0.0:  # a comparison with NaN is false: absent is no fault
        return NOT_POSITIVE, 0.0
    if mark >= PRICE_LIMIT:
        return TOO_LARGE, 0.0
    return 0, mark


@njit(cache=True)
def _apply_quotes(
    index_of: Any,
    instrument: Any,
    bid: Any,
    ask: Any,
    last: Any,
    event_ns: Any,
    limit_ns: int,
    cash: Any,
    mark: Any,
    mark_ns: Any,
    dirty: Any,
    codes: Any,
) -> tuple[int, int]:
    refused = 0
    newest = 0
    for row in range(len(instrument)):
        identity = instrument[row]
        index = index_of[identity] if identity < len(index_of) else -1
        code, price = _judge(bid[row], ask[row], last[row])
        if index < 0:
            code = UNKNOWN
        elif cash[index]:
            code = CASH_QUOTE
        elif code == 0 and event_ns[row] > limit_ns:
            code = FUTURE
        if code:
            codes[row] = code
            refused += 1
        elif event_ns[row] >= mark_ns[index]:
            mark[index] = price
            mark_ns[index] = event_ns[row]
            dirty[index] = 1
            newest = max(newest, event_ns[row])
    return refused, newest
