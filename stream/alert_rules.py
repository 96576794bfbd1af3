"""Judge alert rules by the newest valuation: pure arithmetic over columns, one pass for all rules.

A rule is a latch. Armed, it trips as its value is at or beyond the threshold; tripped, it is armed again once the value
is back on the other side by a margin, so that a value that trembles at its threshold raises one alert. What counts is
where the value is and not that it was seen to move: a crossing while no worker ran is noticed by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt

from stream.processor import Processor

ARMED, TRIPPED, WAITING, GONE = range(4)  # WAITING: it has tripped, and its alert is on its way
MARGIN = 0.001  # of the price, or of the portfolio's equity; of what is in percent, a tenth of a point
SHARE_MARGIN = 0.01
UNKNOWN = np.nan  # neither trips a rule nor arms it

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Judged = tuple[Floats, Floats | float]  # values, and by how much each must come back


@dataclass(frozen=True, slots=True)
class Rule:
    """Hold a rule on an instrument (its id) or on a portfolio; the other one is None. `sign` is 1 above, -1 below."""

    id: UUID
    version: int
    kind: str
    instrument: int | None
    portfolio: str | None
    sign: int
    threshold: float
    repeats: bool
    armed: bool


@dataclass(frozen=True, slots=True)
class Tripped:
    """Hold a rule that has just tripped: at which value, and by a price of which feed, made when.

    Of a portfolio, which has many prices, no feed is named, and the time is that of the newest of all prices.
    """

    rule: Rule
    value: float
    price_source: str
    price_ns: int


class RuleBook:
    """Keep the rules as columns, in runs of one kind; those of what this worker does not hold are kept aside."""

    def __init__(self, processor: Processor, *, with_instruments: bool) -> None:
        self._processor = processor
        self._with_instruments = with_instruments
        self._aside: dict[UUID, Rule] = {}
        self._has_news = False
        self._held = (0, 0)
        self._rules: list[Rule] = []
        self._place: dict[UUID, int] = {}
        self._runs: list[tuple[_Value, slice]] = []
        self._kind: Ints = np.empty(0, np.int64)
        self._at: Ints = np.empty(0, np.int64)
        self._sign = self._threshold = self._value = self._margin = np.empty(0)
        self._state: Ints = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._place)

    def put(self, rule: Rule) -> None:
        """Take a rule, in place of an earlier version of it."""
        self.drop(rule.id)
        self._aside[rule.id] = rule
        self._has_news = True

    def drop(self, rule_id: UUID) -> None:
        """Forget a rule."""
        self._aside.pop(rule_id, None)
        place = self._place.pop(rule_id, None)
        if place is not None:
            self._state[place] = GONE

    def repeats(self, rule_id: UUID) -> bool:
        """Say whether a rule that has tripped raises each time its value crosses."""
        return self._rules[self._place[rule_id]].repeats

    def set_state(self, rule_id: UUID, state: int) -> None:
        """Set the state of a rule that has tripped."""
        self._state[self._place[rule_id]] = state

    def judge(self, now_ns: int) -> tuple[list[Tripped], list[Rule]]:
        """Return (rules that have tripped, now waiting; rules that are armed again), as of the last revaluation.

        To be called before anything else reaches the processor: positions that are not valued yet have a day P&L
        that nobody has seen.
        """
        processor = self._processor
        held = (len(processor.book), len(processor.prices.specs))
        if self._has_news or held != self._held:
            self._held, self._has_news = held, False
            self._take_in()
        for value_of, run in self._runs:
            self._value[run], self._margin[run] = value_of(processor, self._at[run], now_ns)
        beyond = self._sign * (self._value - self._threshold)
        crossed = np.flatnonzero((beyond >= 0.0) & (self._state == ARMED))
        back = np.flatnonzero((beyond < -self._margin) & (self._state == TRIPPED))
        self._state[crossed], self._state[back] = WAITING, ARMED
        return [self._describe(place) for place in crossed.tolist()], [self._rules[place] for place in back.tolist()]

    def _describe(self, place: int) -> Tripped:
        rule, at, prices = self._rules[place], int(self._at[place]), self._processor.prices
        value = float(self._value[place])
        if rule.instrument is None:
            return Tripped(rule, value, "", prices.valued_ns)
        return Tripped(rule, value, prices.sources[int(prices.mark_source[at])], int(prices.price_ns[at]))

    def _take_in(self) -> None:
        """Put the rules whose subject is here now into the columns, and take out those that have gone."""
        found = [(rule, at) for rule in self._aside.values() if (at := self._find(rule)) is not None]
        fresh = [rule for rule, _ in found]
        for rule in fresh:
            del self._aside[rule.id]
        kind = np.append(self._kind, [KINDS[kind_of(rule)] for rule in fresh]).astype(np.int64)
        state = np.append(self._state, [ARMED if rule.armed else TRIPPED for rule in fresh]).astype(np.int64)
        order = np.argsort(kind, kind="stable")
        order = order[state[order] != GONE]
        self._kind, self._state = kind[order], state[order]
        self._at = np.append(self._at, [at for _, at in found]).astype(np.int64)[order]
        self._sign = np.append(self._sign, [rule.sign for rule in fresh])[order]
        self._threshold = np.append(self._threshold, [rule.threshold for rule in fresh])[order]
        self._value, self._margin = np.full((2, len(order)), UNKNOWN)
        rules = [*self._rules, *fresh]
        self._rules = [rules[one] for one in order.tolist()]
        self._place = {rule.id: place for place, rule in enumerate(self._rules)}
        edges = np.searchsorted(self._kind, np.arange(len(VALUES) + 1)).tolist()
        runs = zip(VALUES.values(), edges, edges[1:], strict=False)
        self._runs = [(value_of, slice(first, last)) for value_of, first, last in runs if first < last]

    def _find(self, rule: Rule) -> int | None:
        """Return where the instrument or the portfolio stands, None where this worker does not answer for it."""
        if rule.portfolio is not None:
            portfolio = self._processor.portfolio(rule.portfolio)
            return None if portfolio is None else portfolio.index
        index_of = self._processor.prices.index_of
        if not self._with_instruments or rule.instrument is None or rule.instrument >= len(index_of):
            return None
        return int(index_of[rule.instrument]) if index_of[rule.instrument] >= 0 else None


def kind_of(rule: Rule) -> str:
    """Return the kind, staleness told apart by what is stale."""
    if rule.kind != "stale":
        return rule.kind
    return "stale_price" if rule.portfolio is None else "stale_share"


def _price(processor: Processor, at: Ints, _: int) -> Judged:
    """Return the newest quoted price: a close from before today crosses nothing."""
    prices = processor.prices
    price = np.where(prices.mark_ns[at] > 0, prices.price[at], UNKNOWN)
    return price, MARGIN * np.abs(price)


def _price_change_pct(processor: Processor, at: Ints, now_ns: int) -> Judged:
    """Return the change since the prior close, of the day that began at midnight UTC, as in `quote:<symbol>`."""
    close = processor.prices.prior_close[0, at]
    price, _ = _price(processor, at, now_ns)
    change = np.divide(100.0 * (price - close), close, out=np.full(len(at), UNKNOWN), where=close > 0.0)
    return change, 100.0 * MARGIN


def _stale_price(processor: Processor, at: Ints, now_ns: int) -> Judged:
    """Return for how many seconds there has been no newer price while the market was open, 0 while it is closed."""
    prices = processor.prices
    opened_ns = prices.opened_ns[at]
    age = (now_ns - np.maximum(prices.price_ns[at], opened_ns)) / 1e9
    return np.where(opened_ns >= 0, age, 0.0), 0.0


def _day_pnl(processor: Processor, at: Ints, _: int) -> Judged:
    equity, day, scale = _amounts(processor, at)
    return day / scale, MARGIN * np.abs(equity) / scale


def _day_pnl_pct(processor: Processor, at: Ints, _: int) -> Judged:
    equity, day, _scale = _amounts(processor, at)
    opening = np.abs(equity - day)
    return np.divide(100.0 * day, opening, out=np.zeros(len(at)), where=opening > 0.0), 100.0 * MARGIN


def _total_equity(processor: Processor, at: Ints, _: int) -> Judged:
    equity, _day, scale = _amounts(processor, at)
    return equity / scale, MARGIN * np.abs(equity) / scale


def _stale_share(processor: Processor, at: Ints, _: int) -> Judged:
    moving = processor.revaluation.at_close_rates(at)
    gross = moving[:, 1]
    return np.divide(moving[:, 2], gross, out=np.zeros(len(at)), where=gross > 0.0), SHARE_MARGIN


def _amounts(processor: Processor, at: Ints) -> tuple[Floats, Floats, Floats]:
    """Return (equity, day P&L, minor units in one unit) of portfolios; the amounts in minor units."""
    book = processor.book
    equity = processor.revaluation.equity[at]
    return equity, equity - book.constants.basis[at], processor.prices.scale[book.base[at]]


_Value = Callable[[Processor, Ints, int], Judged]
VALUES: dict[str, _Value] = {
    "day_pnl": _day_pnl,
    "day_pnl_pct": _day_pnl_pct,
    "price": _price,
    "price_change_pct": _price_change_pct,
    "stale_price": _stale_price,
    "stale_share": _stale_share,
    "total_equity": _total_equity,
}
KINDS = {kind: number for number, kind in enumerate(VALUES)}
