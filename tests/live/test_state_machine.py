"""Let everything happen to a stream on its way, in any order: what a client holds is always some true state, and after
quiet the newest."""

from __future__ import annotations

from typing import Any

import orjson
from fakes_live import Follower, adds_up
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from api.live.message import Message
from api.live.protocol import Fields
from api.live.selection import EVERYTHING, Selection, select
from api.live.state import Document, Position, StreamState

STREAM = "portfolio:x"
COLUMNS = ("symbol", "value", "day_pnl", "name")
TOTALS = ("total_equity", "day_pnl", "allocation", "base_currency")
SELECTIONS = tuple(
    select(fields, TOTALS, COLUMNS)
    for fields in (Fields(), Fields(("total_equity",), ("value",)), Fields((), ("day_pnl",)), Fields(None, ()))
)
CLIENTS = 3
SETTLES_WITHIN = 6  # rounds: what was on its way, a heartbeat, an answer

cents = st.integers(-1000, 1000)
contents = st.fixed_dictionaries({}, optional=dict.fromkeys("ABCD", st.tuples(cents, cents)))
clients = st.integers(0, CLIENTS - 1)
anywhere = st.integers(0, 1000)
mostly = st.sampled_from((True, True, True, False))


def create_document(values: dict[str, tuple[int, int]], epoch: int, seq: int) -> Document:
    parts = {symbol: value / 100 for symbol, (value, _) in values.items()}
    totals = {
        "total_equity": sum(value for value, _ in values.values()) / 100,
        "day_pnl": sum(gain for _, gain in values.values()) / 100,
        "allocation": {"sector": parts},
        "base_currency": "USD",
    }
    rows = {symbol: (symbol, value / 100, gain / 100, symbol * 2) for symbol, (value, gain) in values.items()}
    return Document(epoch, seq, seq, totals, COLUMNS, rows)


class Reader:
    """A client, the server's notion of it, and the wire between the two."""

    def __init__(self) -> None:
        self.follower = Follower()
        self.wants = EVERYTHING
        self.has = EVERYTHING  # which fields of what it holds are there: those of its last snapshot
        self.sent_up_to: Position | None = None
        self.wire: list[tuple[Message, Selection]] = []

    @property
    def holds(self) -> Position | None:
        """Return the position as the source counts it."""
        found = self.follower.positions.get(STREAM)
        return None if found is None else (found[0] - self.has.salt, found[1])

    def connect(self, server: StreamState) -> None:
        """Come back on a new connection: what was on its way is lost."""
        self.wire.clear()
        self.subscribe(server)

    def subscribe(self, server: StreamState) -> None:
        """Ask to go on from what is held, and with the fields that are wanted now."""
        named = self.follower.positions.get(STREAM)
        position = None if named is None else (named[0] - self.wants.salt, named[1])
        self.sent_up_to = position if server.can_continue(position) else None

    def send(self, server: StreamState) -> None:
        """Be sent what is lacking, as the server does when there is room."""
        message = server.message_after(self.sent_up_to, 7, self.wants)
        if message is not None:
            self.wire.append((message, self.wants))
            self.sent_up_to = server.position

    def take(self, server: StreamState, count: int) -> None:
        """Take what has come, and subscribe again where something is missing."""
        taken, self.wire = self.wire[:count], self.wire[count:]
        for message, selection in taken:
            if message.event == "snapshot":
                self.has = selection
            if not self.follower.apply(message.event, orjson.loads(message.body)):
                self.subscribe(server)

    def hear_heartbeat(self, server: StreamState) -> None:
        """Be told which position was sent last; subscribe again where that is not what is held."""
        if self.sent_up_to is not None and (self.sent_up_to, self.wants) != (self.holds, self.has):
            self.subscribe(server)


