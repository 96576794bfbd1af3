"""Write quotes to Redis: all of them once a second, and those that somebody follows as they change."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from db.live import LiveStore, StoredQuote
from stream.prices import PriceTable

STORE_EVERY_NS = 1_000_000_000
CLOSE = "close"  # in place of a feed's name: nobody has quoted it yet, and its newest close stands in

Indices = npt.NDArray[np.int64]


class QuotePublisher:
    """Own what was written of the price table, so that only what has changed is written again.

    An instrument that has had no quote is stored at its newest close, under the time 0: what is converted at a rate of
    exchange can be shown before that rate has moved.
    Every worker has every price: each stores them, so that they are there whoever lives, and one publishes them.
    """

    def __init__(self, prices: PriceTable, store: LiveStore, *, speaks_for_all: bool) -> None:
        self._prices = prices
        self._store = store
        self._speaks_for_all = speaks_for_all
        self._stored_at_ns = 0
        self._stored_ns = np.zeros(0, np.int64)
        self._stored_close = np.zeros(0)
        self._told_ns = np.zeros(0, np.int64)
        self._places: dict[str, int] = {}

    async def tell(self, watched: Iterable[str]) -> None:
        """Publish the watched quotes that have changed since the last time."""
        if not self._speaks_for_all:
            return
        self._told_ns = self._as_long(self._told_ns)
        known = self._known()
        places = np.array([known[symbol] for symbol in watched if symbol in known], np.int64)
        changed = places[self._prices.mark_ns[places] != self._told_ns[places]]
        if not len(changed):
            return
        times = self._prices.mark_ns[changed]
        await self._store.publish_quotes(self._quotes(changed))
        self._told_ns[changed] = times

    async def store(self, now_ns: int) -> None:
        """Store all quotes that have changed, once a second."""
        if now_ns - self._stored_at_ns < STORE_EVERY_NS:
            return
        self._stored_at_ns = now_ns
        self._stored_ns = self._as_long(self._stored_ns)
        closes = np.where((self._prices.mark_ns == 0) & ~self._prices.cash, self._prices.price, 0.0)
        told = np.zeros(len(closes))
        told[: len(self._stored_close)] = self._stored_close
        changed = np.flatnonzero((self._prices.mark_ns != self._stored_ns) | (closes != told))
        times = self._prices.mark_ns[changed]
        await self._store.write_quotes({one.symbol: msgspec.json.encode(one) for one in self._quotes(changed)})
        self._stored_ns[changed] = times
        self._stored_close = closes

    def invalidate(self) -> None:
        """Have all written again."""
        self._stored_ns[:] = 0
        self._stored_close[:] = 0.0
        self._told_ns[:] = 0

    def _as_long(self, written: Indices) -> Indices:
        more = len(self._prices.mark_ns) - len(written)
        return np.concatenate([written, np.zeros(more, np.int64)]) if more else written

    def _known(self) -> dict[str, int]:
        if len(self._places) != len(self._prices.specs):
            self._places = {spec.symbol: index for index, spec in enumerate(self._prices.specs)}
        return self._places

    def _quotes(self, places: Indices) -> list[StoredQuote]:
        prices = self._prices
        chosen = places.tolist()
        closes = np.nan_to_num(prices.prior_close[0, chosen]).tolist()
        times = prices.mark_ns[places]
        marks = np.where(times > 0, prices.mark[places], prices.price[places]).tolist()
        sources = [
            prices.sources[one] if quoted else CLOSE
            for one, quoted in zip(prices.mark_source[places].tolist(), (times > 0).tolist(), strict=True)
        ]
        symbols = [prices.specs[one].symbol for one in chosen]
        return [StoredQuote(*one) for one in zip(symbols, marks, closes, times.tolist(), sources, strict=True)]
