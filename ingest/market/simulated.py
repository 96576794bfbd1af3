"""Simulate a market that never closes: a correlated random walk, quoted at a steady rate."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np
import numpy.typing as npt

from analytics.splits import Split
from ingest.market.clock import Clock, SystemClock
from ingest.market.model import MarketModel
from ingest.market.source import SimulatedFeed
from ingest.market.splits import KnownSplits
from stream.messages import QuoteBatch

STEP_NS = 20_000_000
MAX_CATCH_UP_NS = 1_000_000_000  # after a longer stall (a laptop that slept) the ticks missed are left out
ROTATION = 0.2  # share of ticks that go round all instruments in turn, so that none waits long

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class SimulatedMarket:
    """Hold latent log prices and draw quotes around them; nothing here waits or tells the time."""

    def __init__(self, model: MarketModel, seed: int | None = None) -> None:
        self._model = model
        self._random = np.random.default_rng(seed)
        self._start = np.log(model.start)
        self._level = self._start.copy()
        self._chances = np.cumsum(model.liquidity)
        self._steps = TickGrid(model.tick_size)
        self._turn = 0
        self._rotation_due = 0.0

    @property
    def prices(self) -> Floats:
        """Return the latent prices, in the model's order: not yet on the tick grid."""
        return np.asarray(np.exp(self._level), np.float64)

    def advance(self, seconds: float) -> None:
        """Move all prices by `seconds`: one product with the model's factor, without drift."""
        model = self._model
        shock = model.factor @ self._random.standard_normal(model.factor.shape[1])
        shock += model.own * self._random.standard_normal(len(model))
        self._level += model.volatility * np.sqrt(seconds) * shock - 0.5 * model.volatility**2 * seconds
        self._level -= np.minimum(model.reversion * seconds, 1.0) * (self._level - self._start)

    def split(self, instrument: int, ratio: float) -> None:
        """Quote an instrument in new shares from now on, so many of them for one old."""
        place = self._model.instrument == instrument
        self._level[place] -= np.log(ratio)
        self._start[place] -= np.log(ratio)

    def draw(self, count: int, now_ns: int, span_ns: int, source: str = "simulated") -> QuoteBatch:
        """Quote `count` ticks with event times spread over the `span_ns` before `now_ns`.

        Prices lie on the tick grid; the last price is never outside bid and ask. A level (an index)
        has a last price only.
        """
        model = self._model
        price = self.prices
        low, high = self._steps.bracket(price * (1.0 - model.half_spread), price * (1.0 + model.half_spread))
        chosen = self._choose(count)
        inside = (self._random.random(count) * (high - low + 1)[chosen]).astype(np.int64)
        two_sided = ~model.one_sided[chosen]
        return QuoteBatch(
            source,
            now_ns,
            model.instrument[chosen],
            np.where(two_sided, self._steps.price(low, chosen), np.nan),
            np.where(two_sided, self._steps.price(high, chosen), np.nan),
            self._steps.price(low, chosen, inside),
            np.where(two_sided, self._random.integers(1, 500, count).astype(np.float64), np.nan),
            now_ns - span_ns + (np.arange(1, count + 1) * span_ns) // count,
        )

    def _choose(self, count: int) -> Ints:
        """Pick instruments: some in turn, the rest by liquidity, mixed."""
        self._rotation_due += ROTATION * count
        turns = int(self._rotation_due)
        self._rotation_due -= turns
        in_turn = (self._turn + np.arange(turns)) % len(self._model)
        self._turn = (self._turn + turns) % len(self._model)
        by_chance = np.searchsorted(self._chances, self._random.random(count - turns), side="right")
        chosen = np.concatenate([in_turn, np.minimum(by_chance, len(self._model) - 1)])
        self._random.shuffle(chosen)
        return chosen


class TickGrid:
    """Round prices to each instrument's tick, as the decimal number that a person would write."""

    def __init__(self, tick_size: Floats) -> None:
        self._tick = tick_size
        whole = np.round(1.0 / tick_size)
        # 18,912 / 100 is the double nearest to 189.12; 18,912 * 0.01 is not always
        self._per_unit = np.where(np.abs(whole * tick_size - 1.0) < 1e-9, whole, 0.0)

    def bracket(self, low: Floats, high: Floats) -> tuple[Ints, Ints]:
        """Return ticks at or below `low` (at least one) and above `high`, at least one tick apart."""
        below = np.maximum(np.floor(low / self._tick + 1e-9), 1.0).astype(np.int64)
        above = np.ceil(high / self._tick - 1e-9).astype(np.int64)
        return below, np.maximum(above, below + 1)

    def price(self, ticks: Ints, chosen: Ints, more: Ints | int = 0) -> Floats:
        """Return the prices of `ticks[chosen] + more`."""
        count = (ticks[chosen] + more).astype(np.float64)
        per_unit = self._per_unit[chosen]
        prices: Floats = np.where(per_unit > 0, count / np.maximum(per_unit, 1.0), count * self._tick[chosen])
        return prices


class SimulatedSource:
    """Yield simulated quotes at the feed's rate, from the model's start prices on, until it is closed.

    Prices follow the splits that are known as they take effect; those of before the start are in its prices.
    """

    def __init__(
        self, feed: SimulatedFeed, model: MarketModel, clock: Clock | None = None, splits: KnownSplits | None = None
    ) -> None:
        self.name = feed.name
        self._rate = feed.rate
        self._market = SimulatedMarket(model, feed.seed)
        self._clock = clock or SystemClock()
        self._splits = splits or KnownSplits()
        self._began_ns = self._clock.now_ns()
        self._applied: dict[Split, None] = {}

    async def batches(self) -> AsyncGenerator[QuoteBatch, None]:
        """Yield each 20 ms what is due, counted from the start, so that the pace does not drift."""
        start = last = self._clock.monotonic_ns()
        emitted = 0
        while True:
            step = (last - start) // STEP_NS + 1
            await self._clock.sleep(max(0, start + step * STEP_NS - self._clock.monotonic_ns()) / 1e9)
            now = self._clock.monotonic_ns()
            elapsed = now - last
            if elapsed > MAX_CATCH_UP_NS:
                start, emitted, elapsed = now - MAX_CATCH_UP_NS, 0, MAX_CATCH_UP_NS
            last = now
            self._market.advance(elapsed / 1e9)
            due = int((now - start) * self._rate / 1e9) - emitted
            if due > 0:
                emitted += due
                now_ns = self._clock.now_ns()
                self._split(now_ns)
                yield self._dated(self._market.draw(due, now_ns, elapsed, self.name))

    def _split(self, now_ns: int) -> None:
        """Put prices into new shares where a split has taken effect, or was learned of after it did."""
        for one in self._splits.newest.between(self._began_ns, now_ns):
            if one not in self._applied:
                self._market.split(one.instrument, float(one.ratio))
                self._applied[one] = None

    def _dated(self, batch: QuoteBatch) -> QuoteBatch:
        """Date the quotes in new shares at their split or later: the time of a quote says in which shares it is."""
        for one in self._applied:
            old = (batch.instrument == one.instrument) & (batch.event_ns < one.effective_ns)
            batch.event_ns[old] = one.effective_ns
        return batch
