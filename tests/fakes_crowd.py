"""Be many clients at once: bare connections that cost little, and some that never read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import websockets
from fakes_live import TRANSPORTS, raw_address, socketio_address

SMALL_BUFFER = 4096


@asynccontextmanager
async def connected(
    transport: str, url: str, auth: Mapping[str, str], streams: Sequence[str], hz: float, **how: Any
) -> AsyncIterator[websockets.ClientConnection]:
    """Connect by hand, come in and subscribe."""
    address = {"socketio": socketio_address, "websocket": raw_address}[transport](url)
    request = {"id": 1, "max_hz": hz, "streams": [{"stream": one} for one in streams]}
    connection = await websockets.connect(address, max_size=None, ping_interval=None, close_timeout=1, **how)
    try:
        if transport == "socketio":
            await connection.recv()
            await connection.send("40/live," + json.dumps({"token": auth["token"]}))
            assert str(await connection.recv()).startswith("40/live,")
            await connection.send("42/live,1" + json.dumps(["subscribe", request]))
        else:
            await connection.send(json.dumps({"type": "auth", "id": 0, "token": auth["token"]}))
            assert json.loads(await connection.recv())["type"] == "authenticated"
            await connection.send(json.dumps({"type": "subscribe", **request}))
        yield connection
    finally:
        connection.transport.abort()


async def small_socket(url: str) -> socket.socket:
    """Connect a socket whose receive buffer is small: who does not read is soon seen not to."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", httpx.URL(url).port))
    return own


@asynccontextmanager
async def stalled_ones(url: str, auth: Mapping[str, str], streams: Sequence[str], count: int) -> AsyncIterator[None]:
    """Have clients of both transports that subscribe and then never read; one more of each only sends PONG."""
    async with AsyncExitStack() as stack:
        for number in range(count + len(TRANSPORTS)):
            transport = TRANSPORTS[number % len(TRANSPORTS)]
            own = await small_socket(url)
            connection = await stack.enter_async_context(connected(transport, url, auth, streams, 20, sock=own))
            connection.transport.pause_reading()
            if number >= count:
                task = asyncio.create_task(send_pongs(transport, connection))
                stack.callback(task.cancel)
        yield


async def send_pongs(transport: str, connection: websockets.ClientConnection) -> None:
    """Send PONG after PONG: the sign of life that is no sign of reading."""
    with suppress(websockets.ConnectionClosed):
        while True:
            await (connection.send("3") if transport == "socketio" else connection.pong())
            await asyncio.sleep(0.05)
