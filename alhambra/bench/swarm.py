"""Be many clients in one process: `python -m alhambra.bench.swarm`, told on standard input what to follow.

It says `ready` when every client has had its first update, counts from `begin`, and at `end` writes a line of JSON.
At `settle NS` it waits until every client holds what happened at NS, and writes another one.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from alhambra.bench.socket_client import CLIENTS, SocketClient

AT_ONCE = 20  # that connect side by side: each sign-in asks PostgreSQL
FIRST_UPDATE_S = 60.0
SETTLE_S = 10.0
LOOK_AGAIN_S = 0.05


class Task(msgspec.Struct, frozen=True):
    """Say whom to be: a client for each (token, stream), with at most `max_hz` updates a second.

    One client in `sample` keeps latencies.
    """

    host: str
    port: int
    max_hz: float
    clients: list[tuple[str, str]]
    transport: str = "socketio"
    sample: int = 1


class Seen(msgspec.Struct, frozen=True):
    """Hold what the clients saw between `begin` and `end`: the age of the newest tick in each update, on arrival.

    `seconds` lie between the two. `lost` counts clients whose connection ended, `gaps` deltas that did not follow the
    one before, both since they came; `updates` and their `bytes`, with the frames, are those of all clients.
    """

    latencies_ms: list[float]
    seconds: float
    lost: int
    gaps: int
    updates: int
    bytes: int


class Settled(msgspec.Struct, frozen=True):
    """Hold what is missing when all is quiet: clients that ended, gaps, and clients without the newest update."""

    lost: int
    gaps: int
    behind: int


async def main(task: Task) -> None:
    """Connect, then do what is said on standard input."""
    gate = asyncio.Semaphore(AT_ONCE)
    clients = await asyncio.gather(*(_connect(task, number, gate) for number in range(len(task.clients))))
    gc.collect()
    gc.freeze()
    _say(b"ready")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    began = time.monotonic()
    while line := await reader.readline():
        word, *rest = line.split()
        if word == b"begin":
            began = time.monotonic()
            for client in clients:
                client.reset()
        elif word == b"end":
            _say(msgspec.json.encode(_seen(clients, time.monotonic() - began)))
        elif word == b"settle":
            _say(msgspec.json.encode(await _settle(clients, int(rest[0]))))


async def _connect(task: Task, number: int, gate: asyncio.Semaphore) -> SocketClient:
    loop = asyncio.get_running_loop()
    host, (token, stream) = f"{task.host}:{task.port}", task.clients[number]
    kind, sampled = CLIENTS[task.transport], number % task.sample == 0
    async with gate, asyncio.timeout(FIRST_UPDATE_S):
        _, client = await loop.create_connection(
            lambda: kind(host, token, stream, task.max_hz, sampled), task.host, task.port
        )
        await client.arrived.wait()
    if client.ended:
        raise ConnectionError(f"the server did not let a client follow {stream}: {client.reason or 'no reason given'}")
    return client


def _seen(clients: Sequence[SocketClient], seconds: float) -> Seen:
    return Seen(
        [round(latency, 3) for client in clients for latency in client.latencies_ms],
        seconds,
        sum(client.ended for client in clients),
        sum(client.gaps for client in clients),
        sum(client.updates for client in clients),
        sum(client.bytes for client in clients),
    )


async def _settle(clients: Sequence[SocketClient], newest_ns: int) -> Settled:
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    behind = list(clients)
    while behind and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_AGAIN_S)
        behind = [client for client in behind if not client.ended and client.newest_ns < newest_ns]
    return Settled(sum(one.ended for one in clients), sum(one.gaps for one in clients), len(behind))


def _say(line: bytes) -> None:
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Task)))
