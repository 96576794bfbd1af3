"""Hold the newest price of every instrument and the rates that follow from them, as arrays.

The newest event wins, whatever the order of arrival. An instrument that has had no quote stands at its newest
close. Rates of exchange are instruments like any other; every currency is measured against the reference
currency, and a cross rate is the quotient of two. Prior closes are by time zone: the days of portfolios begin there.

All prices are in the shares of one moment, which `PriceTable.follow_splits` moves on: what a split does to marks and
closes is done once, here, so that whoever compares a price with a close, or values a position, need not know of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from analytics.revaluation import REFERENCE_CURRENCY
from analytics.splits import NEVER_NS, NO_SPLITS, Split, Splits
from stream.messages import FUTURE_TOLERANCE_NS, QuoteBatch
from stream.quotes import Refusal, apply_quotes, refusals

STALE_AFTER_S = {"equity": 900, "etf": 900, "index": 900, "fx": 300, "crypto": 120, "bond": 86_400, "fund": 172_800}
STATES = ("live", "close", "stale")
LIVE, CLOSE, STALE = range(3)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """Say what an instrument is; `prior_close` is NaN where it has none, `prior_close_ns` when it was made.

    Of a rate of exchange `base_currency` is set: the price is units of `currency` for one of it. `exchange` is the
    code of the market whose sessions it follows, None for what trades around the clock.
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
    exchange: str | None = None


class UnknownCurrency(ValueError):
    """Say that a currency has no minor unit or no rate against the reference currency."""


