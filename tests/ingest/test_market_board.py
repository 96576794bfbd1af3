import math

import numpy as np
import pytest
from fakes_market import Letters

from ingest.market.board import Board
from ingest.market.outliers import Reference
from ingest.market.quarantine import Quarantine
from ingest.market.selection import GRACE_NS
from stream.messages import QUOTES_TOPIC, QuoteBatch, decode_quotes

S = 1_000_000_000
T0 = 1_800_000_000 * S
LATER = T0 + GRACE_NS + S


def board_of(*names: str) -> Board:
    board = Board(names, T0)
    board.follow([Reference(1, "equity", 100.0), Reference(2, "equity", 50.0)], T0)
    for source in range(len(names)):
        board.rank(source, {1: float(source), 2: float(source)})
    return board


def quotes(name: str, number: int, price: float, at_ns: int, event_ns: int | None = None) -> QuoteBatch:
    column = np.array([price])
    nothing = np.array([math.nan])
    when = np.array([at_ns if event_ns is None else event_ns], np.int64)
    return QuoteBatch(name, at_ns, np.array([number], np.uint32), nothing, nothing, column, nothing, when)


@pytest.fixture
def quarantine() -> Quarantine:
    return Quarantine("first", Letters().refuse)


def passed(found: tuple[int, list[QuoteBatch]]) -> list[tuple[str, float, int]]:
    return [(one.source, float(one.last[0]), int(one.event_ns[0])) for one in found[1]]


def test_only_the_chosen_feeds_quotes_are_passed_on(quarantine: Quarantine):
    board = board_of("first", "second")
    assert passed(board.take(0, quotes("first", 1, 100.0, T0), quarantine)) == [("first", 100.0, T0)]
    assert board.take(1, quotes("second", 1, 101.0, T0), quarantine) == (1, [])


def test_what_was_held_is_passed_on_when_its_feed_takes_over_and_dated_no_earlier(quarantine: Quarantine):
    board = board_of("first", "second")
    board.take(1, quotes("second", 1, 101.0, LATER, T0), quarantine)
    board.take(0, quotes("first", 1, 100.0, LATER + S), quarantine)
    board.take(0, quotes("first", 1, 100.5, LATER + 4 * S), quarantine)
    live = np.zeros(board.size, bool)
    board.selection.report(0, live, live, LATER + 5 * S)
    (held,) = board.look(LATER + 5 * S)
    assert (held.source, held.last.tolist(), held.event_ns.tolist()) == ("second", [101.0], [LATER + 4 * S])
    assert [(one.old, one.new) for one in board.switched] == [(-1, 1), (1, 0), (0, 1)]


def test_a_clock_that_is_behind_does_not_keep_a_feed_from_taking_over(quarantine: Quarantine):
    board = board_of("first", "second")
    board.take(0, quotes("first", 1, 100.0, LATER), quarantine)
    live = np.zeros(board.size, bool)
    board.selection.report(0, live, live, LATER + S)
    late = board.take(1, quotes("second", 1, 101.0, LATER + S, LATER - 3 * S), quarantine)
    assert passed(late) == [("second", 101.0, LATER)]


def test_what_was_shown_before_this_run_is_not_newer_than_its_first_quote(quarantine: Quarantine):
    board = board_of("first")
    board.recall({1: T0 - 5, 99: T0})
    assert passed(board.take(0, quotes("first", 1, 100.0, T0, T0 - S), quarantine)) == [("first", 100.0, T0 - 5)]


def test_a_replay_keeps_its_own_times_and_levels(quarantine: Quarantine):
    board = board_of("first")
    board.recall({1: T0})
    found = board.take(0, quotes("first", 1, 9_999.0, T0, 7), quarantine, judged=False, dated=False)
    assert passed(found) == [("first", 9_999.0, 7)]


async def test_what_is_wrong_goes_to_quarantine_with_its_reason_and_can_be_put_back():
    letters = Letters()
    quarantine, board = Quarantine("first", letters.refuse), board_of("first")
    for number, price in ((1, 100.0), (1, 900.0), (1, -1.0), (7, 1.0), (2, math.nan), (1, 950.0)):
        board.take(0, quotes("first", number, price, T0), quarantine)
    await quarantine.flush()
    assert quarantine.reasons == {"far_from_last": 2, "not_positive": 1, "unknown_instrument": 1, "no_price": 1}
    assert {letter.reason: letter.count for letter in letters} == dict(quarantine.reasons)
    first = next(letter for letter in letters if letter.reason == "far_from_last")
    assert first.topic == QUOTES_TOPIC
    assert decode_quotes(first.payload).last.tolist() == [900.0]


async def test_a_flood_of_refusals_is_one_letter_a_reason():
    letters = Letters()
    quarantine = Quarantine("first", letters.refuse)
    for _ in range(10_000):
        quarantine.add_record("unreadable", "not JSON", b"x" * 100_000, T0)
    await quarantine.flush()
    await quarantine.flush()
    assert [(letter.reason, letter.count, len(letter.payload)) for letter in letters] == [("unreadable", 10_000, 4096)]


def test_a_new_instrument_is_known_when_the_bank_says_so(quarantine: Quarantine):
    board = board_of("first")
    references = [Reference(number, "equity", math.nan) for number in (1, 2, 5)]
    board.follow(references, T0)
    board.rank(0, dict.fromkeys((1, 2, 5), 0.0))
    assert passed(board.take(0, quotes("first", 5, 7.0, T0), quarantine)) == [("first", 7.0, T0)]
