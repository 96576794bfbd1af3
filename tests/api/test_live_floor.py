from __future__ import annotations

from typing import Any

from floors import book_of, portfolio, totals
from hypothesis import given
from hypothesis import strategies as st

from api.live.floor import FloorBook, FloorPortfolio
from api.live.state import Document
from db.live import TotalsLayout


def document(book: FloorBook, portfolios: list[FloorPortfolio]) -> Document | None:
    figures = book.figures(book.join(portfolios), {"USD": 2})
    return None if figures is None else figures.document(3, 4)


def rows_of(document: Document) -> dict[str, dict[str, Any]]:
    return {key: dict(zip(document.columns, row, strict=True)) for key, row in document.rows.items()}


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**10), 10**10)), max_size=30))
def test_totals_are_the_sums_of_the_rows_to_the_cent(amounts: list[tuple[int, int]]) -> None:
    book = book_of({str(index): one for index, one in enumerate(amounts)})
    found = document(book, [portfolio(str(index)) for index in range(len(amounts))])
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
    found = document(book, [portfolio("b", digits=0)])
    assert found is not None
    assert list(found.rows) == ["b"]
    assert (rows_of(found)["b"]["total_equity"], rows_of(found)["b"]["equity_reference"]) == (5000.0, 100.0)
    assert (found.epoch, found.seq) == (3, 4)


def test_portfolios_of_several_workers_stand_on_one_floor_and_the_newest_epoch_wins() -> None:
    book = book_of({"a": (100, 0), "b": (200, 0)})
    book_of({"b": (900, 0), "c": (300, 0)}, worker="1", epoch=2, book=book)
    found = document(book, [portfolio(name) for name in "abcd"])
    assert found is not None
    assert {key: row["total_equity"] for key, row in rows_of(found).items()} == {"a": 1.0, "b": 9.0, "c": 3.0}


def test_totals_of_an_unknown_layout_or_an_older_seq_are_not_taken() -> None:
    book = book_of({"a": (100, 0)})
    assert not book.take_totals("0", totals([(1, 1)], seq=1))
    assert book.needs_layout("0", totals([(1, 1), (2, 2)], seq=2, layout=2))
    assert not book.take_totals("0", totals([(1, 1), (2, 2)], seq=2, layout=2))
    assert book.take_totals("0", totals([(1, 1)], seq=2))


def test_before_any_worker_speaks_there_is_no_floor() -> None:
    assert document(FloorBook(), [portfolio("a")]) is None


def test_figures_stay_with_their_portfolios_while_totals_wait_for_a_newer_layout() -> None:
    book = book_of({"a": (100, 0), "b": (200, 0)})
    book.take_layout("0", TotalsLayout(1, 2, ("b", "c", "a")))
    found = document(book, [portfolio(name) for name in "abc"])
    assert found is not None
    assert {key: row["total_equity"] for key, row in rows_of(found).items()} == {"a": 1.0, "b": 2.0}


def test_a_join_is_kept_until_the_book_or_a_layout_changes() -> None:
    book, people = book_of({"a": (100, 0)}), [portfolio(name) for name in "ab"]
    join = book.join(people)
    assert book.take_totals("0", totals([(150, 0)], seq=2))
    assert book.join(people, join) is join
    assert book.join(list(people), join) is not join
    book.take_layout("0", TotalsLayout(1, 2, ("b", "a")))
    assert book.take_totals("0", totals([(1, 0), (2, 0)], seq=3, layout=2))
    assert book.join(people, join) is not join


def test_a_floor_without_portfolios_has_totals_of_nothing() -> None:
    found = document(book_of({"a": (100, 0)}), [])
    assert found is not None
    assert (found.totals["portfolios"], found.totals["best"], found.totals["movers"]) == (0, None, [])
