from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from fakes import eventually, open_server
from fakes_api import Cast, create_valuation, open_api, publish
from fakes_live import holds, open_live, sign_in

from alhambra.embedded.valkey import ValkeyServer
from alhambra.ports import free_port
from api.live.feed import Feed
from db.live import LiveStore, create_redis


class FreezingProxy:
    """Pass bytes on until it is frozen; then connections stay open and nothing comes through."""

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.connections = 0
        self._host, self._target_port = urlsplit(target).hostname, urlsplit(target).port
        self._frozen_below = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        """Freeze the connections there are; new ones work."""
        self._frozen_below = self.connections + 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        theirs, ours = await asyncio.open_connection(self._host, self._target_port)
        for source, sink in ((reader, ours), (theirs, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink, number)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int) -> None:
        try:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if number >= self._frozen_below:
                        sink.write(data)
        finally:
            sink.close()


async def test_a_link_that_is_open_but_dead_is_noticed_and_replaced(
    valkey_server: ValkeyServer, redis_url: str
) -> None:
    proxy = FreezingProxy(redis_url)
    heard: list[bytes] = []
    connected = 0

    async def on_connected() -> None:
        nonlocal connected
        connected += 1

    direct = create_redis(redis_url, "tests")
    through = create_redis(redis_url.replace(str(urlsplit(redis_url).port), str(proxy.port)), "frozen")
    feed = Feed(through, "tests", lambda _, data: heard.append(data), on_connected, beat_s=0.1)
    async with proxy.running():
        running = asyncio.create_task(feed.run())
        await feed.follow(["news"])
        await eventually(lambda: connected == 1)

        async def told(news: bytes) -> bool:
            await direct.publish("news", news)
            return news in heard

        await eventually(lambda: told(b"first"))
        proxy.freeze()
        await eventually(lambda: connected == 2, "the dead link is replaced", seconds=8)
        await eventually(lambda: told(b"second"))
        await feed.forget(["news"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await through.aclose()
    await direct.aclose()


async def test_a_link_that_is_cut_begins_anew_with_what_is_followed_since(redis_url: str) -> None:
    heard: list[bytes] = []
    connected = 0

    async def on_connected() -> None:
        nonlocal connected
        connected += 1

    direct, redis = create_redis(redis_url, "tests"), create_redis(redis_url, "cut")
    feed = Feed(redis, "tests", lambda _, data: heard.append(data), on_connected, beat_s=0.1)
    running = asyncio.create_task(feed.run())
    await eventually(lambda: connected == 1)
    await asyncio.gather(*(feed.follow([f"news:{number}"]) for number in range(50)))

    async def told(channel: str, news: bytes) -> bool:
        await direct.publish(channel, news)
        return news in heard

    await eventually(lambda: told("news:49", b"first"))
    await direct.client_kill_filter(_type="pubsub")
    await asyncio.gather(*(feed.follow([f"more:{number}"]) for number in range(50)))
    await eventually(lambda: connected == 2, "what was missed is read anew", seconds=8)
    await eventually(lambda: told("news:0", b"second"))
    await eventually(lambda: told("more:0", b"third"))
    await feed.forget(["more:0"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await redis.aclose()
    await direct.aclose()


async def test_clients_stay_and_catch_up_when_redis_goes_and_comes_back(
    cast: Cast, module_postgres_url: str, tmp_path: Path, transport: str
) -> None:
    server = ValkeyServer(tmp_path / "valkey", free_port(), "test")
    server.prepare()
    log = tmp_path / "valkey.log"
    redis = create_redis(server.url, "tests")
    store = LiveStore(redis)
    stream = f"portfolio:{cast.growth}"
    first, second = (create_valuation(cast.growth, {"AAPL": (seq, 0)}, seq=seq) for seq in (1, 2))
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_api(module_postgres_url, server.url, live_heartbeat_s=0.1))
        with open_server(server.launch(), log):
            await eventually(server.answers)
            await publish(store, first)
            client = await stack.enter_async_context(open_live(transport, api.url, await sign_in(api.url, "ana")))
            await client.subscribe(stream)
            await eventually(lambda: holds(client.follower, first))
        refused = await client.subscribe(f"portfolio:{cast.income}")
        assert (refused["error"]["code"], refused["error"]["name"]) == (3002, "temporarily_unavailable")
        with open_server(server.launch(), log):
            await eventually(server.answers)
            await publish(store, second)
            await eventually(lambda: holds(client.follower, second))
            assert client.follower.gaps == 0
            await client.close()
    await redis.aclose()
