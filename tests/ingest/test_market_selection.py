from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest.market.selection import GRACE_NS, NOBODY, STEADY_NS, Selection

S = 1_000_000_000
T0 = 1_800_000_000 * S
ONE = np.array([0], np.uint32)
YES, NO = np.array([True]), np.array([False])
LATER = T0 + GRACE_NS + 60 * S


def selection_of(*ranks: float) -> Selection:
    selection = Selection(len(ranks), T0)
    selection.follow(1)
    for source, rank in enumerate(ranks):
        selection.rank(source, np.array([rank]))
    return selection


def counts(selection: Selection, source: int, now_ns: int) -> bool:
    return bool(selection.take(source, ONE, now_ns)[0][0])


def test_the_first_to_speak_counts_when_nobody_better_is_expected():
    assert counts(selection_of(0.0, 1.0), 0, T0)
    assert counts(selection_of(np.inf, 1.0), 1, T0)


def test_in_the_first_seconds_a_better_feed_is_waited_for():
    selection = selection_of(0.0, 1.0)
    assert not counts(selection, 1, T0)
    assert counts(selection, 0, T0 + S)
    assert not counts(selection, 1, T0 + 2 * S)


def test_a_feed_that_never_comes_is_not_waited_for_longer():
    selection = selection_of(0.0, 1.0)
    assert not counts(selection, 1, T0 + GRACE_NS - 1)
    assert counts(selection, 1, T0 + GRACE_NS)


def test_the_next_best_takes_over_when_the_chosen_one_is_not_live_even_if_it_says_nothing_just_then():
    selection = selection_of(0.0, 2.0, 1.0)
    for source in (0, 1, 2):
        selection.take(source, ONE, T0)
    selection.report(0, NO, NO, T0 + S)
    (switch,) = selection.look(T0 + S)
    assert (switch.old, switch.new, switch.instruments.tolist()) == (0, 2, [0])


def test_it_takes_back_only_when_it_has_been_steady():
    selection = selection_of(0.0, 1.0)
    selection.take(0, ONE, T0)
    selection.take(1, ONE, T0)
    selection.report(0, NO, NO, LATER)
    assert counts(selection, 1, LATER)
    assert not counts(selection, 0, LATER + S)
    assert selection.look(LATER + S + STEADY_NS - 1) == []
    assert counts(selection, 0, LATER + S + STEADY_NS)


