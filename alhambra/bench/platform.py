"""Run the platform for a measurement, as a user does, and listen to it as a program does."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import socketio

from alhambra.launch import own_environment
from alhambra.ports import free_port
from alhambra.running import Address

SERVERS = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "IBOSS_API_URL", "MARKET_FEED")
READY_S = 180.0
STOP_S = 15.0


@asynccontextmanager
async def open_platform(data: Path, *options: str) -> AsyncIterator[Address]:
    """Run `alhambra up` with servers of its own; gives what it says when everything answers."""
    port = str(free_port())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alhambra.main", "up", "--port", port, "--data", str(data), "--ready-json", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=own_environment(without=SERVERS),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_S):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"alhambra up did not start: run it by hand with --data {data}")
        yield msgspec.json.decode(line, type=Address)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(STOP_S):
            await process.wait()


class Listener:
    """Follow one stream as a Socket.IO client and keep when each update arrived and how old its newest tick was."""

    def __init__(self) -> None:
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("snapshot", self._take, namespace="/live")
        self._client.on("delta", self._take, namespace="/live")
        self.latencies_ms: list[float] = []
        self.arrived = asyncio.Event()

    async def follow(self, url: str, token: str, stream: str, max_hz: float) -> None:
        """Connect and subscribe."""
        await self._client.connect(url, namespaces=["/live"], auth={"token": token}, transports=["websocket"])
        wanted = {"id": 1, "streams": [{"stream": stream}], "max_hz": max_hz}
        await self._client.call("subscribe", wanted, namespace="/live")

    async def close(self) -> None:
        """Disconnect."""
        await self._client.disconnect()

    async def _take(self, message: dict[str, Any]) -> None:
        if message["event_ns"]:
            self.latencies_ms.append((time.time_ns() - message["event_ns"]) / 1e6)
        self.arrived.set()


async def sign_in(address: Address, role: str) -> tuple[str, str]:
    """Sign in as the first demonstration login of a role; return its token and the id of its first portfolio."""
    login = next(one for one in address.logins if one["role"] == role)
    async with httpx.AsyncClient(base_url=address.url) as client:
        answer = await client.post("/api/auth/login", json={"email": login["email"], "password": login["password"]})
        token = answer.raise_for_status().json()["token"]
        overview = await client.get("/api/portfolio/overview", headers={"Authorization": f"Bearer {token}"})
        return token, overview.raise_for_status().json()["portfolios"][0]["id"]
