"""Follow a stream of states: hold the newest one, check that nothing is missing, make updates for readers."""

from __future__ import annotations

from typing import Any

from alhambra.client.errors import Inconsistent
from alhambra.client.feed import Feed, Reader, Stage, StreamMessage
from alhambra.client.held import Held
from alhambra.client.messages import NOTHING_YET, AlertMessage, Entry, Position, Snapshot
from alhambra.client.state import Standing, State
from alhambra.client.update import Update
from alhambra.client.wanted import Wanted


class StateFeed(Feed):
    """Follow a stream of states: snapshots, and deltas that continue exactly where the state stands."""

    def __init__(self, wanted: Wanted, standing: Standing) -> None:
        super().__init__(wanted)
        self.held = Held(wanted)
        self.delay_ns = 0
        self.replaced = 0  # how often the state came whole
        self._standing = standing
        self._awaits_snapshot = True
        self._starts_over = False
        self._suspected: Position | None = None
        self._faults = 0

    @property
    def state(self) -> State:
        """Return how the held state stands: not live while the server has not said that it is still good."""
        verified = self.stage is Stage.FOLLOWING and not self._awaits_snapshot
        has_source = self.wanted.kind != "demo"  # which is invented where it is sent
        found = self._standing.state if has_source else self._standing.connection
        return State.STALE if found is State.LIVE and not verified else found

    def ask(self) -> dict[str, Any]:
        """Return the entry of a `subscribe`, with the position held where something is."""
        position = self.held.position
        known = {} if self.held.is_empty or self._starts_over else {"epoch": position.epoch, "seq": position.seq}
        return {**super().ask(), **known}

    def grant(self, entry: Entry) -> None:
        """Take the server's answer: what is held is good, or a snapshot follows."""
        super().grant(entry)
        self._awaits_snapshot = not entry.recovered or self.held.is_empty
        self._suspected = None
        self.notify()

    def take(self, message: StreamMessage) -> None:
        """Take a message; where it does not continue what is held, or does not add up, ask again."""
        if self.stage is not Stage.FOLLOWING or isinstance(message, AlertMessage):
            return
        try:
            if isinstance(message, Snapshot):
                self.held.replace(message)
                self.replaced += 1
                self._awaits_snapshot = self._starts_over = False
            elif self._awaits_snapshot or not self.held.follows(message):
                self.lose()
                return
            else:
                self.held.merge(message)
                self._faults = 0
        except Inconsistent as error:
            self._start_over(error)
        else:
            self._suspected = None
            self.delay_ns = self._standing.clock.server_now_ns() - message.sent_ns
            self.notify()

    def check(self, position: Position | None) -> None:
        """Ask again when two heartbeats in a row name a position that is not held, and nothing came in between."""
        if self.stage is not Stage.FOLLOWING or position == NOTHING_YET:
            return
        if position == self.held.position or (position is None and self._awaits_snapshot):
            self._suspected = None
        elif self._suspected == self.held.position:
            self.lose()
        else:
            self._suspected = self.held.position

    def _start_over(self, error: Inconsistent) -> None:
        """Ask for the whole state; when that happens twice without a good delta in between, give up."""
        self._faults += 1
        self._awaits_snapshot = self._starts_over = True
        if self._faults > 1:
            self.fail(error)
        else:
            self.lose()


class StateReader(Reader):
    """Make updates for one loop: always of the newest state, however many messages it is made of."""

    def __init__(self, feed: StateFeed, standing: Standing) -> None:
        super().__init__(feed)
        self._states = feed
        self._standing = standing
        self._last: Update | None = None
        self._replaced = 0

    def update(self) -> Update | None:
        """Return what is new since the last update, or None where nothing is."""
        feed, last = self._states, self._last
        held = feed.held
        if held.is_empty:
            return None
        rows = {} if last is None else last.rows
        made = Update(
            stream=feed.wanted.stream,
            epoch=held.position.epoch,
            seq=held.position.seq,
            event_ns=held.event_ns,
            sent_ns=held.sent_ns,
            delay_ns=feed.delay_ns,
            totals=held.totals,
            rows=held.rows,
            # A row that did not change is the same object, unless the state came whole.
            changed={key for key, row in held.rows.items() if row is not (old := rows.get(key)) and row != old},
            removed=rows.keys() - held.rows.keys(),
            resynced=feed.replaced != self._replaced,
            source_live=self._standing.source_live,
            state=feed.state,
        )
        if last is not None and _standing(made) == _standing(last):
            return None
        self._last, self._replaced = made, feed.replaced
        return made


def _standing(update: Update) -> tuple[object, ...]:
    return update.epoch, update.seq, update.sent_ns, update.source_live, update.state
