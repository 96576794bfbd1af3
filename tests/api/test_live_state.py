from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from fakes_live import Follower
from hypothesis import given
from hypothesis import strategies as st

from api.live.message import Message
from api.live.state import POSITIONS_KEPT, Document, StreamState

COLUMNS = ("symbol", "value", "day_pnl", "name")
SYMBOLS = ("A", "B", "C", "D")
cents = st.integers(-10_000, 10_000)
contents = st.dictionaries(st.sampled_from(SYMBOLS), st.tuples(cents, cents), max_size=4)


def document(values: dict[str, tuple[int, int]], epoch: int, seq: int) -> Document:
    rows = {symbol: (symbol, value / 100, gain / 100, symbol * 2) for symbol, (value, gain) in values.items()}
    parts = {symbol: value / 100 for symbol, (value, _) in values.items()}
    totals = {
        "total_equity": sum(value for value, _ in values.values()) / 100,
        "day_pnl": sum(gain for _, gain in values.values()) / 100,
        "allocation": {"sector": parts},
        "base_currency": "USD",
    }
    return Document(epoch, seq, seq, totals, COLUMNS, rows)


def give(follower: Follower, message: Message | None) -> None:
    if message is not None:
        follower.take(message.event, orjson.loads(message.body))


def cents_of(amounts: Any) -> int:
    return sum(round(100 * amount) for amount in amounts)


def assert_same(follower: Follower, held: Document) -> None:
    rows, totals = follower.rows["portfolio:x"], follower.totals["portfolio:x"]
    assert rows == {key: dict(zip(COLUMNS, row, strict=True)) for key, row in held.rows.items()}
    assert totals == held.totals
    assert cents_of(row["value"] for row in rows.values()) == round(100 * totals["total_equity"])
    assert cents_of(row["day_pnl"] for row in rows.values()) == round(100 * totals["day_pnl"])
    assert cents_of(totals["allocation"]["sector"].values()) == round(100 * totals["total_equity"])


steps = st.lists(
    st.tuples(contents, st.integers(1, 3), st.booleans(), st.sets(st.integers(0, 2))), min_size=1, max_size=25
)


@given(steps)
def test_however_updates_are_conflated_every_client_holds_the_document(
    steps: list[tuple[dict[str, tuple[int, int]], int, bool, set[int]]],
) -> None:
    state = StreamState("portfolio:x", "symbol")
    followers = [Follower() for _ in range(3)]
    epoch, seq = 1, 0
    for values, forward, new_epoch, sent_to in steps:
        epoch, seq = (epoch + 1, 1) if new_epoch else (epoch, seq + forward)
        newest = document(values, epoch, seq)
        assert state.apply(newest)
        for index in sent_to:
            give(followers[index], state.message_after(followers[index].positions.get("portfolio:x"), 7))
            assert_same(followers[index], newest)
    for follower in followers:
        give(follower, state.message_after(follower.positions.get("portfolio:x"), 7))
        assert_same(follower, newest)
        assert follower.gaps == 0


def test_a_delta_names_only_what_changed() -> None:
    state = StreamState("portfolio:x", "symbol")
    state.apply(document({"A": (100, 1), "B": (200, 2)}, 1, 5))
    state.apply(document({"A": (100, 1), "B": (250, 2), "C": (1, 0)}, 1, 6))
    state.apply(document({"B": (250, 2), "C": (1, 0)}, 1, 9))
    content = orjson.loads(state.delta_since(5, 11).body)
    assert (content["prev"], content["seq"], content["sent_ns"]) == (5, 9, 11)
    assert content["rows"] == [
        {"symbol": "B", "value": 2.5},
        {"symbol": "C", "value": 0.01, "day_pnl": 0.0, "name": "CC"},
    ]
    assert content["removed"] == ["A"]
    assert set(content["totals"]) == {"total_equity", "day_pnl", "allocation"}


def test_clients_at_one_position_share_one_message() -> None:
    state = StreamState("portfolio:x", "symbol")
    state.apply(document({"A": (100, 1)}, 1, 1))
    assert state.message_after(None, 1) is state.message_after(None, 2)
    state.apply(document({"A": (101, 1)}, 1, 2))
    assert state.message_after((1, 1), 3) is state.message_after((1, 1), 4)
    assert state.message_after((1, 2), 5) is None


@pytest.mark.parametrize("position", [(1, 4), (1, 6), (2, 5), (0, 0), (1, 10**30)])
def test_a_position_that_was_never_held_here_gets_a_snapshot(position: tuple[int, int]) -> None:
    state = StreamState("portfolio:x", "symbol")
    state.apply(document({"A": (100, 1)}, 1, 5))
    state.apply(document({"A": (101, 1)}, 1, 7))
    message = state.message_after(position, 1)
    assert message is not None
    assert message.event == "snapshot"


def test_older_documents_change_nothing() -> None:
    state = StreamState("portfolio:x", "symbol")
    state.apply(document({"A": (100, 1)}, 2, 5))
    for epoch, seq in ((2, 5), (2, 4), (1, 99)):
        assert not state.apply(document({"B": (1, 1)}, epoch, seq))
    assert state.position == (2, 5)
    assert state.keys() == {"A"}


def test_positions_are_forgotten_after_a_while_and_then_answered_by_a_snapshot() -> None:
    state = StreamState("portfolio:x", "symbol")
    for seq in range(1, POSITIONS_KEPT + 3):
        state.apply(Document(1, seq, seq, {"n": seq}, (), {}))
    assert not state.can_continue((1, 2))
    assert state.can_continue((1, 3))


def test_without_a_document_there_is_nothing_to_say() -> None:
    state = StreamState("portfolio:x", "symbol")
    assert state.message_after(None, 1) is None
    assert state.position == (0, 0)
    with pytest.raises(LookupError):
        state.snapshot(1)


def test_rows_that_come_and_go_for_ever_cost_no_more_memory_and_are_removed_for_who_held_them() -> None:
    state = StreamState("portfolio:x", "symbol")
    tracemalloc.start()
    used = []
    for seq in range(8 * POSITIONS_KEPT):
        state.apply(document({f"S{seq % 5_000}": (1, 0), "A" if seq % 2 else "B": (1, 0)}, 1, seq))
        if seq % POSITIONS_KEPT == POSITIONS_KEPT - 1:
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert used[-1] < 1.5 * max(used[:4])
    oldest = seq - POSITIONS_KEPT + 1
    assert state.can_continue((1, oldest))
    delta = state.delta_since(oldest, 1)
    assert delta is not None
    assert orjson.loads(delta.body)["removed"] == ["B" if seq % 2 else "A", f"S{oldest % 5_000}"]
