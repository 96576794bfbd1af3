"""What a client holds is whole, adds up and cannot be changed; what does not fit changes nothing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alhambra.client.errors import Inconsistent
from alhambra.client.held import Held
from alhambra.client.messages import Delta, Position, Snapshot
from alhambra.client.wanted import Fields, View, Wanted

STREAM = "portfolio:x"
Rows = dict[str, tuple[int, int]]
ROWS = st.dictionaries(st.sampled_from("ABCDE"), st.tuples(st.integers(-(10**14), 10**14), st.integers(-999, 999)))


def totals(rows: Rows) -> dict[str, Any]:
    equity = sum(value for value, _ in rows.values()) / 100
    return {"total_equity": equity, "day_pnl": sum(gain for _, gain in rows.values()) / 100}


def row(symbol: str, value: int, gain: int) -> dict[str, Any]:
    return {"symbol": symbol, "value": value / 100, "day_pnl": gain / 100}


def snapshot(rows: Rows, seq: int = 1) -> Snapshot:
    return Snapshot(STREAM, 1, seq, 0, 0, totals(rows), [row(symbol, *amounts) for symbol, amounts in rows.items()])


def delta(old: Rows, new: Rows, prev: int) -> Delta:
    changed = [row(symbol, *amounts) for symbol, amounts in new.items() if old.get(symbol) != amounts]
    return Delta(STREAM, 1, prev, prev + 1, 0, 0, totals(new), changed, [one for one in old if one not in new])


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_snapshot_and_deltas_make_the_newest_state_and_leave_older_ones_as_they_were(states: list[Rows]) -> None:
    held = Held(Wanted(STREAM))
    held.replace(snapshot(states[0]))
    given_out = [(held.rows, states[0])]
    for seq, (old, new) in enumerate(itertools.pairwise(states), 1):
        held.merge(delta(old, new, seq))
        given_out.append((held.rows, new))
    assert held.position == Position(1, len(states))
    for shown, true in given_out:
        assert {key: dict(one) for key, one in shown.items()} == {one: row(one, *true[one]) for one in true}


@given(ROWS, ROWS.filter(bool), st.integers(1, 10**6), st.sampled_from(["total_equity", "day_pnl"]))
def test_a_delta_that_is_a_cent_off_is_refused_and_changes_nothing(old: Rows, new: Rows, cents: int, name: str) -> None:
    held = Held(Wanted(STREAM))
    held.replace(snapshot(old))
    before = held.position, held.totals, held.rows
    wrong = delta(old, new, 1)
    wrong.totals[name] += cents / 100
    with pytest.raises(Inconsistent, match=name):
        held.merge(wrong)
    assert (held.position, held.totals, held.rows) == before


def changed(message: Delta, **more: Any) -> Delta:
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return Delta(**{**fields, **more})


GOOD = delta({"A": (100, 1)}, {"A": (200, 2)}, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        changed(GOOD, prev=2),
        changed(GOOD, epoch=2),
        changed(GOOD, removed=["Z"]),
        changed(GOOD, rows=[{"value": 2.0}]),
        changed(GOOD, rows=[*GOOD.rows, {"symbol": "B", "value": 0.0}]),
        changed(GOOD, rows=[{"symbol": "A", "value": "2"}]),
        changed(GOOD, totals={"total_equity": None}),
        changed(GOOD, totals={**GOOD.totals, "allocation": {"sector": {"Energy": 1.0}}}),
        changed(GOOD, totals={**GOOD.totals, "allocation": {"sector": None}}),
    ],
)
def test_what_does_not_fit_is_refused(wrong: Delta) -> None:
    held = Held(Wanted(STREAM))
    held.replace(snapshot({"A": (100, 1)}))
    with pytest.raises(Inconsistent):
        held.merge(wrong)
    assert held.position == Position(1, 1)
    held.merge(GOOD)


def test_two_rows_of_one_key_are_no_snapshot() -> None:
    with pytest.raises(Inconsistent, match="two rows"):
        Held(Wanted(STREAM)).replace(Snapshot(STREAM, 1, 1, 0, 0, {}, [row("A", 1, 1), row("A", 2, 2)]))


def test_sums_are_checked_only_where_all_of_them_is_wanted() -> None:
    some = Held(Wanted(STREAM, fields=Fields(totals=("day_pnl",), rows=("value",))))
    some.replace(Snapshot(STREAM, 1, 1, 0, 0, {"day_pnl": 5.0}, [{"symbol": "A", "value": 7.0}]))
    both = Held(Wanted(STREAM, fields=Fields(totals=("day_pnl",), rows=("day_pnl",))))
    with pytest.raises(Inconsistent):
        both.replace(Snapshot(STREAM, 1, 1, 0, 0, {"day_pnl": 5.0}, [{"symbol": "A", "day_pnl": 7.0}]))


def test_the_rows_of_a_window_stand_in_its_order() -> None:
    rows = [{"portfolio_id": one, "equity_reference": 1.0} for one in "abc"]
    held = Held(Wanted("floor:x", view=View()))
    held.replace(Snapshot("floor:x", 1, 1, 0, 0, {"view_order": ["c", "a", "b"], "total_equity": 99.0}, rows))
    assert list(held.rows) == ["c", "a", "b"]
    with pytest.raises(Inconsistent, match="window"):
        held.replace(Snapshot("floor:x", 1, 2, 0, 0, {"view_order": ["c", "d", "b"]}, rows))
