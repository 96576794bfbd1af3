"""Venues whose clocks are wrong: said, allowed for, and no reason to lose a price."""

import pytest
from fakes import eventually
from fakes_feeds import KINDS, Scene, scene

WITH_TIMES = [kind for kind in KINDS if kind != "binance"]  # its tops carry no time


async def told(of: Scene) -> bool:
    """Deal, where nothing else is told, and say whether the offset of the venue's clock is known."""
    if of.server.wires:
        await of.market.trade()
    return of.feed.source.offset.offset_ns is not None


@pytest.mark.parametrize("kind", WITH_TIMES)
async def test_a_clock_that_is_ahead_is_allowed_for_once_it_is_known(kind: str) -> None:
    market = KINDS[kind].market()
    market.ahead_s = 7.0
    async with scene(kind, market=market, silent_after_s=10.0) as of:
        await eventually(lambda: told(of), "its clock is known")
        await of.first_prices()
        assert of.feed.source.offset.offset_ns == pytest.approx(-7e9, abs=0.5e9)
        refused = of.feed.reasons["future"]
        await of.is_right()
        assert of.feed.reasons["future"] == refused, "nothing is refused for it any more"
        of.check_published()


@pytest.mark.parametrize("kind", WITH_TIMES)
async def test_after_a_snapshot_no_change_is_lost_to_a_clock_that_is_behind(kind: str) -> None:
    market = KINDS[kind].market()
    market.ahead_s = -30.0
    async with scene(kind, market=market) as of:
        await of.first_prices()
        await of.is_right(5.0)
        of.server.break_off()
        await of.lost()
        await of.first_prices()
        await of.is_right(5.0)
        of.check_published()
        assert not of.feed.reasons


async def test_a_clock_that_jumps_into_the_future_for_a_moment_moves_nothing() -> None:
    async with scene("coinbase", silent_after_s=10.0) as of:
        await of.first_prices()
        await of.some_time(10)
        of.market.ahead_s = 3_600.0
        await eventually(lambda: of.feed.reasons["future"] > 0, "it is refused")
        of.market.ahead_s = 0.0
        of.server.break_off()  # its book would be dated back, which Coinbase takes for a loss
        await of.lost()
        await of.live()
        await of.is_right()
        of.check_published()
