"""JavaScript follows too: npm's socket.io-client, and the WebSocket that Node and browsers bring."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import eventually
from fakes_api import Cast, create_valuation, document_of, open_api, publish
from fakes_live import next_seq, sign_in
from fakes_node import NODE, install
from fakes_processes import Relay

from db.live import LiveStore, create_redis
from stream.messages import Valuation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]
PEER = Path(__file__).with_name("peers") / "follow.mjs"
PACKAGES = Path(__file__).parents[1] / "api" / "node"
SOON_S = 30.0


class Peer:
    """A follower written in JavaScript; it says after each message what it holds."""

    def __init__(self, output: Path) -> None:
        self._output = output

    @property
    def said(self) -> dict[str, Any]:
        """Return what it holds now, with its counts."""
        text = self._output.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last line may be half written
        assert not any(line.startswith(("refused", "Error")) for line in lines), lines[-5:]
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return found

    def holds(self, valuation: Valuation) -> bool:
        """Say whether it holds a valuation; fails where it holds something else at its position."""
        said = self.said
        if (said.get("epoch"), said.get("seq")) != (valuation.epoch, valuation.seq):
            return False
        document = document_of(valuation)
        rows = {row["symbol"]: row for row in document["rows"]}
        assert said["rows"].keys() == rows.keys()
        for symbol, row in rows.items():
            assert plain(row).items() <= plain(said["rows"][symbol]).items()
        known = document.keys() & said["totals"].keys() - {"allocation"}
        assert {name: plain(said["totals"])[name] for name in known if not name.endswith("_ns")} == {
            name: document[name] for name in known if not name.endswith("_ns")
        }
        assert said["totals"]["allocation"] == document["allocation"]
        return True


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out the times: JavaScript's numbers hold them to 256 ns."""
    return {name: value for name, value in fields.items() if not name.endswith("_ns")}


@asynccontextmanager
async def peer(folder: Path, *arguments: str) -> AsyncIterator[Peer]:
    """Run the follower in a folder where it finds its package."""
    shutil.copy(PEER, folder)
    shutil.copytree(install(PACKAGES) / "node_modules", folder / "node_modules", symlinks=True)
    output = folder / "output"
    with output.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            str(NODE), PEER.name, *arguments, cwd=folder, stdout=sink, stderr=sink
        )
    try:
        yield Peer(output)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_javascript_holds_what_the_server_holds_through_loss_and_a_new_epoch(
    module_postgres_url: str, module_redis_url: str, cast: Cast, transport: str, tmp_path: Path
) -> None:
    redis = create_redis(module_redis_url, "tests")
    store = LiveStore(redis)
    epoch = next_seq()

    async def value(values: dict[str, tuple[int, int]], epoch: int = epoch) -> Valuation:
        valuation = create_valuation(cast.bens, values, epoch, next_seq())
        await publish(store, valuation)
        return valuation

    first = await value({"AAPL": (1000, 5), "USD": (5, 0)})
    async with open_api(module_postgres_url, module_redis_url, sign_in_attempts=1000) as api:
        relay = Relay(api.url)
        token = (await sign_in(api.url, "ben"))["token"]
        arguments = (transport, relay.url, token, f"portfolio:{cast.bens}")
        async with relay.running(), peer(tmp_path, *arguments) as follower:
            await eventually(lambda: follower.holds(first), "the snapshot is held", SOON_S)
            for number in range(10):
                last = await value({"AAPL": (1000 + number, 7), "NESN": (number % 2, 0), "USD": (5, 0)})
            await eventually(lambda: follower.holds(last), "the deltas are held", SOON_S)
            relay.cut()
            last = await value({"NESN": (77, 1)})
            await eventually(lambda: follower.holds(last), "it has come back and continued", SOON_S)
            assert (follower.said["connections"], follower.said["snapshots"]) == (2, 1)
            last = await value({"AAPL": (1, 1)}, epoch + 1)
            await eventually(lambda: follower.holds(last), "a new epoch is held", SOON_S)
            assert (follower.said["snapshots"], follower.said["gaps"]) == (2, 0)
            next(iter(api.process._holder.state.hub._clients)).dismiss(3000, "the server goes away")
            last = await value({"AAPL": (2, 1)}, epoch + 1)
            await eventually(lambda: follower.holds(last), "it has come back after a goodbye", SOON_S)
            assert (follower.said["connections"], follower.said["goodbyes"]) == (3, [3000])
    await redis.aclose()