def test_one_that_comes_and_goes_takes_nothing_back():
    selection = selection_of(0.0, 1.0)
    selection.take(0, ONE, T0)
    selection.take(1, ONE, T0)
    now = LATER
    selection.report(0, NO, NO, now)
    selection.look(now)
    for _ in range(50):
        now += S
        selection.take(0, ONE, now)
        assert selection.look(now) == []
        selection.report(0, NO, NO, now + S // 2)
    assert selection.chosen.tolist() == [1]


def test_where_nobody_is_live_the_last_one_stays():
    selection = selection_of(0.0, 1.0)
    selection.take(0, ONE, T0)
    selection.report(0, NO, NO, LATER)
    assert selection.look(LATER) == []
    assert selection.chosen.tolist() == [0]


def test_a_feed_that_was_only_silent_may_stand_in_with_what_it_said_and_one_that_was_lost_may_not():
    for held, chosen in ((YES, 1), (NO, 0)):
        selection = selection_of(0.0, 1.0)
        selection.take(0, ONE, T0)
        selection.take(1, ONE, T0)
        selection.report(1, NO, held, T0 + S)
        selection.report(1, YES, held, T0 + 2 * S)
        selection.report(0, NO, NO, LATER)
        selection.look(LATER)
        assert selection.chosen.tolist() == [chosen]


def test_the_banks_ranks_are_by_instrument():
    selection = Selection(2, T0)
    selection.follow(2)
    selection.rank(0, np.array([0.0, 5.0]))
    selection.rank(1, np.array([1.0, 0.0]))
    both = np.array([0, 1], np.uint32)
    selection.take(0, both, LATER)
    counted, _ = selection.take(1, both, LATER)
    assert counted.tolist() == [False, False]
    selection.look(LATER + STEADY_NS)
    assert selection.chosen.tolist() == [0, 1]


def test_a_feed_that_does_not_quote_an_instrument_any_more_loses_it():
    selection = selection_of(0.0, 1.0)
    selection.take(0, ONE, T0)
    selection.rank(0, np.array([np.inf]))
    assert selection.chosen.tolist() == [NOBODY]


@dataclass
class Feed:
    """What the test knows of a feed."""

    live: bool = False
    spoke: bool = False
    since_ns: int = 0


class Feeds(RuleBasedStateMachine):
    """Feeds that come and go as they like; ranks differ by instrument."""

    SOURCES, INSTRUMENTS = 3, 4

    @initialize(ranks=st.lists(st.permutations([0.0, 1.0, 2.0]), min_size=4, max_size=4))
    def begin(self, ranks: list[list[float]]) -> None:
        self.selection = Selection(self.SOURCES, T0 - GRACE_NS)
        self.selection.follow(self.INSTRUMENTS)
        self.ranks = np.array(ranks).T
        for source in range(self.SOURCES):
            self.selection.rank(source, self.ranks[source])
        self.feeds = [[Feed() for _ in range(self.INSTRUMENTS)] for _ in range(self.SOURCES)]
        self.now = T0

    @rule(seconds=st.floats(0.0, 5.0))
    def time_passes(self, seconds: float) -> None:
        self.now += round(seconds * S)
        self.look()

    @rule(source=st.integers(0, 2), instruments=st.sets(st.integers(0, 3), min_size=1))
    def speak(self, source: int, instruments: set[int]) -> None:
        before = self.selection.chosen.copy()
        ids = np.array(sorted(instruments), np.uint32)
        counted, _ = self.selection.take(source, ids, self.now)
        for number in instruments:
            feed = self.feeds[source][number]
            if not (feed.live and feed.spoke):
                feed.since_ns = self.now
            feed.live = feed.spoke = True
        assert counted.tolist() == [int(self.selection.chosen[number]) == source for number in ids]
        self.note(before)

    @rule(source=st.integers(0, 2), down=st.sets(st.integers(0, 3), min_size=1), lost=st.booleans())
    def fail(self, source: int, down: set[int], lost: bool) -> None:
        for number in down:
            feed = self.feeds[source][number]
            feed.live, feed.spoke = False, feed.spoke and not lost
        live = np.array([one.live for one in self.feeds[source]])
        held = np.array([one.live or (one.spoke and not lost) for one in self.feeds[source]])
        self.selection.report(source, live, held, self.now)
        self.look()

    def look(self) -> None:
        before = self.selection.chosen.copy()
        self.selection.look(self.now)
        self.note(before)

    def note(self, before: np.ndarray) -> None:
        """Whoever is live is left only for a better one that is steady."""
        for number in np.flatnonzero(before != self.selection.chosen).tolist():
            old, new = int(before[number]), int(self.selection.chosen[number])
            assert new in self.eligible(number)
            if old != NOBODY and old in self.eligible(number):
                assert self.ranks[new][number] < self.ranks[old][number]
                assert self.now - self.feeds[new][number].since_ns >= STEADY_NS

    def eligible(self, number: int) -> list[int]:
        return [s for s in range(self.SOURCES) if self.feeds[s][number].live and self.feeds[s][number].spoke]

    @precondition(lambda self: hasattr(self, "selection"))
    @invariant()
    def the_chosen_one_is_the_best_that_is_steady(self) -> None:
        self.look()
        for number in range(self.INSTRUMENTS):
            chosen, able = int(self.selection.chosen[number]), self.eligible(number)
            if not able:
                continue
            assert chosen in able, "one that is not live counts while another is"
            better = [s for s in able if self.ranks[s][number] < self.ranks[chosen][number]]
            assert all(self.now - self.feeds[s][number].since_ns < STEADY_NS for s in better)


TestFeeds = Feeds.TestCase
TestFeeds.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
