"""Whatever a connection does to messages, a feed shows what was true, notices every gap, and ends with the newest."""

from __future__ import annotations

import json

from fakes_client import STREAM, Bank, Position
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alhambra.client import messages
from alhambra.client.feed import Stage
from alhambra.client.messages import Delta, Entry, Snapshot, parse_message
from alhambra.client.state import Standing, State
from alhambra.client.state_feed import StateFeed, StateReader
from alhambra.client.wanted import Wanted


class Connection(RuleBasedStateMachine):
    """Publish, and lose, repeat and reorder what is sent; subscribe where the feed asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = Bank()
        standing = Standing()
        standing.is_now(State.LIVE, source_live=True)
        self.feed = StateFeed(Wanted(STREAM), standing)
        self.reader = StateReader(self.feed, standing)
        self.sent: Position | None = None  # up to where the server has sent
        self.under_way: list[Snapshot | Delta] = []

    @rule(seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
    def publish(self, seeds: list[int]) -> None:
        """Publish, and send it as one message."""
        for seed in seeds:
            self.bank.random.seed(seed)
            self.bank.tick()
        self.send()

    @rule()
    def deliver(self) -> None:
        while self.under_way:
            self.feed.take(self.under_way.pop(0))

    @precondition(lambda self: self.under_way)
    @rule(seed=st.integers(0, 10**6))
    def lose(self, seed: int) -> None:
        """Lose a message, of which only the next one can tell."""
        self.under_way.pop(0)
        self.publish([seed])
        self.deliver()

    @precondition(lambda self: self.under_way)
    @rule()
    def lose_the_last(self) -> None:
        self.under_way.pop()

    @precondition(lambda self: self.under_way)
    @rule()
    def deliver_twice(self) -> None:
        self.feed.take(self.under_way[0])

    @precondition(lambda self: len(self.under_way) > 1)
    @rule()
    def swap(self) -> None:
        self.under_way.insert(0, self.under_way.pop(1))

    @precondition(lambda self: len(self.bank.history) % 5 == 0)
    @rule(epoch=st.booleans(), forgets=st.booleans())
    def cut(self, epoch: bool, forgets: bool) -> None:
        """Cut the connection; the next server may know nothing of the position, or of a new epoch."""
        self.feed.lose()
        self.under_way.clear()
        if epoch:
            self.bank.begin_epoch()
        self.subscribe(forgets)

    @precondition(lambda self: not self.under_way)
    @rule()
    def beat(self) -> None:
        self.feed.check(None if self.sent is None else messages.Position(*self.sent))

    def send(self) -> None:
        if self.feed.stage is Stage.WANTED:
            self.subscribe()
        newest = (self.bank.epoch, self.bank.seq)
        if self.sent != newest:
            message = parse_message(json.dumps(self.bank.message_after(self.sent)))
            assert isinstance(message, Snapshot | Delta)
            self.under_way.append(message)
            self.sent = newest

    def subscribe(self, forgets: bool = False) -> None:
        """Subscribe as the feed asks; what was under way belongs to the older subscription."""
        asked = self.feed.ask()
        self.deliver()
        held = (asked.get("epoch", 0), asked.get("seq", 0))
        recovered = not forgets and held in self.bank.history and held[0] == self.bank.epoch
        self.sent = held if recovered else None
        self.feed.grant(Entry(STREAM, self.bank.epoch, self.bank.seq, recovered))

    @invariant()
    def what_is_shown_was_true(self) -> None:
        update = self.reader.update()
        if update is not None:
            assert self.bank.is_true(update)

    def teardown(self) -> None:
        """Let it become quiet: then the newest state is held, and known to be."""
        for _ in range(3):
            self.send()
            self.deliver()
            for _ in range(2):
                self.beat()
        assert self.feed.error is None
        assert (self.feed.held.position.epoch, self.feed.held.position.seq) == (self.bank.epoch, self.bank.seq)
        assert self.feed.state is State.LIVE
        self.what_is_shown_was_true()


Connection.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFeed = Connection.TestCase


def test_what_belongs_to_an_older_subscription_is_not_taken() -> None:
    standing, bank = Standing(), Bank()
    feed = StateFeed(Wanted(STREAM), standing)
    message = parse_message(json.dumps(bank.message_after(None)))
    assert isinstance(message, Snapshot)
    feed.ask()
    feed.take(message)  # perhaps with other fields, or of another view
    assert feed.held.is_empty
    feed.grant(Entry(STREAM, 1, 1, recovered=False))
    feed.take(message)
    assert feed.held.position == messages.Position(1, 1)
