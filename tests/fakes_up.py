"""Run the whole platform as its user does, beside an event loop that a test needs for itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from alhambra.launch import Launch
from alhambra.ports import free_port

OURS = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "IBOSS_API_URL", "MARKET_FEED")
START_S, END_S = 120.0, 15.0


@dataclass(frozen=True)
class Platform:
    """Hold what `alhambra up` said when everything answered."""

    ready: dict[str, Any]

    @property
    def url(self) -> str:
        """Return where it is served."""
        return str(self.ready["url"])

    def login(self, role: str) -> dict[str, str]:
        """Return how somebody of a role signs in."""
        found = next(one for one in self.ready["logins"] if one["role"] == role)
        return {"email": found["email"], "password": found["password"]}

    async def health(self, worker: str) -> dict[str, Any]:
        """Return what health says of a worker, nothing where it does not say."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as web:
            found = (await web.get(f"{self.url}/api/health")).json()["workers"].get(worker, {})
        return dict(found)


@asynccontextmanager
async def open_platform(data: Path, *arguments: str) -> AsyncIterator[Platform]:
    """Run the platform with its data in a folder, until the end."""
    command = (
        sys.executable,
        "-m",
        "alhambra.main",
        "up",
        "--ready-json",
        "--port",
        str(free_port()),
        "--data",
        str(data),
    )
    leashed = Launch((*command, *arguments), death_signal=signal.SIGTERM).leashed_command()
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with data.with_suffix(".err").open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *leashed, env=environment, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), START_S)
            assert line, data.with_suffix(".err").read_text()
            yield Platform(json.loads(line))
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), END_S)
