"""The whole platform on one venue: its prices at a client's socket, its death in health, its return."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from fakes import eventually
from fakes_markets import CoinbaseMarket
from fakes_up import Platform, open_platform
from fakes_venues import VenueServer

from alhambra.client import Client

SYMBOL, THEIRS = "BTC/USD", "BTC-USD"


async def shown(client: Client, market: CoinbaseMarket, seconds: float = 20.0) -> float:
    """Return the first price at the socket that is the middle of a top that the venue has told."""
    async with asyncio.timeout(seconds):
        async for update in client.quote(SYMBOL):
            price = float(update.totals["price"])
            if any(price == pytest.approx((bid + ask) / 2, abs=1e-6) for bid, ask in market.true_tops[THEIRS]):
                assert update.totals["source"] == "coinbase"
                return price
    raise AssertionError("the quote ended")


async def says(platform: Platform, words: str) -> bool:
    return words in (await platform.health("market:coinbase")).get("detail", "")


async def doctor(data: Path) -> tuple[int, str]:
    """Ask what is wrong, without saying which feeds there are."""
    command = (sys.executable, "-m", "alhambra.main", "doctor", "feeds", "--data", str(data))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, told.decode()


@pytest.mark.integration
@pytest.mark.timeout(240)
async def test_a_venues_price_is_shown_its_death_is_said_and_its_return_is_seen(tmp_path: Path) -> None:
    market = CoinbaseMarket({THEIRS: 91_000.0, "ETH-USD": 3_050.0})
    async with VenueServer(market).open() as venue:
        feed = f"coinbase?url={venue.ws_url}"
        async with (
            open_platform(tmp_path / "data", "--portfolios", "6", "--feed", feed) as platform,
            Client(platform.url, **platform.login("advisor")) as client,
        ):
            assert await shown(client, market) == pytest.approx(91_000.0, abs=50.0)
            await eventually(lambda: says(platform, "2 of 3 instruments live"), "health says who is live")

            await venue.stop()
            await eventually(lambda: says(platform, "nothing listens there"), "health says that it has gone", 15.0)
            assert (await platform.health("market:coinbase"))["status"] == "failed"
            status, said = await doctor(tmp_path / "data")
            assert status == 1, said
            assert "coinbase: as it runs" in said

            await venue.start()
            await market.jump(THEIRS, 91_500.0)
            market.true_tops[THEIRS].clear()  # what was told before counts no more
            await eventually(lambda: says(platform, "2 of 3 instruments live"), "health says that it is back", 60.0)
            assert await shown(client, market) == pytest.approx(91_500.0, abs=50.0)