class PriceTable:
    """Keep marks by dense index (the order in which instruments were added), and crosses by currency.

    Columns by instrument: `mark` (NaN before the first quote), `mark_ns` and `mark_source` (a place in `sources`), as
    quotes bring them; as of the last `refresh`, `price`, `price_ns`, `unit_value` (price times factor) and `state`.
    `prior_close` and `prior_close_ns` are [zone, instrument]. `cross` is [from, into]: minor units of `into` for one
    unit of `from`; `cross_close` the same at the prior closes, [zone, from, into]. `changed[:changes]` are the
    instruments whose price, time of price or state a revaluation has not seen yet, `currency_dirty` the currencies
    whose rate moved. `newest_ns` is the newest event taken, `valued_ns` the newest as of the last `refresh`.
    `opened_ns` is when the session that runs now opened: see `follow_sessions`. Everything is in the shares of
    `shares_ns`: of `splits` those up to then have been applied.
    """

    def __init__(
        self,
        minor_units: Mapping[str, int],
        specs: Sequence[InstrumentSpec] = (),
        splits: Splits = NO_SPLITS,
        shares_ns: int = 0,
    ) -> None:
        self.splits = splits
        self.shares_ns = shares_ns
        self.currencies = tuple(sorted(minor_units))
        self.currency_index = {code: index for index, code in enumerate(self.currencies)}
        self.scale: Floats = np.array([10.0 ** minor_units[code] for code in self.currencies])
        self.specs: list[InstrumentSpec] = []
        self.zones: dict[str, int] = {"UTC": 0}
        self.index_of: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.mark: Floats = np.empty(0)
        self.mark_ns: Ints = np.empty(0, np.int64)
        self.mark_source: npt.NDArray[np.uint16] = np.empty(0, np.uint16)
        self.sources = [""]
        self.newest_ns = 0
        self.valued_ns = 0
        self.dirty: Flags = np.empty(0, np.uint8)
        self.prior_close: Floats = np.empty((1, 0))
        self.prior_close_ns: Ints = np.empty((1, 0), np.int64)
        self.state: Flags = np.empty(0, np.uint8)
        self.currency_dirty: Flags = np.zeros(len(self.currencies), np.uint8)
        self.add(specs)

    @property
    def stale(self) -> npt.NDArray[np.bool_]:
        """Return which instruments are stale."""
        found: npt.NDArray[np.bool_] = self.state == STALE
        return found

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
        self.mark_source = np.concatenate([self.mark_source, np.zeros(len(fresh), np.uint16)])
        self.dirty = np.concatenate([self.dirty, np.ones(len(fresh), np.uint8)])
        self.state = np.concatenate([self.state, np.zeros(len(fresh), np.uint8)])
        closes = np.where(cash, 1.0, np.array([spec.prior_close for spec in fresh], np.float64))
        made = np.array([spec.prior_close_ns for spec in fresh], np.int64)
        zones = len(self.zones)
        self.prior_close = np.concatenate([self.prior_close, np.tile(closes, (zones, 1))], axis=1)
        self.prior_close_ns = np.concatenate([self.prior_close_ns, np.tile(made, (zones, 1))], axis=1)
        self._index()
        self.refresh(0)

    def zone(self, name: str) -> int:
        """Return the row of a time zone's prior closes; a new one begins with the closes the instruments came with."""
        found = self.zones.get(name)
        if found is None:
            found = self.zones[name] = len(self.zones)
            self.prior_close = np.concatenate([self.prior_close, self.prior_close[:1]])
            self.prior_close_ns = np.concatenate([self.prior_close_ns, self.prior_close_ns[:1]])
            self._derive_closes()
        return found

    def roll(self, zone: str, closes: Mapping[int, tuple[float, int]]) -> None:
        """Replace a zone's prior closes: id → (close, event time of the close in nanoseconds)."""
        row = self.zone(zone)
        for identity, (close, made_ns) in closes.items():
            index = self.index_of[identity]
            self.prior_close[row, index] = close
            self.prior_close_ns[row, index] = made_ns
            if row == 0:
                spec = self.specs[index]
                self.specs[index] = replace(spec, prior_close=close, prior_close_ns=made_ns)
        self._derive_closes()
        self.dirty[:] = 1

    def closes(self, zone: int, instruments: npt.NDArray[np.uint32]) -> Floats:
        """Return the prior closes of instruments (by dense index) in a zone, 0 where there is none."""
        found: Floats = np.nan_to_num(self.prior_close[zone, instruments], nan=0.0)
        return found

    def learn_splits(self, splits: Splits) -> None:
        """Take the splits that are known now; those of up to `shares_ns` count as applied."""
        self.splits = splits
        self._index_splits()

    def follow_splits(self, now_ns: int) -> tuple[Split, ...]:
        """Put all prices into the shares of now; return the splits that did it.

        The closes held when a split takes effect are all of before it.
        """
        found = [one for one in self.splits.between(self.shares_ns, now_ns) if self.place(one.instrument) >= 0]
        for one in found:
            place = self.place(one.instrument)
            self.prior_close[:, place] /= float(one.ratio)
            self.specs[place] = replace(self.specs[place], prior_close=float(self.prior_close[0, place]))
            self.dirty[place] = 1
        self.shares_ns = now_ns
        if found:
            self._derive_closes()
        return tuple(found)

    def place(self, instrument: int) -> int:
        """Return the dense index of an instrument's id, -1 where it is not known."""
        return int(self.index_of[instrument]) if 0 <= instrument < len(self.index_of) else -1

    def follow_sessions(self, opened_ns: Ints, last_end_ns: Ints) -> None:
        """Take what `state` goes by, by instrument: when its session that runs now opened, and when the last one ended.

        `opened_ns` is 0 for what is open for ever, and negative where the market is closed now.
        """
        self.opened_ns, self._last_end_ns = opened_ns, last_end_ns

    def apply(self, batch: QuoteBatch, now_ns: int) -> list[Refusal]:
        """Take a batch; return what was refused and why. The rest has become the newest price where it is newer."""
        codes = np.zeros(len(batch), np.uint8)
        refused, newest = apply_quotes(
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
            self._source(batch.source),
            self.mark_source,
        )
        self.newest_ns = max(self.newest_ns, newest)
        return refusals(codes) if refused else []

    def refresh(self, now_ns: int) -> None:
        """Derive from the marks what a revaluation needs: prices, their states, crosses, and what has changed."""
        self.valued_ns = self.newest_ns
        self._split_marks()
        self.changes = _derive(
            now_ns,
            self.mark,
            self.mark_ns,
            self._close,
            self._close_ns,
            self.factor,
            self.cash,
            self._stale_after,
            self.opened_ns,
            self._last_end_ns,
            self.price,
            self.price_ns,
            self.unit_value,
            self.state,
            self.dirty,
            self.changed,
        )
        rated = self._rated
        self.currency_dirty[rated] |= self.dirty[self._rate_instrument[rated]]
        if self.currency_dirty.any():
            rates = self._rates(self.price)
            self.cross = rates[:, None] / rates[None, :] * self.scale[None, :]

    def settle(self) -> None:
        """Forget what changed: the revaluation has seen it."""
        self.dirty[:] = 0
        self.currency_dirty[:] = 0

    def rate(self, code: str, into: str) -> float:
        """Return the cross rate: units of `into` for one unit of `code`."""
        scale = float(self.scale[self.currency_index[into]])
        return float(self.cross[self.currency_index[code], self.currency_index[into]]) / scale

    def has_rate(self, code: str) -> bool:
        """Say whether amounts in this currency can be converted."""
        index = self.currency_index.get(code)
        if code == REFERENCE_CURRENCY or index is None or self._rate_instrument[index] < 0:
            return code == REFERENCE_CURRENCY
        return bool(self.price[self._rate_instrument[index]] > 0.0)

    def _split_marks(self) -> None:
        """Put marks of before a split into new shares: it makes a price of its moment, which older quotes do not undo.

        So the time of a mark always says in which shares it is, here and wherever it is stored.
        """
        mark_ns = self.mark_ns[self._split_place]
        for at in np.flatnonzero((mark_ns > 0) & (mark_ns < self._split_ns) & (self._split_ns <= self.shares_ns)):
            place = self._split_place[at]
            self.mark[place] /= self._split_ratio[at]
            self.mark_ns[place] = self._split_ns[at]
            self.dirty[place] = 1

    def _source(self, name: str) -> int:
        """Return the place of a feed's name."""
        if name not in self.sources:
            self.sources.append(name)
        return self.sources.index(name)

    def _index(self) -> None:
        """Lay the static columns anew from the specifications."""
        specs, size = self.specs, len(self.specs)
        ids = np.array([spec.id for spec in specs], np.int64)
        self.index_of = np.full(int(ids.max()) + 1 if size else 0, -1, np.int32)
        self.index_of[ids] = np.arange(size)
        self.currency = np.array([self.currency_index[spec.currency] for spec in specs], np.uint8)
        self.factor = np.array([spec.price_factor for spec in specs], np.float64)
        self.cash = np.array([spec.asset_class == "cash" for spec in specs], bool)
        self._stale_after = np.array([STALE_AFTER_S.get(spec.asset_class, 900) for spec in specs], np.int64) * 10**9
        self.opened_ns = np.zeros(size, np.int64)
        self._last_end_ns = np.zeros(size, np.int64)
        self.price, self.unit_value = np.empty(size), np.empty(size)
        self.price_ns, self.changed = np.empty(size, np.int64), np.empty(size, np.int64)
        self.changes = 0
        self._index_rates()
        self._index_splits()
        self._derive_closes()
        self.currency_dirty[:] = 1

    def _index_splits(self) -> None:
        """Lay out the splits of the instruments held, in the order in which they take effect."""
        found = [one for one in self.splits.between(0, NEVER_NS) if self.place(one.instrument) >= 0]
        self._split_place = np.array([self.place(one.instrument) for one in found], np.int64)
        self._split_ns = np.array([one.effective_ns for one in found], np.int64)
        self._split_ratio = np.array([float(one.ratio) for one in found], np.float64)

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
        self._rated = np.flatnonzero(self._rate_instrument >= 0)

    def _derive_closes(self) -> None:
        """Derive each zone's crosses at the prior closes, and each instrument's newest close, in place of a price."""
        rates = [self._rates(np.nan_to_num(closes, nan=0.0)) for closes in self.prior_close]
        self.cross_close: Floats = np.array([one[:, None] / one[None, :] * self.scale[None, :] for one in rates])
        newest = self.prior_close_ns.argmax(axis=0)
        columns = np.arange(len(self.specs))
        self._close = np.nan_to_num(self.prior_close[newest, columns], nan=0.0)
        self._close_ns = self.prior_close_ns[newest, columns]

    def _rates(self, price: Floats) -> Floats:
        """Return the value of one unit of each currency in the reference currency; 1 where it has no rate."""
        quoted = np.ones(len(self.currencies))
        quoted[self._rated] = price[self._rate_instrument[self._rated]]
        quoted[quoted <= 0.0] = 1.0
        return np.where(self._rate_inverse, 1.0 / quoted, quoted)

    def _require_currency(self, spec: InstrumentSpec) -> None:
        for code in (spec.currency, spec.base_currency):
            if code is not None and code not in self.currency_index:
                raise UnknownCurrency(f"{spec.symbol} is in {code}, which is not in the table of currencies")


