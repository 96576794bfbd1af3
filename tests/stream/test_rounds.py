"""Everybody has a turn, whoever waited longest first, nobody more often than allowed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.rounds import Round

SECOND_NS = 1_000_000_000


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_every_member_that_is_pending_has_its_turn_within_a_round(size, budget, data) -> None:
    members = np.array(sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1))), np.int64)
    turns, pending = Round(budget, 0), np.ones(size, np.uint8)
    seen: list[int] = []
    for _ in range(-(-len(members) // budget)):
        chosen = turns.due(members, pending, 0).tolist()
        assert len(set(chosen)) == len(chosen) == min(budget, len(members))
        seen += chosen
    assert set(seen) == set(members.tolist())


def test_who_is_not_pending_is_passed_over() -> None:
    turns = Round(2, 0)
    assert turns.due(np.arange(4), np.array([0, 1, 0, 1], np.uint8), 0).tolist() == [1, 3]


def test_a_turn_is_not_taken_again_too_soon() -> None:
    turns, pending = Round(2, SECOND_NS), np.ones(3, np.uint8)
    everybody = turns.first(3)
    first = turns.due(everybody, pending, 0)
    turns.took(first, 0)
    assert turns.due(everybody, pending, 1).tolist() == [2]
    assert len(turns.due(everybody, pending, SECOND_NS)) == 2
    turns.took(everybody, SECOND_NS)
    turns.forget()
    assert len(turns.due(everybody, pending, SECOND_NS + 1)) == 2


def test_members_may_leave_and_come_between_turns() -> None:
    turns, pending = Round(1, 0), np.ones(10, np.uint8)
    assert turns.due(np.array([3, 7]), pending, 0).tolist() == [3]
    assert turns.due(np.array([2, 8]), pending, 0).tolist() == [8]
    assert turns.due(np.array([2]), pending, 0).tolist() == [2]
    assert turns.due(np.array([], np.int64), pending, 0).tolist() == []
