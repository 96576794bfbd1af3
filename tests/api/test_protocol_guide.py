"""The samples work as they stand, on a real server, and the guide shows them as they are."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes import eventually
from fakes_api import PASSWORD, Cast, RunningApi, create_valuation, email, publish
from fakes_live import next_seq
from fakes_node import NODE, install

from api.docs.samples import SAMPLES, Sample
from api.live.codes import NAMES, SLOW
from db.live import LiveStore

GUIDE = Path(__file__).parents[2] / "docs" / "protocol.md"
BY_NAME = {one.name: one for one in SAMPLES}


@asynccontextmanager
async def running(sample: Sample, folder: Path, *arguments: str) -> AsyncIterator[Path]:
    """Run a sample in a folder of its own; lends the file with what it says."""
    script, output = folder / sample.name, folder / "output"
    script.write_text(sample.text, encoding="utf-8")
    if "socket.io-client" in sample.text:
        shutil.copytree(install(Path(__file__).with_name("node")) / "node_modules", folder / "node_modules")
    runs = sys.executable if script.suffix == ".py" else str(NODE)
    with output.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(runs, str(script), *arguments, stdout=sink, stderr=sink)
    try:
        yield output
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("name", BY_NAME)
async def test_a_sample_follows_a_portfolio_through_the_loss_of_its_connection(
    name: str, api: RunningApi, store: LiveStore, cast: Cast, tmp_path: Path
) -> None:
    async def moves(output: Path, gain: int, expected: str) -> None:
        seq = next_seq()
        await publish(store, create_valuation(cast.bens, {"AAPL": (100_000 + seq, gain), "USD": (0, 0)}, seq=seq))
        shown = re.compile(rf"^Core {(100_000 + seq) / 100:.12g} {expected}$", re.MULTILINE)
        await eventually(lambda: shown.search(output.read_text()), f"{shown.pattern} is shown", 30)

    await publish(store, create_valuation(cast.bens, {"AAPL": (100_000, 1)}, seq=next_seq()))
    async with running(BY_NAME[name], tmp_path, api.url, email("ben"), PASSWORD) as output:
        await eventually(lambda: "Core 1000 0.01" in output.read_text().replace("1000.0", "1000"), "a snapshot", 30)
        await moves(output, 650, "6.5")
        clients = api.process._holder.state.hub._clients
        await eventually(lambda: len(clients) == 1, "those before have gone")
        next(iter(clients)).cut(SLOW, "to see it come back")
        await moves(output, 750, "7.5")


def test_the_guide_shows_the_samples_as_they_are() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    shown = re.findall(r"```(?:python|javascript)\n(.*?)```", text, re.DOTALL)
    assert {"follow_websocket.py", "follow_socketio.mjs"} == {one.name for one in SAMPLES if one.text in shown}
    assert all(one.name in text for one in SAMPLES)


def test_the_guide_names_every_code() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| (\d{4}) \| (\w+) \|", text, re.MULTILINE)) == {str(c): n for c, n in NAMES.items()}
