from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import pytest
from fakes import eventually
from floors import Desk, book_of, portfolio, totals
from hypothesis import given
from hypothesis import strategies as st

from api.live.codes import BadRequest
from api.live.floor import COLUMNS, FOLDED, FloorPortfolio
from api.live.floor_view import COMPARED, DISTANCES, FloorView, validate
from api.live.protocol import Condition, Order, StreamName, View

FLOOR = StreamName("floor", str(UUID(int=1)))
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "contains": lambda a, b: b in a,
}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(view: FloorView) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return totals and rows, the rows in the order that the totals give."""
    view.refresh()
    message = msgspec.json.decode(view.state.snapshot(1).body)
    rows = {row["portfolio_id"]: row for row in message["rows"]}
    assert sorted(rows) == sorted(message["totals"]["view_order"])
    return message["totals"], [rows[key] for key in message["totals"]["view_order"]]


def recomputed(view: View, rows: list[dict[str, Any]]) -> tuple[int, int, list[dict[str, Any]]]:
    """Apply a view in plain Python: how many match, the first of the window, the window."""
    found = sorted(rows, key=lambda row: (folded(row["client"]), folded(row["name"]), row["portfolio_id"]))
    for one in view.filter:
        found = [row for row in found if COMPARE[one.op](value(one.column, row), folded(one.value))]
    for order in reversed(view.sort):
        found.sort(key=partial(value, order.column), reverse=order.descending)  # stable, either way
    first, count = view.range
    first = max(0, min(first, len(found) - count))
    return len(found), first, found[first : first + count]


def folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def value(column: str, row: dict[str, Any]) -> Any:
    if column == "label":
        return folded(f"{row['client']} {row['name']}")
    return abs(row[DISTANCES[column]]) if column in DISTANCES else folded(row[column])


amounts = st.tuples(st.integers(-5, 5).map(lambda n: n * 100), st.integers(-3, 3))
names = st.text("aAbßé", max_size=2)
portfolios = st.lists(st.tuples(names, names, st.sampled_from(("USD", "EUR", "JPY")), amounts), max_size=14)
conditions = st.one_of(
    st.builds(
        Condition,
        st.sampled_from([name for name in COMPARED if name not in FOLDED]),
        st.sampled_from([op for op in COMPARE if op != "contains"]),
        st.sampled_from([-2.0, -0.01, 0.0, 0.02, 1.0, 3.0]),
    ),
    st.builds(Condition, st.sampled_from(FOLDED), st.sampled_from(list(COMPARE)), names),
)
views = st.builds(
    View,
    sort=st.lists(st.builds(Order, st.sampled_from(COMPARED), st.booleans()), max_size=3).map(tuple),
    filter=st.lists(conditions, max_size=2).map(tuple),
    range=st.tuples(st.integers(0, 20), st.integers(1, 8)),
)


@given(portfolios, views)
def test_a_view_is_what_plain_python_makes_of_the_whole_floor(found: list[Any], view: View) -> None:
    people = [
        FloorPortfolio(f"p{index}", name, client, currency, 0 if currency == "JPY" else 2)
        for index, (name, client, currency, _) in enumerate(found)
    ]
    validate(view)
    desk = Desk(book_of({f"p{index}": one[-1] for index, one in enumerate(found)}), people)
    whole = desk.figures()
    assert whole is not None
    document = whole.document(1, 1)
    rows = [dict(zip(document.columns, row, strict=True)) for row in document.rows.values()]
    got, window = shown(FloorView(FLOOR, view, desk))
    assert (got["view_rows"], got["view_first"], window) == recomputed(view, rows)
    assert {name: got[name] for name in document.totals} == document.totals
    assert round(100 * got["total_equity"]) == sum(round(100 * row["equity_reference"]) for row in rows)
    assert round(100 * got["day_pnl"]) == sum(round(100 * row["day_pnl_reference"]) for row in rows)
    assert round(100 * got["gained"]) + round(100 * got["lost"]) == round(100 * got["day_pnl"])
    assert got["gainers"] + got["losers"] <= got["portfolios"] == len(rows)


def desk_of(**days: int) -> Desk:
    book = book_of({name: (10_000, day) for name, day in days.items()})
    return Desk(book, [portfolio(name) for name in days])


def move(desk: Desk, seq: int, *days: int) -> None:
    assert desk.book.take_totals("0", totals([(10_000, day) for day in days], seq=seq))
    desk.turn()


def order(view: FloorView) -> list[str]:
    found: list[str] = shown(view)[0]["view_order"]
    return found


BY_GAIN = (Order("day_pnl", descending=True),)


def test_the_order_follows_the_figures_and_what_leaves_the_window_is_removed() -> None:
    desk = desk_of(a=3, b=2, c=1)
    view = FloorView(FLOOR, View(sort=BY_GAIN, range=(0, 2)), desk)
    assert order(view) == ["a", "b"]
    held = view.state.position
    move(desk, 2, 3, 2, 9)
    assert order(view) == ["c", "a"]
    delta = view.state.delta_since(held[1], 5)
    assert delta is not None
    message = msgspec.json.decode(delta.body)
    assert (message["removed"], [row["portfolio_id"] for row in message["rows"]]) == (["b"], ["c"])
    assert message["totals"]["view_order"] == ["c", "a"]
    assert message["totals"]["day_pnl"] == 0.28


async def test_an_order_that_rests_keeps_its_rows_while_their_figures_and_the_totals_move_on() -> None:
    desk, clock = desk_of(a=3, b=2, c=1), Clock()
    view = FloorView(FLOOR, View(sort=BY_GAIN, range=(0, 2), reorder_s=3), desk, clock)
    assert order(view) == ["a", "b"]
    move(desk, 2, 3, 4, 9)
    clock.now += 2.9
    whole, rows = shown(view)
    assert [row["day_pnl"] for row in rows] == [0.03, 0.04]
    assert whole["day_pnl"] == 0.32
    clock.now += 0.2
    move(desk, 3, 3, 4, 9)
    assert order(view) == ["c", "b"]


async def test_what_came_while_the_order_rested_is_heeded_though_nothing_follows() -> None:
    desk = desk_of(a=3, b=2, c=1)
    view = FloorView(FLOOR, View(sort=BY_GAIN, range=(0, 2), reorder_s=0.05), desk)
    assert order(view) == ["a", "b"]
    move(desk, 2, 3, 4, 9)
    await eventually(lambda: order(view) == ["c", "b"], "the order has rested")


async def test_an_order_that_rests_is_still_made_anew_when_the_book_changes() -> None:
    desk = desk_of(a=3, b=2, c=1)
    view = FloorView(FLOOR, View(sort=BY_GAIN, range=(0, 2), reorder_s=60), desk, Clock())
    assert order(view) == ["a", "b"]
    desk.portfolios = desk.portfolios[1:]
    desk.turn()
    assert order(view) == ["b", "c"]


def test_a_window_behind_the_last_row_shows_the_last_rows() -> None:
    view = FloorView(FLOOR, View(range=(50, 2)), desk_of(a=3, b=2, c=1))
    assert (shown(view)[0]["view_first"], order(view)) == (1, ["b", "c"])


def test_without_news_nothing_is_numbered() -> None:
    desk = desk_of(a=3)
    view = FloorView(FLOOR, View(), desk)
    order(view)
    held = view.state.position
    order(view)
    assert view.state.position == held
    move(desk, 2, 4)
    order(view)
    assert view.state.position == (held[0], held[1] + 1)


def test_positions_of_two_views_are_never_taken_for_each_other() -> None:
    desk = desk_of(a=3, b=2)
    one, two = (FloorView(FLOOR, View(range=(first, 1)), desk) for first in (0, 1))
    order(one), order(two)
    assert not two.state.can_continue(one.state.position)


def test_a_window_that_many_rows_pass_through_stays_small() -> None:
    desk = desk_of(a=0, b=0, c=0, d=0)
    view = FloorView(FLOOR, View(sort=BY_GAIN, range=(0, 1)), desk)
    for seq in range(2, 60):
        days = [0, 0, 0, 0]
        days[seq % 4] = seq
        move(desk, seq, *days)
        assert len(order(view)) == 1
    delta = view.state.delta_since(view.state.position[1] - 1, 5)
    assert delta is not None
    assert len(msgspec.json.decode(delta.body)["removed"]) == 1


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View(sort=(Order("secret"),)), "no column 'secret'"),
        (View(filter=(Condition("secret", "=", 1.0),)), "no column 'secret'"),
        (View(filter=(Condition("name", "=", 1.0),)), "'name' is compared with text"),
        (View(filter=(Condition("day_pnl", "<", "much"),)), "'day_pnl' is compared with a number"),
        (View(filter=(Condition("day_pnl", "contains", "1"),)), "'day_pnl' holds numbers"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused_with_its_column(view: View, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        validate(view)


@given(portfolios)
def test_what_moves_the_book_is_named(found: list[Any]) -> None:
    desk = Desk(
        book_of({f"p{i}": one[-1] for i, one in enumerate(found)}), [portfolio(f"p{i}") for i in range(len(found))]
    )
    figures = desk.figures()
    assert figures is not None
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in figures.rows().values()]
    moved = sorted((abs(row["day_pnl_reference"]) for row in rows if row["day_pnl_reference"]), reverse=True)
    assert [abs(one["day_pnl_reference"]) for one in figures.totals["movers"]] == moved[:10]
    assert figures.totals["gained"] == pytest.approx(math.fsum(max(row["day_pnl_reference"], 0) for row in rows))
    if rows:
        assert figures.totals["best"]["day_pnl_pct"] == max(row["day_pnl_pct"] for row in rows)
        assert figures.totals["worst"]["day_pnl_pct"] == min(row["day_pnl_pct"] for row in rows)
