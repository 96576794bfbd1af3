"""The same over real connections: the feed breaks, clients are cut, held up, and choose anew; nobody holds a lie."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from fakes import eventually
from fakes_api import Cast, create_valuation, document_of, open_api, publish
from fakes_live import TRANSPORTS, Wanderer, adds_up, holds, next_seq, sign_in, wandering
from fakes_processes import Relay
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from db.live import LiveStore, create_redis, valuation_key
from stream.messages import Valuation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
QUIET_S = 20.0
FIELDS: tuple[dict[str, Any], ...] = (
    {},
    {"fields": {"totals": ["total_equity"], "rows": ["value"]}},
    {"fields": {"totals": [], "rows": ["day_pnl", "price"]}},
)
cents = st.integers(-1000, 1000)
contents = st.fixed_dictionaries({}, optional=dict.fromkeys(("AAPL", "NESN", "USD"), st.tuples(cents, cents)))


class Witness(Wanderer):
    """A client that compares whatever it holds with what was true at its position."""

    def __init__(self, transport: str, scene: Scene, stream: str) -> None:
        super().__init__(transport, [scene.relay.url], scene.auth, [stream])
        self.truth = scene.truth
        self.lies: list[str] = []

    def take(self, event: str, message: dict[str, Any]) -> None:
        super().take(event, message)
        if event in ("snapshot", "delta"):
            try:
                self.look(message["stream"])
            except AssertionError as error:  # a transport's callback is nowhere to fail in
                self.lies.append(f"{message}: {error}")

    def look(self, stream: str) -> None:
        """Fail where what is held is not a part of the valuation with its seq."""
        document = document_of(self.truth[self.positions[stream][1]])
        for name, value in self.totals[stream].items():
            assert document.get(name, value) == value, (name, value)
        rows = {row["symbol"]: row for row in document["rows"]}
        assert rows.keys() == self.rows[stream].keys()
        for symbol, row in self.rows[stream].items():
            assert all(rows[symbol].get(name, value) == value for name, value in row.items()), row
        if not self.wishes.get(stream) and "day_pnl" in self.totals[stream]:
            adds_up(self, stream)


@dataclass
class Scene:
    """What the machine works on; a seq is never used twice, whatever the epoch."""

    loop: asyncio.AbstractEventLoop
    store: LiveStore
    redis: Any
    relay: Relay
    auth: dict[str, str]
    portfolio: str
    truth: dict[int, Valuation] = field(default_factory=dict)
    epoch: int = 1


class Traffic(RuleBasedStateMachine):
    """Drive the scene from a thread of its own: hypothesis does not wait for coroutines."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene
        self.stream = f"portfolio:{scene.portfolio}"
        self.clients = [Witness(transport, scene, self.stream) for transport in TRANSPORTS * 2]
        self.crowd = wandering(self.clients)
        self.await_(self.value({}))
        self.await_(self.crowd.__aenter__())

    def await_(self, job: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self.scene.loop).result(60)

    @rule(values=contents)
    def tick(self, values: dict[str, tuple[int, int]]) -> None:
        self.await_(self.value(values))

    @rule(values=st.lists(contents, min_size=2, max_size=6))
    def tick_fast(self, values: list[dict[str, tuple[int, int]]]) -> None:
        for one in values:
            self.await_(self.value(one))

    @rule(values=contents)
    def tick_in_a_new_epoch(self, values: dict[str, tuple[int, int]]) -> None:
        self.scene.epoch += 1
        self.await_(self.value(values))

    @rule(values=contents)
    def tick_unheard(self, values: dict[str, tuple[int, int]]) -> None:
        """Store a value whose publication is lost."""
        self.await_(self.value(values, heard=False))

    @rule(back=st.integers(0, 3))
    def repeat(self, back: int) -> None:
        """Publish an older value again, as a writer whose time is over might."""
        known = list(self.scene.truth.values())
        one = known[max(0, len(known) - 1 - back)]
        self.await_(self.scene.redis.publish(valuation_key(one.portfolio_id), msgspec.json.encode(one)))

    @rule(values=contents)
    def break_the_feed(self, values: dict[str, tuple[int, int]]) -> None:
        self.await_(self.scene.redis.client_kill_filter(_type="pubsub"))
        self.await_(self.value(values))

    @rule()
    def cut_the_clients(self) -> None:
        self.scene.loop.call_soon_threadsafe(self.scene.relay.cut)

    @rule(values=st.lists(contents, min_size=1, max_size=4))
    def hold_up_the_clients(self, values: list[dict[str, tuple[int, int]]]) -> None:
        self.scene.loop.call_soon_threadsafe(self.scene.relay.hold)
        self.tick_fast(values)
        self.scene.loop.call_soon_threadsafe(self.scene.relay.release)

    @rule(which=st.integers(0, 3), wish=st.sampled_from(FIELDS))
    def choose_fields(self, which: int, wish: dict[str, Any]) -> None:
        self.scene.loop.call_soon_threadsafe(lambda: self.clients[which].wish(self.stream, **wish))

    @rule()
    def be_quiet(self) -> None:
        self.await_(self.settle())

    def teardown(self) -> None:
        self.await_(self.settle())
        self.await_(self.crowd.__aexit__(None, None, None))

    async def value(self, values: dict[str, tuple[int, int]], heard: bool = True) -> None:
        """Store and publish the next value."""
        scene = self.scene
        valuation = create_valuation(scene.portfolio, values, scene.epoch, next_seq())
        scene.truth[valuation.seq] = valuation
        if heard:
            await publish(scene.store, valuation)
        else:
            await scene.store.write_valuations({scene.portfolio: msgspec.json.encode(valuation)}, [])

    async def settle(self) -> None:
        """Value once more and let everything arrive."""
        await self.value({"AAPL": (next_seq(), 1), "USD": (5, 0)})
        last = self.scene.truth[max(self.scene.truth)]
        for one in self.clients:
            await eventually(lambda one=one: self.is_settled(one, last), f"{one.transport} holds the newest", QUIET_S)
            assert one.lies == []

    def is_settled(self, client: Witness, last: Valuation) -> bool:
        position = client.positions.get(self.stream)
        if position is None or position[1] != last.seq:
            return False
        wanted = client.wishes.get(self.stream, {}).get("fields")
        if wanted is None:
            return holds(client, last)
        return client.totals[self.stream].keys() == set(wanted["totals"])


async def test_whatever_happens_on_the_way_clients_hold_what_was_true_and_then_the_newest(
    module_postgres_url: str, module_redis_url: str, cast: Cast
) -> None:
    redis = create_redis(module_redis_url, "tests")
    quick = {"live_heartbeat_s": 0.1, "live_rights_s": 1.0, "sign_in_attempts": 1000}
    async with open_api(module_postgres_url, module_redis_url, **quick) as api:
        relay = Relay(api.url)
        async with relay.running():
            auth = await sign_in(api.url, "ana")
            loop = asyncio.get_running_loop()
            scene = Scene(loop, LiveStore(redis), redis, relay, auth, str(cast.growth))
            phases = (Phase.explicit, Phase.reuse, Phase.generate)  # what fails here need not fail twice
            chosen = settings(max_examples=4, stateful_step_count=25, deadline=None, phases=phases)
            await asyncio.to_thread(run_state_machine_as_test, lambda: Traffic(scene), settings=chosen)
    await redis.aclose()
