"""Any sequence of faults: once the venue is well again and quiet, our top is the venue's, and none was ever untrue."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fakes_feeds import Scene, scene
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


async def on_each_wire(of: Scene, frame: str | bytes) -> None:
    for wire in tuple(of.server.wires):
        await wire.frame(frame)


async def hold_back(of: Scene) -> None:
    of.server.faults.swap = 1
    await of.market.move()


async def lose(of: Scene) -> None:
    of.server.faults.drop = 2
    await of.market.move()


async def double(of: Scene) -> None:
    of.server.faults.double = 3
    await of.market.move()


async def jump(of: Scene) -> None:
    symbol = next(iter(of.market.books))
    await of.market.jump(symbol, sum(of.market.top(symbol)) / 2 + 10)


async def flood(of: Scene) -> None:
    for _ in range(100):
        await of.market.move()


async def cut(of: Scene) -> None:
    for wire in tuple(of.server.wires):
        await wire.cut('{"type":"snapshot"}' * 50)


async def be_silent(of: Scene) -> None:
    of.server.faults.silent = True
    await asyncio.sleep(0.3)
    of.server.faults.silent = False


async def be_slow(of: Scene) -> None:
    of.server.faults.byte_pause_s = 0.0002
    await of.market.move(next(iter(of.market.books)))
    of.server.faults.byte_pause_s = 0.0


async def die_a_little(of: Scene) -> None:
    of.server.faults.alive.clear()
    await asyncio.sleep(0.3)
    of.server.faults.alive.set()


STEPS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "swap": hold_back,
    "drop": lose,
    "double": double,
    "jump": jump,
    "flood": flood,
    "cut": cut,
    "silence": be_silent,
    "slow": be_slow,
    "dead for a moment": die_a_little,
    "broken JSON": lambda of: on_each_wire(of, '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUp'),
    "binary": lambda of: on_each_wire(of, b"\x00\xff"),
    "close": lambda of: of.server.close_all(1001),
    "deals": lambda of: of.market.trade(),
    "time": lambda of: asyncio.sleep(0.1),
}


@pytest.mark.timeout(300)  # a sequence can make a feed wait for half a minute
@pytest.mark.parametrize("kind", ["coinbase, advanced", "binance, depth"])
@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6))
async def test_after_any_sequence_of_faults_our_top_is_the_venues(kind: str, steps: list[str]) -> None:
    async with scene(kind, silent_after_s=3.0) as of:
        await of.first_prices()
        for step in steps:
            await STEPS[step](of)
        of.server.faults.drop = of.server.faults.double = of.server.faults.swap = 0
        await of.live(60.0)
        await of.is_right(60.0)
        of.check_published()
