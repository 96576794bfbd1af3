"""The real process: it ends at once when asked to, says nothing untoward, and another one goes on where it was."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fakes import eventually, open_server
from fakes_stream import Stage, open_stage

from alhambra.embedded.broker import open_broker
from alhambra.launch import Launch, python_module

pytestmark = pytest.mark.integration
END_WITHIN_S = 3.0


def launch_of(stage: Stage) -> Launch:
    settings = stage.settings
    environment = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
    }
    return Launch(python_module("stream"), environment)


async def end(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Ask the process to end; returns its exit code and how long it took."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(process.wait, 20)
    return code, time.monotonic() - begun


async def test_it_ends_when_asked_to_and_its_successor_goes_on_under_a_new_epoch(
    postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "stream.log"
    with open_broker() as servers:
        async with open_stage(postgres_url, redis_url, servers) as stage:
            identity = await stage.bank.add_booked("USD", (3, "10"), (12, "5"))
            await stage.feed.quote((3, 151.0))
            with open_server(launch_of(stage), log) as process:
                first = await eventually(lambda: stage.is_right(identity), "the first one has valued it", 30)
                code, took = await end(process)
            assert (code, took < END_WITHIN_S) == (0, True), f"{code} after {took} s"
            await stage.feed.quote((3, 152.0))  # nobody listens
            await stage.bank.book(identity, "USD", 2, (3, "11"))
            with open_server(launch_of(stage), log) as process:
                second = await eventually(lambda: stage.is_right(identity), "the second one has caught up", 30)
                assert second.epoch == first.epoch + 1
    assert "Traceback" not in log.read_text()