@njit(cache=True)
def _state(now_ns: int, price_ns: int, has_mark: bool, rule_ns: int, opened_ns: int, last_end_ns: int) -> int:
    """Judge a price: live within its rule; else the close where its market has not been open for that long since."""
    if has_mark and now_ns - price_ns <= rule_ns:
        return LIVE
    is_due = opened_ns >= 0 and now_ns - opened_ns > rule_ns
    return CLOSE if not is_due and price_ns >= last_end_ns - rule_ns else STALE


@njit(cache=True)
def _derive(
    now_ns: int,
    mark: Any,
    mark_ns: Any,
    close: Any,
    close_ns: Any,
    factor: Any,
    cash: Any,
    stale_after: Any,
    opened_ns: Any,
    last_end_ns: Any,
    price: Any,
    price_ns: Any,
    unit_value: Any,
    state: Any,
    dirty: Any,
    changed: Any,
) -> int:
    """Fill prices and states; return how many of `changed` are instruments that are dirty or whose state has turned."""
    changes = 0
    for s in range(len(mark)):
        has_mark = mark_ns[s] > 0
        price[s] = mark[s] if has_mark or cash[s] else close[s]
        price_ns[s] = 0 if cash[s] else (mark_ns[s] if has_mark else close_ns[s])
        unit_value[s] = price[s] * factor[s]
        now = LIVE
        if not cash[s]:
            now = _state(now_ns, price_ns[s], has_mark, stale_after[s], opened_ns[s], last_end_ns[s])
        if dirty[s] or now != state[s]:
            changed[changes] = s
            changes += 1
        state[s] = now
    return changes
