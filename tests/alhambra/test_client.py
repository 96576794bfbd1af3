"""The client shows states that were true, the newest one in the end, whatever happens on the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from fakes import eventually
from fakes_client import PORTFOLIO, QUICK, STREAM, Bank, open_bank

from alhambra.client import (
    AlreadyFollowed,
    Client,
    Closed,
    Fields,
    Filter,
    Inconsistent,
    Refused,
    Sort,
    State,
    Unreachable,
    Update,
    View,
)

SENTENCE = "a test"


class Watcher:
    """Read a stream in a task, and hold every update against what was true."""

    def __init__(self, bank: Bank, updates: AsyncGenerator[Update, None]) -> None:
        self.bank = bank
        self.seen: list[Update] = []
        self.untrue: list[Update] = []
        self.task = asyncio.create_task(self.read(updates))

    async def read(self, updates: AsyncGenerator[Update, None]) -> None:
        async with aclosing(updates):
            async for update in updates:
                self.seen.append(update)
                if not self.bank.is_true(update):
                    self.untrue.append(update)

    @property
    def newest(self) -> Update:
        return self.seen[-1]

    async def catches_up(self) -> Update:
        """Wait until what is shown is what is true, and live."""
        await eventually(
            lambda: self.task.done() or (self.seen and self.bank.is_newest(self.newest) and self.newest.live),
            "the newest state is shown",
        )
        if self.task.done():
            await self.task
        assert self.untrue == []
        return self.newest


@asynccontextmanager
async def watching(bank: Bank, url: str | list[str], **more: Any) -> AsyncIterator[tuple[Client, Watcher]]:
    """Follow the bank's portfolio from the first state on."""
    async with Client(url, token="any", patience=QUICK) as client:
        watcher = Watcher(bank, client.portfolio(PORTFOLIO, **more))
        await watcher.catches_up()
        yield client, watcher
    await watcher.task


async def test_updates_hold_the_whole_state_and_say_what_is_new() -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (client, watcher):
        first = watcher.newest
        assert first.resynced
        assert first.changed == first.rows.keys()
        await bank.publish()
        second = await watcher.catches_up()
        assert not second.resynced
        assert second.changed == {key for key, row in second.rows.items() if first.rows.get(key) != row}
        assert second.removed == first.rows.keys() - second.rows.keys()
        assert (client.state, client.role) == (State.LIVE, "client")
        assert abs(client.clock.offset_ns or 0) < 1e9
        with pytest.raises(TypeError):
            second.totals["total_equity"] = 0  # type: ignore[index]  # that it cannot be changed is the point


async def cut(bank: Bank) -> None:
    bank.cut_all()


async def lose_one(bank: Bank) -> None:
    bank.leave_out = 1
    await bank.publish()


async def send_twice(bank: Bank) -> None:
    before = (bank.epoch, bank.seq)
    await bank.publish()
    await bank.send_all(bank.message_after(before))


async def send_wrong(bank: Bank) -> None:
    before = (bank.epoch, bank.seq)
    bank.tick()
    message = bank.message_after(before)
    message["totals"]["total_equity"] = 1.0
    await bank.send_all(message)


