from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from api.live.floor import FloorBook, FloorPortfolio
from api.live.state import Document
from db.live import Totals, TotalsLayout


def totals(amounts: list[tuple[int, int]], epoch: int = 1, seq: int = 1, layout: int = 1) -> Totals:
    equity = np.array([one for one, _ in amounts], "<i8")
    day = np.array([one for _, one in amounts], "<i8")
    ratio = np.full(len(amounts), 0.25, "<f8")
    columns = (equity, day, ratio, 2 * equity, 2 * day, ratio)
    return Totals(epoch, seq, seq, seq, layout, "USD", *(column.tobytes() for column in columns))


def rows_of(document: Document) -> dict[str, dict[str, Any]]:
    return {key: dict(zip(document.columns, row, strict=True)) for key, row in document.rows.items()}


def portfolio(name: str, digits: int = 2) -> FloorPortfolio:
    return FloorPortfolio(name, name.upper(), "Ana Alba", "USD", digits)


def book_of(
    amounts: dict[str, tuple[int, int]], worker: str = "0", epoch: int = 1, book: FloorBook | None = None
) -> FloorBook:
    book = book or FloorBook()
    book.take_layout(worker, TotalsLayout(epoch, 1, tuple(amounts)))
    assert book.take_totals(worker, totals(list(amounts.values()), epoch))
    return book


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**10), 10**10)), max_size=30))
def test_totals_are_the_sums_of_the_rows_to_the_cent(amounts: list[tuple[int, int]]) -> None:
    book = book_of({str(index): one for index, one in enumerate(amounts)})
    found = book.document([portfolio(str(index)) for index in range(len(amounts))], 1, 1, {"USD": 2})
    assert found is not None
    assert sum(round(100 * row["equity_reference"]) for row in rows_of(found).values()) == round(
        100 * found.totals["total_equity"]
    )
    assert sum(round(100 * row["day_pnl_reference"]) for row in rows_of(found).values()) == round(
        100 * found.totals["day_pnl"]
    )
    assert found.totals["portfolios"] == len(amounts)


def test_a_row_is_in_its_own_currency_and_digits() -> None:
    book = book_of({"a": (123_456, 100), "b": (5_000, -7)})
    found = book.document([portfolio("b", digits=0)], 3, 4, {"USD": 2})
    assert found is not None
    assert list(found.rows) == ["b"]
    assert (rows_of(found)["b"]["total_equity"], rows_of(found)["b"]["equity_reference"]) == (5000.0, 100.0)
    assert (found.epoch, found.seq) == (3, 4)


def test_portfolios_of_several_workers_stand_on_one_floor_and_the_newest_epoch_wins() -> None:
    book = book_of({"a": (100, 0), "b": (200, 0)})
    book_of({"b": (900, 0), "c": (300, 0)}, worker="1", epoch=2, book=book)
    found = book.document([portfolio(name) for name in "abcd"], 1, 1, {})
    assert found is not None
    assert {key: row["total_equity"] for key, row in rows_of(found).items()} == {"a": 1.0, "b": 9.0, "c": 3.0}


def test_totals_of_an_unknown_layout_or_an_older_seq_are_not_taken() -> None:
    book = book_of({"a": (100, 0)})
    assert not book.take_totals("0", totals([(1, 1)], seq=1))
    assert book.needs_layout("0", totals([(1, 1), (2, 2)], seq=2, layout=2))
    assert not book.take_totals("0", totals([(1, 1), (2, 2)], seq=2, layout=2))
    assert book.take_totals("0", totals([(1, 1)], seq=2))


def test_before_any_worker_speaks_there_is_no_floor() -> None:
    assert FloorBook().document([portfolio("a")], 1, 1, {}) is None
