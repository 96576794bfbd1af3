"""Send the followers of a stream what they lack: never faster than asked, never more than they take."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from api.live.metrics import MESSAGES_CONFLATED, TRAFFIC

if TYPE_CHECKING:
    from api.live.client import Client
    from api.live.message import Message
    from api.live.protocol import StreamName
    from api.live.selection import Selection
    from api.live.state import Position
    from api.live.stream import LiveStream

ROOM_BYTES = 64 * 1024  # above this a client is still busy with what it has: its changes are conflated
TOGETHER = (
    64  # cohorts that encode before they all write: the kernel's writing turns our code and data out of the caches
)
COHORTS_AT_ONCE = 512  # that send before the loop looks after everything else again
NOWHERE: Position = (-1, -1)  # where nobody stands
ROUNDING = 1e-6  # of a step: an instant of the grid, computed, must not lie before itself


class Subscription:
    """Hold how far one client has followed a stream; the cohort sends."""

    __slots__ = ("client", "cohort", "held")

    def __init__(self, client: Client, cohort: Cohort, held: Position | None) -> None:
        self.client = client
        self.cohort = cohort
        self.held = held
        cohort.join(self)

    @property
    def name(self) -> StreamName:
        """Return the stream's name."""
        return self.cohort.stream.name

    @property
    def max_hz(self) -> float:
        """Return how many messages a second the client wants at most."""
        return self.cohort.hz

    @property
    def position(self) -> Position | None:
        """Return (epoch, seq) of the last message sent to the client, as that message named it."""
        return None if self.held is None else (self.held[0] + self.cohort.selection.salt, self.held[1])

    @property
    def newest(self) -> Position:
        """Return where the stream stands, whatever the client has had of it."""
        epoch, seq = self.cohort.stream.state.position
        return (epoch + self.cohort.selection.salt, seq) if epoch else (0, 0)

    def end(self) -> None:
        """Send nothing any more."""
        self.cohort.leave(self)


class Cohort:
    """Send all who follow a stream with one rhythm and one selection: one timer, and one message, for all of them.

    There is no queue of deltas: what a client has no room for is conflated into its next message. The instants
    from which on messages may go lie on a grid of `1 / hz`.

    A message goes as something arrives, and not at an instant of the grid with what arrived a while ago: where more
    is expected within a step, judging by the last two arrivals, it is waited for. As many messages then show prices
    that are younger, by half the time between two arrivals.
    """

    __slots__ = ("_due", "_goes_now", "_retry", "_timer", "hz", "members", "selection", "stream")

    def __init__(self, stream: LiveStream, hz: float, selection: Selection) -> None:
        self.stream = stream
        self.hz = hz
        self.selection = selection
        self.members: dict[Subscription, None] = {}  # a dictionary because it keeps the order
        self._due = 0.0
        self._timer: asyncio.Handle | None = None
        self._retry: asyncio.Handle | None = None
        self._goes_now = False

    def join(self, member: Subscription) -> None:
        """Take in a follower; what it lacks it gets at once."""
        self.members[member] = None
        asyncio.get_running_loop().call_soon(self._greet, member)

    def leave(self, member: Subscription) -> None:
        """Let a follower go; with the last one the cohort ends."""
        self.members.pop(member, None)
        if not self.members:
            for handle in (self._timer, self._retry):
                if handle is not None:
                    handle.cancel()
            self._timer = self._retry = None
            self.stream.disband(self)

    def wake(self, now: float) -> None:
        """Say that there may be something new, at `now` on the monotonic clock, which is the loop's."""
        if now < self._due:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_at(self._due, self._fall_due)
        elif not self._goes_now:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._goes_now = None, True
            self.stream.rota.add(self)

    def send(self) -> None:
        """Send all members what they lack; who has no room for it is tried again with what arrives next."""
        self.prepare()
        self.deliver()

    def prepare(self) -> None:
        """Bring the stream up to what has arrived, and encode what most members lack."""
        self._timer, self._goes_now = None, False
        now = max(time.monotonic(), self._due)  # a timer may fire a millisecond early
        self._due = next_instant(now, self.hz, self.stream.phase)
        self.stream.refresh()
        first = next(iter(self.members), None)
        if first is not None and first.client.has_room(ROOM_BYTES):
            self.stream.state.message_after(first.held, time.time_ns(), self.selection)

    def deliver(self) -> None:
        """Send all members what they lack, once it is prepared."""
        behind = self._bring(tuple(self.members))
        if behind or self._retry is not None:
            self._try_again_if(behind)
        self.stream.forget_messages()  # so that the next streams encode into memory that is still warm

    def _try_again_if(self, behind: int) -> None:
        """Try those again who had no room, a while later where nothing new arrives: they change nobody's rhythm."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if behind:
            MESSAGES_CONFLATED.inc(behind)
            again = max(time.monotonic(), self._due) + 1.0 / self.hz
            self._retry = asyncio.get_running_loop().call_at(again, self._catch_up)

    def _catch_up(self) -> None:
        self._retry = None
        newest = self.stream.state.position
        self._try_again_if(self._bring(tuple(one for one in self.members if one.held != newest)))

    def _fall_due(self) -> None:
        expected = self.stream.expected_at
        if self._due < expected <= self._due + 1.0 / self.hz:
            self._timer = asyncio.get_running_loop().call_at(expected, self.send)
        else:
            self.send()

    def _greet(self, member: Subscription) -> None:
        if member in self.members:
            self.stream.refresh()
            if self._bring((member,)) and self._retry is None:
                self._try_again_if(1)

    def _bring(self, members: tuple[Subscription, ...]) -> int:
        """Send followers what they lack; returns how many have no room for it now.

        Nearly all stand at one position, which is one object: what they lack is looked up once.
        """
        state, now, sent_ns = self.stream.state, time.monotonic(), time.time_ns()
        held: Position | None = NOWHERE
        message: Message | None = None
        sent = behind = 0
        for member in members:
            if member.held is not held:
                if not member.client.has_room(ROOM_BYTES):  # nothing is encoded for who does not take it
                    behind += not member.client.closed
                    continue
                _count(message, sent)
                held, sent = member.held, 0
                message = state.message_after(held, sent_ns, self.selection)
            if message is None:
                continue
            if member.client.take(message, ROOM_BYTES, now):
                member.held = state.position
                sent += 1
            elif not member.client.closed:
                behind += 1
        _count(message, sent)
        return behind


class Rota:
    """Have the cohorts that are due at once send one after the other, in one callback of the loop."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[Cohort] = []

    def add(self, cohort: Cohort) -> None:
        """Have a cohort send as soon as the loop comes to it."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._send)
        self._due.append(cohort)

    def _send(self) -> None:
        due, self._due, ready = iter(self._due), [], deque[Cohort]()
        try:
            for _ in range(COHORTS_AT_ONCE // TOGETHER):
                for cohort in itertools.islice(due, TOGETHER):
                    cohort.prepare()
                    ready.append(cohort)
                while ready:
                    ready.popleft().deliver()
        finally:  # the loop logs what goes wrong with one of them, and the others do not wait for it
            for cohort in itertools.chain(ready, due):
                self.add(cohort)


def _count(message: Message | None, sent: int) -> None:
    if message is not None and sent:
        TRAFFIC.messages[message.event] += sent
        TRAFFIC.bytes += sent * len(message.body)


def next_instant(now: float, hz: float, phase: float) -> float:
    """Return the first instant after `now` on the grid of `1 / hz` seconds, shifted by `phase` of a step."""
    step = 1.0 / hz
    return (math.floor(now / step - phase + ROUNDING) + 1 + phase) * step
