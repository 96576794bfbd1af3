"""Every streaming venue with every fault: the feed goes on, says what is wrong, publishes nothing untrue, and mends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from fakes import eventually
from fakes_feeds import KINDS, Scene, scene
from fakes_venues import Answer

from ingest.market.tops import FeedStatus

CODES = (1000, 1001, 1008, 1011, 1012, 1013, 4000)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a feed, and what it must make of it."""

    name: str
    do: Callable[[Scene], Awaitable[None]]
    losses: int = 0  # connections that must be given up, at least
    refuses: str = ""  # the reason under which records must be refused
    says: str = ""  # part of what health must have said
    every_loss: bool = False  # only for venues whose records let every loss be noticed


async def cut(of: Scene) -> None:
    for wire in tuple(of.server.wires):
        await wire.cut('{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.00","1"]]}' * 20)


async def double(of: Scene) -> None:
    of.server.faults.double = 20
    await eventually(lambda: of.server.faults.double == 0, "all are doubled")


async def swap(of: Scene) -> None:
    for _ in range(3):
        of.server.faults.swap = 1
        await eventually(lambda: of.server.faults.swap == 0, "a record is held back")
    await of.some_time()


async def drop(of: Scene) -> None:
    of.server.faults.drop = 10
    await eventually(lambda: of.server.faults.drop == 0, "all are dropped")


async def be_silent(of: Scene) -> None:
    of.server.faults.silent = True
    await of.lost()
    of.server.faults.silent = False


async def be_half_open(of: Scene) -> None:
    of.server.faults.alive.clear()
    await of.lost()
    of.server.faults.alive.set()


async def be_slow(of: Scene) -> None:
    of.market.moving = False
    of.server.faults.byte_pause_s = 0.0005
    await of.market.move()
    of.server.faults.byte_pause_s = 0.0
    of.market.moving = True


async def flood(of: Scene) -> None:
    for _ in range(400):
        await of.market.move()


async def send_nonsense(of: Scene) -> None:
    for frame in (
        "",
        "{",
        "[",
        '{"type":"l2update"',
        "null",
        "[]]",
        "NaN",
        '{"a":' * 3000,
        "\x00",
        "ÿ" * 200,
        "0" * 5000,
    ):
        for wire in tuple(of.server.wires):
            await wire.frame(frame)


async def send_bytes(of: Scene) -> None:
    for wire in tuple(of.server.wires):
        await wire.frame(b"\x00\x01\x02\xff" * 100)
        await wire.not_utf8(b'{"type":"l2update","product_id":"\xff\xfe\xc3"}')


async def send_too_much(of: Scene) -> None:
    for wire in tuple(of.server.wires):
        await wire.frame('{"type":"' + "x" * (2 << 20) + '"}')
    await of.lost()


async def refuse_handshakes(of: Scene) -> None:
    of.server.faults.handshakes += [Answer(status=429, headers={"Retry-After": "1"}), Answer(status=503)]
    of.server.break_off()
    await of.lost(3)
    _, busy, down = list(of.server.handshakes)[:3]
    assert down - busy >= 1.0, "what the venue asked for is kept"


async def go_away(of: Scene) -> None:
    await of.server.stop()
    await of.lost(2)
    await of.server.start()


async def close(of: Scene) -> None:
    for number in range(3):
        code = CODES[(number + hash(of.kind)) % len(CODES)]
        await of.server.close_all(code, "see you later")
        await of.lost(number + 1)
        await eventually(lambda: of.server.wires, "it is back")


FAULTS = (
    Fault("cut in the middle of a frame", cut, losses=1, says="broke"),
    Fault("duplicates", double),
    Fault("records in another order", swap, every_loss=True),
    Fault("missing records", drop, every_loss=True),
    Fault("silence", be_silent, losses=1, says="nothing has come for 1 s"),
    Fault("a connection that is open on our side alone", be_half_open, losses=1, says="nothing has come for 1 s"),
    Fault("one byte at a time", be_slow),
    Fault("a flood", flood),
    Fault("malformed records", send_nonsense, refuses="unreadable"),
    Fault("binary and broken encoding", send_bytes, refuses="unreadable"),
    Fault("a huge frame", send_too_much, losses=1, says="larger than is allowed"),
    Fault("handshakes refused", refuse_handshakes, losses=3, says="429"),
    Fault("nobody there", go_away, losses=2, says="nothing listens there"),
    Fault("closed with a code", close, losses=3, says="it closed the connection: code"),
)


async def outlive(kind: str, fault: Fault) -> None:
    """Put a feed through a fault."""
    async with scene(kind, limits={"frame_bytes": 1 << 20}) as of:
        await of.first_prices()
        before = len(of.server.handshakes)
        of.feed.states.clear()
        dealing = asyncio.create_task(deal(of))
        try:
            await fault.do(of)
            await of.live()
            await of.some_time()
        finally:
            dealing.cancel()
            await asyncio.gather(dealing, return_exceptions=True)
        await of.is_right()
        of.check_published()
        check(of, fault, len(of.server.handshakes) - before)


async def deal(of: Scene) -> None:
    """Deal in everything ten times a second."""
    while True:
        await of.market.trade()
        await asyncio.sleep(0.1)


def check(of: Scene, fault: Fault, handshakes: int) -> None:
    """Check what the feed made of a fault."""
    losses, troubles = of.feed.source.losses, of.feed.troubles
    assert losses >= fault.losses, f"{of.kind}: {losses} losses"
    assert handshakes <= losses + 1, f"{of.kind}: {handshakes} handshakes after {losses} losses"
    assert losses <= fault.losses + 2, f"{of.kind}: {losses} losses, {troubles}"
    assert any(fault.says in one for one in troubles), f"{of.kind}: {troubles}"
    assert not fault.refuses or of.feed.reasons[fault.refuses] > 0, f"{of.kind}: {of.feed.reasons}"
    assert set(of.feed.reasons) <= {fault.refuses}, f"{of.kind}: {of.feed.reasons}"
    if fault.losses:
        assert FeedStatus.RESYNC in of.feed.states, f"{of.kind}: {of.feed.states}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_venue_is_live_and_right_again_after(fault: Fault) -> None:
    kinds = [name for name, kind in KINDS.items() if kind.finds_losses or not fault.every_loss]
    async with asyncio.TaskGroup() as group:
        for kind in kinds:
            group.create_task(outlive(kind, fault), name=kind)
