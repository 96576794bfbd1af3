"""Time the way from the command to the first live number."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import msgspec

from alhambra.bench.platform import Listener, open_platform, sign_in


class StartFigures(msgspec.Struct, frozen=True):
    """Hold seconds from `alhambra up` to the first snapshot at a socket: a new data folder, and the second time."""

    first_s: float
    second_s: float


async def measure_start() -> StartFigures:
    """Start twice on one data folder."""
    with tempfile.TemporaryDirectory(prefix="alhambra-bench-") as folder:
        return StartFigures(*[await _first_number(Path(folder) / "data") for _ in range(2)])


async def _first_number(data: Path) -> float:
    began = time.monotonic()
    async with open_platform(data) as address:
        token, portfolio = await sign_in(address, "client")
        listener = Listener()
        await listener.follow(address.url, token, f"portfolio:{portfolio}", 20)
        async with asyncio.timeout(30):
            await listener.arrived.wait()
        seconds = time.monotonic() - began
        await listener.close()
    return round(seconds, 1)
