"""The samples of docs/client.md work as they stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes import eventually
from fakes_api import PASSWORD, Cast, RunningApi, create_valuation, email, open_api, publish, publish_totals, seed_cast
from fakes_client import Bank, open_bank

from db.live import LiveStore, create_redis

GUIDE = Path(__file__).parents[2] / "docs" / "client.md"
FOLLOW, ALERTS, WINDOW = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
async def cast(postgres_url: str) -> Cast:
    return await seed_cast(postgres_url)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[LiveStore]:
    redis = create_redis(redis_url, "tests")
    yield LiveStore(redis)
    await redis.aclose()


@pytest.fixture
async def api(postgres_url: str, redis_url: str, cast: Cast) -> AsyncIterator[RunningApi]:
    async with open_api(postgres_url, redis_url) as running:
        yield running


class Sample:
    """Run a sample and read what it prints."""

    def __init__(self, text: str, folder: Path, *arguments: str) -> None:
        self._script, self._output = folder / "sample.py", folder / "output"
        self._script.write_text(text, encoding="utf-8")
        self._arguments = arguments

    async def __aenter__(self) -> Sample:
        with self._output.open("wb") as sink:
            command = (sys.executable, str(self._script), *self._arguments)
            environment = {**os.environ, "PYTHONPATH": str(GUIDE.parents[1])}
            self._process = await asyncio.create_subprocess_exec(*command, stdout=sink, stderr=sink, env=environment)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def prints(self, pattern: str) -> None:
        """Wait until the output holds a pattern."""
        await eventually(
            lambda: self._process.returncode is not None or re.search(pattern, self._output.read_text()), pattern, 40
        )
        assert re.search(pattern, self._output.read_text()), self._output.read_text()


async def test_the_first_sample_follows_a_portfolio(
    api: RunningApi, store: LiveStore, cast: Cast, tmp_path: Path
) -> None:
    await publish(store, create_valuation(cast.bens, {"AAPL": (100_000, 500)}, seq=1))
    async with Sample(FOLLOW, tmp_path, api.url, email("ben"), PASSWORD) as sample:
        await sample.prints(r"live 1000\.0 5\.0\n    AAPL 1000\.0\n")
        await publish(store, create_valuation(cast.bens, {"AAPL": (100_100, 600)}, seq=2))
        await sample.prints(r"1001\.0 6\.0\n    AAPL 1001\.0\n")


async def test_the_sample_of_a_window_shows_the_worst_first(
    api: RunningApi, store: LiveStore, cast: Cast, tmp_path: Path
) -> None:
    await publish_totals(store, {cast.growth: (20_000, 100), cast.income: (50_000, -30), cast.bens: (777, 7)})
    async with Sample(WINDOW, tmp_path, api.url, email("advisor"), PASSWORD) as sample:
        await sample.prints(r"the book: 1400\.0 USD\n    Ana Alba Income -0\.\d+\n    Ana Alba Growth 0\.\d+\n")


async def test_the_sample_of_alerts_prints_and_acknowledges_them(tmp_path: Path) -> None:
    bank = Bank()
    text = ALERTS.replace("email=email, password=password", 'token="any"')
    async with open_bank(bank) as url, Sample(text, tmp_path, url, "", "") as sample:
        await bank.raise_alert()
        await sample.prints(r"Apple Inc\. above 200\.0 is 201\.0 USD\n")
        await eventually(lambda: bank.alerts == [], "it is acknowledged")
