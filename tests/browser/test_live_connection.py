"""The page notices every gap, says how live it is, and leaves when it has no right to stay."""

from __future__ import annotations

from fakes import eventually
from fakes_dashboard import Stage
from tabs import OpenTab

STATE = "document.getElementById('connection')?.dataset.state"


async def test_a_lost_delta_is_noticed_and_asked_for_with_the_position(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    subscriptions = len(stage.live.asked)
    stage.live.drop_next = 1
    await eventually(lambda: len(stage.live.asked) > subscriptions, "the page asks again")
    asked = stage.live.asked[-1]["streams"][0]
    assert asked["epoch"] == stage.live.epoch
    assert asked["seq"] < stage.live.seq
    assert await tab.until("__alhambra.gaps") == 1


async def test_a_lost_last_message_is_noticed_by_the_heartbeat(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    stage.live.paused = True
    stage.live.drop_next = 1
    await stage.live.tick()
    snapshots = await tab.value("__alhambra.snapshots")
    await tab.until(f"__alhambra.snapshots > {snapshots}")


async def test_silence_shows_as_stale_with_its_age(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.until(f"{STATE} === 'live'")
    stage.live.silent = True
    await tab.until(f"{STATE} === 'stale'")
    assert await tab.until("document.querySelector('#connection .age').textContent")
    stage.live.silent = False
    await tab.until(f"{STATE} === 'live'")


async def test_a_server_that_has_lost_its_source_shows_as_stale(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.until(f"{STATE} === 'live'")
    stage.live.source = "lost"
    await tab.until(f"{STATE} === 'stale'")


async def test_a_new_epoch_replaces_everything(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    stage.live.epoch, stage.live.seq = 2, 0
    applied = await tab.value("__alhambra.snapshots")
    await tab.until(f"__alhambra.snapshots > {applied}")
    before = await tab.value("__alhambra.applied")
    await tab.until(f"__alhambra.applied > {before + 3}")


async def test_a_right_that_is_taken_away_is_said(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    await stage.live.revoke()
    await tab.until("document.getElementById('live').dataset.refused")


async def test_a_session_that_has_ended_leads_to_the_sign_in_page(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    await tab.page.context.clear_cookies()
    for sid in list(stage.live.streams):
        await stage.live.disconnect(sid)
    await eventually(lambda: "/sign-in" in tab.page.url, "the page goes to sign in")


async def test_the_server_back_after_an_absence_is_found_again(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    subscriptions = await tab.value("__alhambra.subscriptions")
    for sid in list(stage.live.streams):
        await stage.live.disconnect(sid)
    await tab.until(f"__alhambra.subscriptions > {subscriptions}")
    await tab.until(f"{STATE} === 'live'")
