"""Keep the order books of venues that run in tests: the truth with which our top of the book is compared."""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fakes_venues import Answer, Dialect, Wire

DEPTH = 12
HEARTBEAT_EVERY = 10  # beats


def iso_now(ahead_s: float = 0.0) -> str:
    """Return the time as venues write it, such as 2021-04-17T16:43:37.075687Z, by a clock that is ahead of ours."""
    now = datetime.now(UTC) + timedelta(seconds=ahead_s)
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond:06d}Z"


@dataclass(frozen=True, slots=True)
class Change:
    """Say that a level of one side now has this size; 0 where it has gone."""

    side: str  # bid or ask
    price: str
    size: str


class Book:
    """The bids and asks of one symbol, in whole steps of its price and of its size; never crossed, never one-sided."""

    def __init__(self, symbol: str, price: float, digits: int = 2) -> None:
        self.symbol = symbol
        self.digits = digits
        self.number = 1_000  # of its newest change, as Binance numbers them
        self.trades = 0
        self._make(round(price * 10**digits))

    def top(self) -> tuple[float, float]:
        """Return the best bid and the best ask."""
        return self.price_of(max(self.bids)), self.price_of(min(self.asks))

    def price_of(self, steps: int) -> float:
        """Return a price as its decimal text would be read."""
        return float(self.text(steps))

    def text(self, steps: int) -> str:
        """Return a price as decimal text."""
        return f"{steps / 10**self.digits:.{self.digits}f}"

    def levels(self, side: str) -> list[list[str]]:
        """Return all levels of a side as [price, size], the best first."""
        found = self.bids if side == "bid" else self.asks
        return [[self.text(price), _size(found[price])] for price in sorted(found, reverse=side == "bid")]

    def jump(self, price: float) -> list[Change]:
        """Make the whole book anew around a price; the bid is one step below it, the ask one above."""
        before = [("bid", one) for one in self.bids] + [("ask", one) for one in self.asks]
        self._make(round(price * 10**self.digits))
        gone = [Change(side, self.text(one), "0") for side, one in before if one not in self._of(side)]
        sides = (("bid", self.bids), ("ask", self.asks))
        return self._numbered(
            gone + [Change(side, self.text(p), _size(s)) for side, of in sides for p, s in of.items()]
        )

    def change(self, chance: random.Random) -> list[Change]:
        """Change one to three levels near the top."""
        return self._numbered([self._change(chance) for _ in range(chance.randint(1, 3))])

    def trade(self, chance: random.Random) -> tuple[str, int, list[Change]]:
        """Deal at the best price of a side; returns the maker's side, the price in steps and what changed."""
        side = chance.choice(("bid", "ask"))
        of = self._of(side)
        price = max(of) if side == "bid" else min(of)
        left = of[price] - 1
        if left > 0:
            of[price] = left
        elif len(of) > 1:
            del of[price]
        self.trades += 1
        return side, price, self._numbered([Change(side, self.text(price), _size(max(of.get(price, 0), 0)))])

    def _numbered(self, changes: list[Change]) -> list[Change]:
        self.number += len(changes)
        return changes

    def _make(self, middle: int) -> None:
        self.bids = {middle - 1 - step: 5 + step for step in range(DEPTH)}
        self.asks = {middle + 1 + step: 5 + step for step in range(DEPTH)}

    def _of(self, side: str) -> dict[int, int]:
        return self.bids if side == "bid" else self.asks

    def _change(self, chance: random.Random) -> Change:
        side = chance.choice(("bid", "ask"))
        of, best, other = self._of(side), max(self.bids), min(self.asks)
        top, inward = (best, 1) if side == "bid" else (other, -1)
        price = top + inward * chance.randint(-DEPTH, 2)
        if price >= other if side == "bid" else price <= best:
            price = top  # would cross
        size = chance.choice((0, 0, 1, 2, 7, 40))
        if size == 0 and (len(of) < 4 or price not in of):
            size = 3
        if size:
            of[price] = size
        else:
            del of[price]
        return Change(side, self.text(price), _size(size))


