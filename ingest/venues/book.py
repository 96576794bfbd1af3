"""Keep one symbol's book of orders as a venue's changes make it, so that its top is known exactly.

A side is a dictionary of prices, and a heap of the prices that have been in it, the best first. A price that has left
the dictionary is dropped from the heap only when it comes to the top: so a change costs the same however deep the book
is, and the best is found without looking through it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from operator import neg
from typing import TypeAlias

MAX_LEVELS = 250_000  # of one side; the deepest book of Coinbase has some 60,000
SMALLEST_HEAP = 1_024

Top: TypeAlias = tuple[float, float, float, float]
"""Bid, its size, ask, its size; 0 where a side is empty."""

NO_TOP: Top = (0.0, 0.0, 0.0, 0.0)


class Side:
    """Keep one side; `sign` is 1 for asks, where the lowest is best, and −1 for bids."""

    __slots__ = ("_room", "_sign", "heap", "levels")

    def __init__(self, sign: float) -> None:
        self.levels: dict[float, float] = {}
        self._sign = sign
        self.heap: list[float] = []
        self._room = SMALLEST_HEAP

    def put(self, price: float, size: float) -> None:
        """Set what stands at a price; a size of 0 removes it, also where nothing stood.

        Raises `ValueError` where that cannot stand in a book, or when the side grows beyond what a venue's book can be.
        """
        if not (0.0 < price < math.inf and 0.0 <= size < math.inf):
            raise ValueError(f"a change to {size} at {price} cannot stand in a book")
        if size == 0.0:
            self.levels.pop(price, None)
            return
        if price not in self.levels:
            heappush(self.heap, price * self._sign)
        self.levels[price] = size
        self.bound()

    def load(self, levels: Iterable[tuple[float, float]]) -> None:
        """Replace the whole side.

        Raises `ValueError` where a level cannot stand in a book, or where there are more than a venue's book can have.
        """
        found = dict(levels)
        # A sum is neither finite with an infinity in it nor with what is no number, and costs no look at each.
        if not math.isfinite(sum(found) + sum(found.values())) or min(found, default=1.0) <= 0.0:
            raise ValueError("a price of the book is not above 0, or a price or a size is not finite")
        least = min(found.values(), default=1.0)
        if least < 0.0:
            raise ValueError("a size of the book is negative")
        self.levels = found if least > 0.0 else {price: size for price, size in found.items() if size}
        self._clean()

    def best(self) -> float:
        """Return the best price, 0 where there is none."""
        heap, levels, sign = self.heap, self.levels, self._sign
        while heap:
            price = heap[0] * sign
            if price in levels:
                return price
            heappop(heap)
        return 0.0

    def bound(self) -> None:
        """Keep the heap near the size of the side; to be called after changes."""
        if len(self.heap) > self._room:
            self._clean()

    def _clean(self) -> None:
        """Forget the prices that have left; with twice the room, that costs each change a fixed share."""
        if len(self.levels) > MAX_LEVELS:
            raise ValueError(f"one side of a book has more than {MAX_LEVELS:,} levels")
        self.heap = list(self.levels) if self._sign > 0.0 else list(map(neg, self.levels))
        heapify(self.heap)
        self._room = max(SMALLEST_HEAP, 2 * len(self.heap))


class Book:
    """Keep both sides."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = Side(-1.0)
        self.asks = Side(1.0)

    def change(self, changes: Iterable[tuple[str, float, float]], top: Top) -> bool:
        """Set what stands at prices of the sides `buy` and `sell`; say whether the top can be another one than it was.

        That is `Side.put` for each change, written out, because books are nearly all that a venue sends. Most changes
        are below the top, and cost no look at it.
        """
        bids, asks = self.bids.levels, self.asks.levels
        bid_heap, ask_heap = self.bids.heap, self.asks.heap
        bid, ask = top[0], top[2] or math.inf
        touched = False
        for side, price, size in changes:
            if not (0.0 < price < math.inf and 0.0 <= size < math.inf):
                raise ValueError(f"a change to {size} at {price} cannot stand in a book")
            if side == "buy":
                touched = touched or price >= bid
                levels, heap, key = bids, bid_heap, -price
            else:
                touched = touched or price <= ask
                levels, heap, key = asks, ask_heap, price
            if size == 0.0:
                levels.pop(price, None)
                continue
            if price not in levels:
                heappush(heap, key)
            levels[price] = size
        self.bids.bound()
        self.asks.bound()
        return touched

    def top(self) -> Top:
        """Return the best of both sides with their sizes."""
        bid, ask = self.bids.best(), self.asks.best()
        return bid, self.bids.levels.get(bid, 0.0), ask, self.asks.levels.get(ask, 0.0)


def crossed(top: Top) -> bool:
    """Say whether somebody bids as much as is asked, which a book of open orders cannot show."""
    return top[2] != 0.0 and top[0] >= top[2]


def readable(price: float, size: float) -> bool:
    """Say whether a level can stand in a book: its price is above 0, its size is 0 or more, both finite."""
    return 0.0 < price < math.inf and 0.0 <= size < math.inf
