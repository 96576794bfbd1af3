"""Two web processes serve the same streams: Valkey goes and comes back, and each process is replaced under load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from fakes import eventually
from fakes_api import PASSWORD, email
from fakes_live import TRANSPORTS, Wanderer, next_seq, sign_in, wandering
from fakes_processes import Cluster, Ticker

from alhambra.client import Client, Update

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
WELL_AGAIN_S = 30.0


@pytest.fixture
async def ticker(cluster: Cluster) -> AsyncIterator[Ticker]:
    """Tick twenty times a second."""
    ticker = Ticker(cluster.store, cluster.cast, hz=20, epoch=next_seq())
    async with ticker.running():
        yield ticker


async def wanderers_of(cluster: Cluster) -> list[Wanderer]:
    """Return clients of both transports that begin at either process, and follow whatever they may see."""
    cast = cluster.cast
    followed = {
        "ana": [f"portfolio:{cast.growth}", f"portfolio:{cast.income}", f"client:{cast.ana}"],
        "advisor": [f"floor:{cast.advisor}", f"portfolio:{cast.growth}"],
        "ben": [f"portfolio:{cast.bens}"],
    }
    found = []
    for name, streams in followed.items():
        auth = await sign_in(cluster.urls[0], name)
        found += [
            Wanderer(transport, urls, auth, streams)
            for transport in TRANSPORTS
            for urls in (cluster.urls, cluster.urls[::-1])
        ]
    return found


async def all_hold_the_newest(ticker: Ticker, wanderers: list[Wanderer]) -> None:
    async with ticker.quiet():
        for one in wanderers:
            await eventually(
                lambda one=one: ticker.is_held_by(one, one.streams),
                f"{one.transport} holds the newest of {one.streams}",
                WELL_AGAIN_S,
            )


async def test_valkey_goes_and_comes_back_empty_and_nobody_is_silently_stale(cluster: Cluster, ticker: Ticker) -> None:
    wanderers = await wanderers_of(cluster)
    async with wandering(wanderers):
        await all_hold_the_newest(ticker, wanderers)
        await eventually(lambda: all(one.source == "live" for one in wanderers), "everything is live")
        cluster.valkey.kill()
        await eventually(lambda: all(one.source == "lost" for one in wanderers), "everybody is told", 10)
        assert all(one.is_connected for one in wanderers)
        await cluster.valkey.start()
        await eventually(lambda: all(one.source == "live" for one in wanderers), "news arrives again", WELL_AGAIN_S)
        await all_hold_the_newest(ticker, wanderers)
    assert {one.connections for one in wanderers} == {1}
    assert {one.gaps for one in wanderers} == {0}


class Program:
    """A program that uses our own client, and shows the newest update."""

    def __init__(self, client: Client, portfolio: str) -> None:
        self.portfolio = portfolio
        self.newest: Update | None = None
        self._client = client

    async def run(self) -> None:
        """Show update after update."""
        async for update in self._client.portfolio(self.portfolio, max_hz=20):
            self.newest = update

    def shows(self, ticker: Ticker) -> bool:
        """Say whether it shows the newest value, live; fails where it shows another one at that position."""
        expected = ticker.newest[self.portfolio]
        if self.newest is None or (self.newest.epoch, self.newest.seq) != (expected.epoch, expected.seq):
            return False
        assert self.newest.totals["total_equity"] == expected.total_equity
        assert {key: row["value"] for key, row in self.newest.rows.items()} == {
            row.symbol: row.value for row in expected.rows
        }
        return True


@asynccontextmanager
async def programs_of(cluster: Cluster) -> AsyncIterator[list[Program]]:
    """Run two programs, each of which begins at another process."""
    async with AsyncExitStack() as stack:
        found = []
        for urls in (cluster.urls, cluster.urls[::-1]):
            client = await stack.enter_async_context(Client(urls, email=email("ana"), password=PASSWORD))
            found.append(Program(client, str(cluster.cast.growth)))
            task = asyncio.create_task(found[-1].run(), name="program")
            stack.callback(task.cancel)
        yield found


async def test_each_process_is_replaced_under_load_and_nobody_has_a_gap(cluster: Cluster, ticker: Ticker) -> None:
    wanderers = await wanderers_of(cluster)
    async with wandering(wanderers), programs_of(cluster) as programs:
        await all_hold_the_newest(ticker, wanderers)
        for api in cluster.apis:
            before = sum(len(one.goodbyes) for one in wanderers)
            await api.stop()
            await eventually(lambda: all(one.is_connected for one in wanderers), "all are elsewhere", WELL_AGAIN_S)
            await all_hold_the_newest(ticker, wanderers)
            assert sum(len(one.goodbyes) for one in wanderers) > before
            await api.start()
            async with ticker.quiet():
                await eventually(lambda: all(one.shows(ticker) for one in programs), "programs too", WELL_AGAIN_S)
    assert {code for one in wanderers for code in one.goodbyes} == {3000}
    assert {one.gaps for one in wanderers} == {0}
    assert all(one.connections >= 2 for one in wanderers if one.goodbyes)
    assert all(one.connections <= 1 + len(one.goodbyes) for one in wanderers), "only who was sent away came again"
