from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from uuid import uuid4

from fakes import eventually
from hypothesis import given
from hypothesis import strategies as st

from api.auth.identity import Identity, Session
from api.live.client import LIMIT_BYTES, Client
from api.live.message import Message
from api.live.protocol import StreamName
from api.live.selection import EVERYTHING
from api.live.state import Document
from api.live.stream import LiveStream
from api.live.subscription import ROOM_BYTES, ROUNDING, next_instant


class FakeTransport:
    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.waiting = 0
        self.aborted = False
        self.codes: list[int] = []
        self.told: Callable[[], None] = lambda: None

    def send(self, message: Message) -> None:
        self.sent.append(message)
        self.told()

    def send_at_once(self, message: Message) -> bool:
        if not self.waiting:
            self.send(message)
        return not self.waiting

    def backlog(self) -> int:
        return self.waiting

    def close(self, code: int) -> None:
        self.codes.append(code)

    def abort(self) -> None:
        self.aborted = True


class CountingStream(LiveStream):
    """Be a stream whose document is a number."""

    def __init__(self) -> None:
        super().__init__(StreamName("portfolio", str(uuid4())), "symbol")

    def set(self, number: int) -> None:
        self.state.apply(Document(1, number, number, {"n": number}, (), {}))
        self.wake()

    def refresh(self) -> None:
        pass


def follow(hz: float = 20.0, stalled_s: float = 15.0) -> tuple[FakeTransport, Client, CountingStream]:
    stream = CountingStream()
    return *join(stream, hz, stalled_s), stream


def join(stream: CountingStream, hz: float, stalled_s: float = 15.0) -> tuple[FakeTransport, Client]:
    transport = FakeTransport()
    client = Client(Identity(uuid4(), "client", "Ana", "en", Session("page", uuid4())), transport, stalled_s)
    client.subscriptions["n"] = stream.follow(client, hz, EVERYTHING, None)
    return transport, client


async def test_changes_are_conflated_to_the_rate_asked_for() -> None:
    transport, client, stream = follow(hz=5)
    began = asyncio.get_running_loop().time()
    for number in range(1, 60):
        stream.set(number)
        await asyncio.sleep(0.01)
    seconds = asyncio.get_running_loop().time() - began
    await eventually(lambda: client.subscriptions["n"].position == (1, 59))
    assert 2 <= len(transport.sent) <= 5 * seconds + 3


async def test_a_message_goes_as_something_arrives_and_not_with_what_arrived_before() -> None:
    transport, _, stream = follow(hz=5)
    loop = asyncio.get_running_loop()
    arrived, ages = 0.0, []
    transport.told = lambda: ages.append(loop.time() - arrived)
    for number in range(1, 40):
        arrived = loop.time()
        stream.set(number)
        await asyncio.sleep(0.04)
    assert len(ages) >= 5
    assert statistics.median(ages) < 0.01


async def test_what_is_not_followed_by_more_is_sent_all_the_same() -> None:
    transport, client, stream = follow(hz=5)
    stream.set(1)
    await eventually(lambda: len(transport.sent) == 1)
    stream.set(2)
    await eventually(lambda: client.subscriptions["n"].position == (1, 2))


async def test_a_client_without_room_gets_the_newest_state_when_it_has_room_again() -> None:
    transport, client, stream = follow()
    stream.set(1)
    await eventually(lambda: len(transport.sent) == 1)
    transport.waiting = ROOM_BYTES + 1
    for number in range(2, 50):
        stream.set(number)
        await asyncio.sleep(0.005)
    assert len(transport.sent) == 1
    transport.waiting = 0
    await eventually(lambda: client.subscriptions["n"].position == (1, 49))
    assert len(transport.sent) == 2


async def test_a_client_without_room_changes_nobody_elses_rhythm() -> None:
    transport, _, stream = follow(hz=5)
    stalled, slow = join(stream, hz=5)
    stream.set(1)
    await eventually(lambda: len(stalled.sent) == 1)
    stalled.waiting = ROOM_BYTES + 1
    loop = asyncio.get_running_loop()
    arrived, ages = 0.0, []
    transport.told = lambda: ages.append(loop.time() - arrived)
    for number in range(2, 10):
        await asyncio.sleep(0.23)  # a little slower than they may be sent: each goes as it arrives
        arrived = loop.time()
        stream.set(number)
    await eventually(lambda: len(ages) == 8)
    assert statistics.median(ages) < 0.02
    assert len(stalled.sent) == 1
    stalled.waiting = 0
    await eventually(lambda: slow.subscriptions["n"].position == (1, 9), "it catches up though nothing new arrives")


async def test_a_client_whose_backlog_passes_the_limit_is_cut_and_follows_nothing() -> None:
    transport, client, stream = follow()
    transport.waiting = LIMIT_BYTES + ROOM_BYTES + 1
    stream.set(1)
    await eventually(lambda: transport.aborted)
    assert not stream.has_followers
    stream.set(2)
    client.send(Message("heartbeat", {}))
    assert transport.sent == []


async def test_a_client_whose_backlog_does_not_shrink_is_cut() -> None:
    transport, client, _ = follow(stalled_s=0.1)
    transport.waiting = ROOM_BYTES + 1
    assert not client.has_room(ROOM_BYTES)
    await eventually(lambda: not client.has_room(ROOM_BYTES) and transport.aborted)


async def test_one_large_message_may_be_under_way() -> None:
    transport, client, _ = follow()
    client.send(Message("snapshot", {"rows": ["x" * (3 * LIMIT_BYTES)]}))
    transport.waiting = 3 * LIMIT_BYTES
    assert not client.has_room(ROOM_BYTES)
    assert not transport.aborted


@given(st.floats(0, 1e6), st.floats(0.1, 20), st.floats(0, 1, exclude_max=True))
def test_the_next_instant_is_at_most_a_step_away_and_on_the_grid(now: float, hz: float, phase: float) -> None:
    instant = next_instant(now, hz, phase)
    assert -1e-6 < instant - now <= (1 + 2 * ROUNDING) / hz + 1e-6
    assert next_instant(instant, hz, phase) - instant > 0.5 / hz  # also where a timer fires at that very instant
