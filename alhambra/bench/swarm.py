"""Be many clients in one process: `python -m alhambra.bench.swarm`, told on standard input what to follow.

It says `ready` when every client has had its first update, counts from `begin`, and at `end` writes a line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from alhambra.bench.socket_client import SocketClient

AT_ONCE = 20  # that connect side by side: each sign-in asks PostgreSQL
FIRST_UPDATE_S = 60.0


class Task(msgspec.Struct, frozen=True):
    """Say whom to be: a client for each (token, stream), with at most `max_hz` updates a second."""

    host: str
    port: int
    max_hz: float
    clients: list[tuple[str, str]]


class Seen(msgspec.Struct, frozen=True):
    """Hold what the clients saw between `begin` and `end`: the age of the newest tick in each update, on arrival.

    `lost` counts clients whose connection ended, `gaps` deltas that did not follow the one before.
    """

    latencies_ms: list[float]
    lost: int
    gaps: int


async def main(task: Task) -> None:
    """Connect, then follow what is said on standard input."""
    gate = asyncio.Semaphore(AT_ONCE)
    clients = await asyncio.gather(*(_connect(task, token, stream, gate) for token, stream in task.clients))
    gc.collect()
    gc.freeze()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readuntil(b"begin\n")
    for client in clients:
        client.latencies_ms.clear()
    await reader.readuntil(b"end\n")
    sys.stdout.write(msgspec.json.encode(_seen(clients)).decode() + "\n")
    sys.stdout.flush()


async def _connect(task: Task, token: str, stream: str, gate: asyncio.Semaphore) -> SocketClient:
    loop = asyncio.get_running_loop()
    host = f"{task.host}:{task.port}"
    async with gate, asyncio.timeout(FIRST_UPDATE_S):
        _, client = await loop.create_connection(
            lambda: SocketClient(host, token, stream, task.max_hz), task.host, task.port
        )
        await client.arrived.wait()
    if client.ended:
        raise ConnectionError(f"the server did not let a client follow {stream}")
    return client


def _seen(clients: Sequence[SocketClient]) -> Seen:
    return Seen(
        [round(latency, 3) for client in clients for latency in client.latencies_ms],
        sum(client.ended for client in clients),
        sum(client.gaps for client in clients),
    )


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Task)))
