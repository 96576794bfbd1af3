"""The circuit opens after failures in a window, asks with one call at a time whether it is over, and closes again."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.iboss.breaker import Breaker
from ingest.iboss.latency import Latency

FAILURES, WINDOW_S, PAUSE_S, LONGEST_S = 3, 60.0, 2.0, 8.0


def create() -> Breaker:
    return Breaker(FAILURES, WINDOW_S, PAUSE_S, LONGEST_S)


def fail(breaker: Breaker, *moments_s: float) -> None:
    for one in moments_s:
        assert breaker.admit(one) == 0.0
        breaker.failed(one)


def test_it_opens_after_so_many_failures_within_the_window_and_not_before() -> None:
    breaker = create()
    fail(breaker, 0.0, 50.0, 70.0)
    assert breaker.state(70.0) == "closed"
    fail(breaker, 100.0)
    assert breaker.state(100.0) == "open"
    assert breaker.admit(100.5) == 1.5


def test_after_the_pause_one_probe_is_let_through_and_its_success_closes() -> None:
    breaker = create()
    fail(breaker, 0.0, 0.0, 0.0)
    assert breaker.state(2.0) == "half_open"
    assert breaker.admit(2.0) == 0.0
    assert breaker.admit(2.0) > 0.0
    breaker.succeeded()
    assert breaker.state(2.0) == "closed"
    fail(breaker, 3.0, 3.0)
    assert breaker.state(3.0) == "closed"


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker = create()
    fail(breaker, 0.0, 0.0, 0.0)
    now_s, pauses = 0.0, []
    for _ in range(4):
        pauses.append(breaker.admit(now_s))
        now_s += pauses[-1]
        fail(breaker, now_s)
    assert pauses == [2.0, 4.0, 8.0, 8.0]


def test_a_probe_that_was_cancelled_leaves_room_for_another() -> None:
    breaker = create()
    fail(breaker, 0.0, 0.0, 0.0)
    assert breaker.admit(2.0) == 0.0
    breaker.abandoned()
    assert breaker.admit(2.0) == 0.0


class BreakerRules(RuleBasedStateMachine):
    """Call in any order of outcomes and pauses, as a client does that calls one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = create()
        self.now_s = 0.0
        self.calling = False
        self.failed_s: list[float] = []  # since it last closed
        self.was = "closed"

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: not self.calling)
    @rule()
    def call(self) -> None:
        self.was = self.breaker.state(self.now_s)
        wait_s = self.breaker.admit(self.now_s)
        assert (wait_s == 0.0) == (self.was != "open")
        assert wait_s <= LONGEST_S
        self.calling = wait_s == 0.0

    @precondition(lambda self: self.calling)
    @rule()
    def succeed(self) -> None:
        self.calling = False
        self.breaker.succeeded()
        assert self.breaker.state(self.now_s) == "closed"
        if self.was == "half_open":
            self.failed_s.clear()

    @precondition(lambda self: self.calling)
    @rule()
    def fail(self) -> None:
        self.calling = False
        self.breaker.failed(self.now_s)
        self.failed_s.append(self.now_s)
        recent = [one for one in self.failed_s if self.now_s - one <= WINDOW_S]
        expected = self.was == "half_open" or len(recent) >= FAILURES
        assert (self.breaker.state(self.now_s) == "open") == expected

    @precondition(lambda self: self.calling)
    @rule()
    def abandon(self) -> None:
        self.calling = False
        self.breaker.abandoned()

    @invariant()
    def it_can_always_be_asked_again_soon(self) -> None:
        assert self.calling or self.breaker.state(self.now_s + LONGEST_S) != "open"


TestBreakerRules = BreakerRules.TestCase


def test_the_percentile_is_of_the_last_five_minutes_and_of_twenty_calls_at_least() -> None:
    latency = Latency()
    for number in range(19):
        latency.add(float(number), 9.0)
    assert latency.p95(20.0) is None
    for number in range(100):
        latency.add(400.0, 0.1 if number < 95 else 0.9)
    assert latency.p95(400.0) == 0.1
    latency.add(400.0, 0.9)
    assert latency.p95(400.0) == 0.9
    assert latency.p95(701.0) is None