TROUBLES: dict[str, Callable[[Bank], Awaitable[None]]] = {
    "a cut": cut,
    "a message that is lost": lose_one,
    "a delta that comes twice": send_twice,
    "a delta that does not add up": send_wrong,
    "the server going away": lambda bank: bank.close_all(3000, "going_away"),
    "being too slow": lambda bank: bank.close_all(3008, "slow"),
    "a text that is no JSON": lambda bank: bank.send_all("{nonsense"),
    "a message without its fields": lambda bank: bank.send_all({"type": "delta", "stream": STREAM}),
    "a binary frame": lambda bank: bank.send_all(b"\x00"),
    "a message of a later version": lambda bank: bank.send_all({"type": "weather", "sunny": True}),
    "an answer nobody waits for": lambda bank: bank.send_all(
        {"type": "listed", "id": 99_999, "server_ns": 1, "streams": []}
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_nothing_untrue_is_shown_after(trouble: str) -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (_, watcher):
        await TROUBLES[trouble](bank)
        await watcher.catches_up()
        await bank.publish()
        await watcher.catches_up()


async def test_a_lost_last_message_is_noticed_by_the_heartbeat() -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (_, watcher):
        await lose_one(bank)
        await watcher.catches_up()  # though nothing else is published
    assert bank.asked("subscribe")[-1]["streams"][0]["seq"] == 1


async def test_a_connection_that_was_lost_goes_on_where_it_was() -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (_, watcher):
        held = (bank.epoch, bank.seq)
        bank.cut_all()
        bank.tick()
        await watcher.catches_up()
        asked = bank.asked("subscribe")[-1]["streams"][0]
        assert (asked["epoch"], asked["seq"]) == held
        assert bank.sent["snapshot"] == 1
        assert not watcher.newest.resynced


async def test_a_new_epoch_comes_whole() -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (_, watcher):
        bank.begin_epoch()
        await bank.bring()
        assert (await watcher.catches_up()).resynced


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_what_is_shown_was_true_and_in_the_end_is(seed: int) -> None:
    bank = Bank(seed)
    async with open_bank(bank) as url, watching(bank, url) as (_, watcher):
        for _ in range(60):
            deed = bank.random.choice(("publish",) * 12 + ("lose", "cut", "epoch", "twice", "close", "junk"))
            if deed == "lose":
                bank.leave_out = 1
            elif deed == "cut":
                bank.cut_all()
            elif deed == "epoch":
                bank.begin_epoch()
            elif deed == "twice":
                await send_twice(bank)
            elif deed == "close":
                await bank.close_all(bank.random.choice((3000, 3001, 3002, 3008)), "closed")
            elif deed == "junk":
                await bank.send_all(bank.random.choice(("nonsense", '{"type":"weather"}', "[]")))
            else:
                await bank.publish()
            await asyncio.sleep(bank.random.choice((0, 0, 0.01)))
        bank.leave_out = 0
        await watcher.catches_up()


async def test_a_slow_loop_sees_the_newest_state_and_no_backlog() -> None:
    bank = Bank()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        updates = client.portfolio(PORTFOLIO)
        async with aclosing(updates):
            first = await anext(updates)
            for _ in range(200):
                await bank.publish()
            feed = client._following.feeds[STREAM]
            await eventually(lambda: feed.held.position.seq == bank.seq, "all has arrived")  # type: ignore[attr-defined]
            second = await anext(updates)
    assert bank.is_true(second)
    assert (first.seq, second.seq) == (1, bank.seq)
    assert second.changed | second.removed <= first.rows.keys() | second.rows.keys()


async def test_the_next_address_is_taken_when_one_goes_away() -> None:
    bank = Bank()
    async with open_bank(bank) as one, open_bank(bank) as other, watching(bank, [one, other]) as (client, watcher):
        assert client.url == one
        await bank.close_all(3000, "going_away")
        await eventually(lambda: client.url == other, "the other address is used")
        await bank.publish()
        await watcher.catches_up()


async def test_silence_is_stale_and_then_the_end_of_the_connection() -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (client, watcher):
        bank.silent = True
        await eventually(lambda: client.state is State.STALE, "silence is noticed")
        await eventually(lambda: watcher.newest.state is State.STALE, "the loop is told")
        assert watcher.newest.changed == set()
        await eventually(lambda: client.state in (State.OFFLINE, State.CONNECTING), "the connection is given up")
        bank.silent = False
        await watcher.catches_up()


async def test_a_server_that_hears_nothing_itself_is_stale() -> None:
    bank = Bank()
    async with open_bank(bank) as url, watching(bank, url) as (client, watcher):
        bank.source = "lost"
        await eventually(lambda: not watcher.newest.source_live, "the loop is told")
        assert (client.state, watcher.newest.state) == (State.STALE, State.STALE)
        bank.source = "live"
        await watcher.catches_up()


async def test_the_state_of_the_connection_can_be_followed() -> None:
    bank = Bank()
    seen: list[State] = []
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        states = client.states()
        seen.append(await anext(states))
        bank.source = "lost"
        seen.append(await anext(states))
    assert seen == [State.LIVE, State.STALE]
    assert [state async for state in states] == []  # the client is closed


async def test_a_stream_that_is_refused_ends_its_loop_and_no_other() -> None:
    bank = Bank()
    bank.refusals["quote:SECRET"] = (3503, "forbidden_stream")
    async with open_bank(bank) as url, watching(bank, url) as (client, watcher):
        with pytest.raises(Refused, match="no, says the test") as refused:
            await anext(client.quote("SECRET"))
        assert (refused.value.code, refused.value.name, refused.value.final) == (3503, "forbidden_stream", True)
        await bank.publish()
        await watcher.catches_up()


async def test_streams_asked_for_together_are_refused_one_by_one() -> None:
    bank = Bank()
    bank.refusals["quote:SECRET"] = (3503, "forbidden_stream")
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        secret = asyncio.ensure_future(anext(client.quote("SECRET")))
        watcher = Watcher(bank, client.portfolio(PORTFOLIO))
        await watcher.catches_up()
        with pytest.raises(Refused):
            await secret
    assert len(bank.asked("subscribe")[0]["streams"]) == 2


async def test_what_is_unavailable_for_a_while_is_asked_for_again() -> None:
    bank = Bank()
    bank.refusals["subscribe"] = (3002, "temporarily_unavailable")
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        watcher = Watcher(bank, client.portfolio(PORTFOLIO))
        await eventually(lambda: len(bank.asked("subscribe")) > 2, "it is asked for again")
        bank.refusals.clear()
        await watcher.catches_up()


async def test_a_right_that_goes_away_ends_the_loop() -> None:
    bank = Bank()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        watcher = Watcher(bank, client.portfolio(PORTFOLIO))
        await watcher.catches_up()
        await bank.send_all(
            {"type": "revoked", "stream": STREAM, "code": 3503, "name": "forbidden_stream", "message": SENTENCE}
        )
        with pytest.raises(Refused, match=SENTENCE):
            await watcher.task


async def test_a_code_of_no_return_ends_everything() -> None:
    bank = Bank()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        watcher = Watcher(bank, client.portfolio(PORTFOLIO))
        await watcher.catches_up()
        await bank.close_all(3501, "unauthorised")
        with pytest.raises(Refused, match="unauthorised"):
            await watcher.task
        assert client.state is State.OFFLINE
        with pytest.raises(Refused):
            await anext(client.demo())


async def test_a_provider_of_tokens_is_asked_again_once_when_one_is_refused() -> None:
    bank = Bank()
    given: list[str] = []

    async def provider() -> str:
        given.append(f"token {len(given) + 1}")
        return given[-1]

    async with open_bank(bank) as url, Client(url, token=provider, patience=QUICK) as client:
        watcher = Watcher(bank, client.portfolio(PORTFOLIO))
        await watcher.catches_up()
        await bank.close_all(3501, "unauthorised")
        await bank.publish()
        await watcher.catches_up()
        assert [one["token"] for one in bank.asked("auth")] == ["token 1", "token 2"]
        bank.refusals["auth"] = (3501, "unauthorised")
        await bank.close_all(3501, "unauthorised")
        with pytest.raises(Refused):
            await watcher.task


async def test_states_that_never_add_up_are_never_shown() -> None:
    bank = Bank()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        bank.history[(1, 1)][0]["total_equity"] += 0.01
        with pytest.raises(Inconsistent, match="total_equity"):
            await anext(client.portfolio(PORTFOLIO))
    assert bank.sent["snapshot"] == 2


async def test_what_keeps_it_from_beginning_is_said_at_once() -> None:
    bank = Bank()
    bank.refusals["auth"] = (3501, "unauthorised")
    async with open_bank(bank) as url:
        with pytest.raises(Refused, match="says the test"):
            await Client(url, token="any", patience=QUICK).__aenter__()
    with pytest.raises(Unreachable, match="does not answer"):
        await Client([url, url], token="any", patience=QUICK).__aenter__()


async def test_wrong_use_is_said_plainly() -> None:
    bank = Bank()
    for wrong in ({}, {"email": "a@b.c"}, {"token": "t", "guest": True}):
        with pytest.raises(ValueError, match="who you are"):
            Client("http://127.0.0.1", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="address"):
        Client("127.0.0.1:8000", guest=True)
    with pytest.raises(Closed):
        await anext(Client("http://127.0.0.1", guest=True).demo())
    async with open_bank(bank) as url, watching(bank, url) as (client, _):
        with pytest.raises(AlreadyFollowed):
            await anext(client.portfolio(PORTFOLIO, max_hz=1))
        again = client.portfolio(PORTFOLIO)
        assert bank.is_true(await anext(again))  # the same way twice is one subscription


async def test_the_last_loop_to_end_unsubscribes() -> None:
    bank = Bank()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        async for _ in client.portfolio(PORTFOLIO):
            break
        await eventually(lambda: bank.asked("unsubscribe"), "the server is told")
        assert bank.asked("unsubscribe")[0]["streams"] == [STREAM]
        assert bank.followers == {}


async def test_wishes_are_said_as_the_protocol_has_them() -> None:
    bank = Bank()
    view = View((Sort("day_pnl", descending=True),), (Filter("name", "contains", "a"),), 10, 20, 1.5)
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        floor = asyncio.ensure_future(anext(client.floor("x", view=view, max_hz=2)))
        fields = Fields(totals=("total_equity",))
        watcher = Watcher(bank, client.portfolio(PORTFOLIO, fields=fields))
        await watcher.catches_up()
        floor.cancel()
    asked = {
        one["stream"]: (one, request["max_hz"]) for request in bank.asked("subscribe") for one in request["streams"]
    }
    wished = {
        "stream": "floor:x",
        "view": {
            "sort": [{"column": "day_pnl", "descending": True}],
            "filter": [{"column": "name", "op": "contains", "value": "a"}],
            "range": [10, 20],
            "reorder_s": 1.5,
        },
    }
    assert asked["floor:x"] == (wished, 2)
    assert asked[STREAM] == ({"stream": STREAM, "fields": {"totals": ["total_equity"]}}, 4)


def test_importing_it_brings_nothing_of_the_platform() -> None:
    script = "import sys, alhambra.client; print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    platform = {"api", "stream", "ingest", "db", "analytics", "dashboard", "typer", "numpy", "pydantic", "socketio"}
    assert set(done.stdout.split()) & platform == set()
    script = "import sys, alhambra.client; print([name for name in sys.modules if name.startswith('alhambra.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "alhambra.client.client" in done.stdout
    assert "alhambra.main" not in done.stdout
