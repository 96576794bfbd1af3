"""Keep a group of workers busy: prices and positions that never stop changing, and a listener to all they publish."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise

from fakes import eventually
from fakes_stream import Stage
from redis.asyncio.client import PubSub

from db.live import valuation_key
from stream.messages import Valuation, decode_valuation

PAUSE_S = 0.02
TICKS_PER_BOOKING = 4


class Load:
    """Quotes about fifty times a second, and every fourth time new positions of the next portfolio, booked and sent."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._turn = asyncio.Lock()
        self.ticks = 0

    def paused(self) -> AbstractAsyncContextManager[None]:
        """Hold it between two changes, so that there is something to compare with."""
        return self._turn

    async def run(self) -> None:
        """Change prices and positions for ever."""
        portfolios = itertools.cycle(list(self._stage.bank.records))
        for number in itertools.count(1):
            async with self._turn:
                await self._stage.feed.quote((3, 150 + number % 97 / 10), (12, 90 + number % 89 / 10), (7, 1.1))
                if number % TICKS_PER_BOOKING == 0:
                    await self._book(next(portfolios), number)
            self.ticks = number
            await asyncio.sleep(PAUSE_S)

    async def _book(self, portfolio: str, number: int) -> None:
        held = self._stage.bank.records[portfolio]
        lines = ((1, "5000"), (3, str(number)), (12, str(number % 50)))
        record = await self._stage.bank.book(portfolio, held.base_currency, held.version + 1, *lines)
        await self._stage.feed.send_positions(record)


@asynccontextmanager
async def under_load(stage: Stage) -> AsyncIterator[Load]:
    """Lend a load; that it could not be sent is the test's failure."""
    load = Load(stage)
    task = asyncio.create_task(load.run(), name="load")
    try:
        yield load
    finally:
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError), f"the load has ended: {outcome!r}"


@asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[list[Valuation]]:
    """Watch every portfolio as an API node does; gives what is published, once the workers know."""
    published = list[Valuation]()
    async with stage.live.open_subscription() as channel:
        await channel.subscribe(*(valuation_key(one) for one in stage.bank.records))
        listener = asyncio.create_task(listen(channel, published))
        await stage.live.watch(stage.bank.records, 300)

        async def all_are_published() -> bool:
            await stage.feed.quote((7, 1.1 + len(published) / 10_000), (3, 150.0 + len(published) / 100))
            return {one.portfolio_id for one in published} == set(stage.bank.records)

        await eventually(all_are_published, "the workers have seen what is watched")
        try:
            yield published
        finally:
            listener.cancel()
            await asyncio.wait([listener])


async def listen(channel: PubSub, published: list[Valuation]) -> None:
    """Keep every valuation that comes over a channel."""
    async for message in channel.listen():
        if message["channel"].startswith(b"valuation:"):
            published.append(decode_valuation(message["data"]))


def stale_ones(published: Sequence[Valuation]) -> list[str]:
    """Return what was published after a newer one of the same portfolio: by a writer whose time was over."""
    found = []
    for portfolio in {one.portfolio_id for one in published}:
        places = [(one.epoch, one.seq) for one in published if one.portfolio_id == portfolio]
        found += [f"{portfolio}: {after} after {before}" for before, after in pairwise(places) if after <= before]
    return found