def _size(lots: int) -> str:
    return f"{lots / 1000:.8f}"


class Teller(Dialect):
    """What is said on one connection of a venue of books, by what was asked for on it."""

    async def changed(self, book: Book, changes: list[Change]) -> None:
        """Tell that levels have changed."""

    async def traded(self, book: Book, side: str, price: int) -> None:
        """Tell of a deal; its changes have been told."""

    async def heartbeat(self) -> None:
        """Tell that the venue lives."""


class BookMarket(ABC):
    """A venue of order books that move by themselves while `moving`. Nothing is said between a change and its telling.

    `withholds` makes the snapshots of books never come.
    """

    def __init__(self, prices: Mapping[str, float], seed: int = 1, moving: bool = True) -> None:
        self.books = {symbol: Book(symbol, price) for symbol, price in prices.items()}
        self.moving = moving
        self.withholds = False
        self.ahead_s = 0.0  # of the venue's clock
        self.tellers: dict[Wire, Teller] = {}
        # All that was ever true, for whoever asks whether a price that was published is.
        self.true_tops = {symbol: {book.top()} for symbol, book in self.books.items()}
        self.true_deals: dict[str, list[float]] = {symbol: [] for symbol in self.books}
        self._chance = random.Random(seed)
        self.order = asyncio.Lock()
        self._beats = 0

    def top(self, symbol: str) -> tuple[float, float]:
        """Return the best bid and ask of a symbol."""
        return self.books[symbol].top()

    def now(self) -> str:
        """Return the venue's time as text."""
        return iso_now(self.ahead_s)

    def ms(self) -> int:
        """Return the venue's time in milliseconds."""
        return round((time.time() + self.ahead_s) * 1000)

    async def move(self, *symbols: str) -> None:
        """Change the books of these symbols, or of all."""
        for symbol in symbols or self.books:
            await self._tell(self.books[symbol], self.books[symbol].change)

    async def jump(self, symbol: str, price: float) -> None:
        """Make the book of a symbol anew around a price."""
        await self._tell(self.books[symbol], lambda _: self.books[symbol].jump(price))

    async def trade(self, *symbols: str) -> None:
        """Deal in these symbols, or in all."""
        for symbol in symbols or self.books:
            async with self.order:
                book = self.books[symbol]
                side, price, changes = book.trade(self._chance)
                self.true_tops[symbol].add(book.top())
                self.true_deals[symbol].append(book.price_of(price))
                for teller in tuple(self.tellers.values()):
                    await teller.changed(book, changes)
                    await teller.traded(book, side, price)

    async def beat(self) -> None:
        """Move everything a little where the market moves, and tell that the venue lives."""
        self._beats += 1
        if self.moving:
            await self.move()
        if self._beats % HEARTBEAT_EVERY == 0:
            async with self.order:
                for teller in tuple(self.tellers.values()):
                    await teller.heartbeat()

    def dialect(self, wire: Wire, path: str) -> Dialect:
        """Return what speaks on a new connection."""
        self.tellers[wire] = self.teller(wire, path)
        return self.tellers[wire]

    @abstractmethod
    def teller(self, wire: Wire, path: str) -> Teller:
        """Make what speaks on a new connection."""

    def forget(self, wire: Wire) -> None:
        """Let go of a connection."""
        self.tellers.pop(wire, None)

    def document(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Answer that there is nothing here."""
        return Answer(b'{"message":"NotFound"}', 404)

    async def _tell(self, book: Book, change: Callable[[random.Random], list[Change]]) -> None:
        async with self.order:
            changes = change(self._chance)
            self.true_tops[book.symbol].add(book.top())
            for teller in tuple(self.tellers.values()):
                await teller.changed(book, changes)
