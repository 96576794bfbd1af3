"""Invent the totals of stream workers, and an advisor's portfolios in them."""

from __future__ import annotations

import numpy as np

from api.live.floor import FloorBook, FloorFigures, FloorPortfolio
from db.live import Totals, TotalsLayout


class Desk:
    """Give a floor's figures as a `FloorStream` does: newest when told to, joined anew only where the book changes."""

    def __init__(self, book: FloorBook, portfolios: list[FloorPortfolio]) -> None:
        self.book, self.portfolios = book, portfolios
        self.join = book.join(portfolios)
        self.newest: FloorFigures | None = None
        self.turn()

    def turn(self) -> None:
        """Take what the book holds now."""
        self.join = self.book.join(self.portfolios, self.join)
        self.newest = self.book.figures(self.join, {"USD": 2})

    def figures(self) -> FloorFigures | None:
        """Return the figures of the last turn."""
        return self.newest


def totals(amounts: list[tuple[int, int]], epoch: int = 1, seq: int = 1, layout: int = 1) -> Totals:
    """Make a worker's totals from (equity, day P&L) in cents; reference amounts are twice as much."""
    equity = np.array([one for one, _ in amounts], "<i8")
    day = np.array([one for _, one in amounts], "<i8")
    columns = (equity, day, day / 4, 2 * equity, 2 * day, np.full(len(amounts), 0.25, "<f8"))
    return Totals(epoch, seq, seq, seq, layout, "USD", *(column.tobytes() for column in columns))


def portfolio(name: str, digits: int = 2) -> FloorPortfolio:
    """Describe a portfolio in dollars."""
    return FloorPortfolio(name, name.upper(), "Ana Alba", "USD", digits)


def book_of(
    amounts: dict[str, tuple[int, int]], worker: str = "0", epoch: int = 1, book: FloorBook | None = None
) -> FloorBook:
    """Hold one worker's totals of these portfolios, beside what `book` holds."""
    book = book or FloorBook()
    book.take_layout(worker, TotalsLayout(epoch, 1, tuple(amounts)))
    assert book.take_totals(worker, totals(list(amounts.values()), epoch))
    return book