def seen_with(selection: Selection, document: Document) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return totals and rows as who selected these fields must see them."""
    columns = set(COLUMNS if selection.rows is None else {*selection.rows, "symbol"})
    rows = {
        key: {name: value for name, value in zip(COLUMNS, row, strict=True) if name in columns}
        for key, row in document.rows.items()
    }
    wanted = document.totals if selection.totals is None else selection.totals
    return {name: document.totals[name] for name in wanted}, rows


class Delivery(RuleBasedStateMachine):
    """A source, a channel that does what Redis may do, the server's state, and clients on wires that break."""

    def __init__(self) -> None:
        super().__init__()
        self.server = StreamState(STREAM, "symbol")
        self.readers = [Reader() for _ in range(CLIENTS)]
        self.truth: dict[Position, Document] = {}
        self.on_its_way: list[Document] = []
        self.epoch, self.seq = 1, 0

    @initialize(values=contents)
    def begin(self, values: dict[str, tuple[int, int]]) -> None:
        self.publish(values, 1, True)

    @rule(values=contents, forward=st.integers(1, 3), at_once=mostly)
    def publish(self, values: dict[str, tuple[int, int]], forward: int, at_once: bool) -> None:
        self.seq += forward
        document = create_document(values, self.epoch, self.seq)
        self.truth[self.epoch, self.seq] = document
        self.on_its_way.append(document)
        if at_once:
            self.arrive(-1)

    @rule(values=contents, seq=st.integers(1, 5), at_once=mostly)
    def publish_in_a_new_epoch(self, values: dict[str, tuple[int, int]], seq: int, at_once: bool) -> None:
        self.epoch, self.seq = self.epoch + 1, 0
        self.publish(values, seq, at_once)

    @rule(which=anywhere)
    def arrive(self, which: int) -> None:
        """Arrive in any order: what was overtaken is older then."""
        if self.on_its_way:
            self.server.apply(self.on_its_way.pop(which % len(self.on_its_way)))

    @rule(which=anywhere)
    def arrive_again(self, which: int) -> None:
        if self.server.position != (0, 0):
            known = [document for position, document in self.truth.items() if position <= self.server.position]
            assert not self.server.apply(known[which % len(known)])

    @rule(which=anywhere)
    def be_lost(self, which: int) -> None:
        if self.on_its_way:
            self.on_its_way.pop(which % len(self.on_its_way))

    @rule()
    def read_anew(self) -> None:
        """Read what is stored, as after the link to Redis was connected again."""
        self.server.apply(self.truth[max(self.truth)])

    @rule(one=clients, count=st.integers(0, 3))
    def talk(self, one: int, count: int) -> None:
        """Send what a client lacks; it takes some of what has come, or is slow and takes nothing."""
        self.readers[one].send(self.server)
        self.readers[one].take(self.server, count)

    @rule(one=clients)
    def come_back(self, one: int) -> None:
        self.readers[one].connect(self.server)

    @rule(one=clients, wants=st.sampled_from(SELECTIONS))
    def choose_fields(self, one: int, wants: Selection) -> None:
        self.readers[one].wants = wants
        self.readers[one].subscribe(self.server)

    @rule(one=clients, which=anywhere, fault=st.sampled_from(("lose", "repeat", "delay")))
    def disturb_the_wire(self, one: int, which: int, fault: str) -> None:
        if wire := self.readers[one].wire:
            message = wire[which % len(wire)] if fault == "repeat" else wire.pop(which % len(wire))
            if fault != "lose":
                wire.append(message)

    @rule()
    def be_quiet(self) -> None:
        """Let all arrive: then everybody holds the newest state."""
        self.read_anew()
        newest = self.truth[self.server.position]
        for reader in self.readers:
            for _ in range(SETTLES_WITHIN):
                reader.send(self.server)
                reader.take(self.server, len(reader.wire))
                reader.hear_heartbeat(self.server)
            held = reader.follower.totals[STREAM], reader.follower.rows[STREAM]
            assert held == seen_with(reader.wants, newest)

    @invariant()
    def what_is_held_was_true(self) -> None:
        for reader in self.readers:
            if reader.holds is not None:
                held = reader.follower.totals[STREAM], reader.follower.rows[STREAM]
                assert held == seen_with(reader.has, self.truth[reader.holds])
                if reader.has is EVERYTHING:
                    adds_up(reader.follower, STREAM)

    def teardown(self) -> None:
        if self.truth:
            self.be_quiet()


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
