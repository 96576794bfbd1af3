"""Run venues on this machine, over real WebSockets, HTTP and TLS, that misbehave as a test tells them to.

A `VenueServer` owns the sockets and the faults; what is said on them is a `Market`'s (`fakes_markets.py`). Frames are
made by the protocol and written by us, so a test can cut one in its middle, send it byte by byte, or never.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from websockets.datastructures import Headers
from websockets.exceptions import InvalidState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

BEAT_S = 0.05
MEMORY_OF_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Say what an HTTP request is answered with."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Faults:
    """Say what is wrong with a venue at the moment; all of it can be changed at any time.

    The next records are dropped, doubled, or swapped with the one that follows. `handshakes` and `documents` answer the
    next requests for a WebSocket, and for anything else, in place of what they asked for. While `silent`, no record
    goes out, but pings are answered; while not `alive`, nothing does, and nobody hears of a connection that ends.
    """

    drop: int = 0
    double: int = 0
    swap: int = 0
    silent: bool = False
    byte_pause_s: float = 0.0
    handshakes: deque[Answer] = field(default_factory=deque)
    documents: deque[Answer] = field(default_factory=deque)
    alive: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.alive.set()

    @property
    def dead(self) -> bool:
        """Say whether nothing at all goes out."""
        return not self.alive.is_set()


class Dialect(Protocol):
    """Say what a venue says on one connection."""

    async def begin(self) -> None:
        """Greet."""
        ...

    async def hear(self, text: str) -> None:
        """Take what a client says."""
        ...


class Market(Protocol):
    """Say what a venue says at all."""

    def dialect(self, wire: Wire, path: str) -> Dialect:
        """Return what speaks on a connection that was opened at this path."""
        ...

    def forget(self, wire: Wire) -> None:
        """Let go of a connection that has ended."""
        ...

    def document(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Answer a request that is none for a WebSocket; None where no answer ever comes."""
        ...

    async def beat(self) -> None:
        """Say what is said from time to time; called twenty times a second."""
        ...


class Wire:
    """One WebSocket that a client opened: what it sends goes through the faults of its server."""

    def __init__(self, protocol: ServerProtocol, writer: asyncio.StreamWriter, faults: Faults) -> None:
        self._protocol = protocol
        self._writer = writer
        self._faults = faults
        self._kept: str | None = None
        self._order = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Say whether frames can be sent."""
        return self._protocol.state is State.OPEN and not self._writer.is_closing()

    async def say(self, text: str) -> None:
        """Send a record, as far as the faults let it."""
        for record in self._with_faults(text):
            await self.frame(record)

    async def frame(self, data: str | bytes) -> None:
        """Send a frame as it is: text, or binary where bytes are given."""
        if not self.is_open:
            return
        if isinstance(data, str):
            self._protocol.send_text(data.encode())
        else:
            self._protocol.send_binary(data)
        await self.flush()

    async def not_utf8(self, data: bytes) -> None:
        """Send a frame of text that is none."""
        if self.is_open:
            self._protocol.send_text(data)
            await self.flush()

    async def cut(self, text: str) -> None:
        """Send the first half of a frame, and break the connection off."""
        if not self.is_open:
            return
        self._protocol.send_text(text.encode())
        data = b"".join(self._protocol.data_to_send())
        self._writer.write(data[: len(data) // 2])
        with suppress(OSError):
            await self._writer.drain()
        self._writer.transport.abort()

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a code, as a venue that goes down does."""
        with suppress(InvalidState):
            self._protocol.send_close(code, reason)
        await self.flush()

    async def flush(self) -> None:
        """Write what the protocol has to say, one byte at a time where that is the fault."""
        async with self._order:
            for data in self._protocol.data_to_send():
                if self._faults.dead or self._writer.is_closing():
                    continue
                with suppress(OSError):
                    await (self._write(data) if data else self._end())

    async def _write(self, data: bytes) -> None:
        if not self._faults.byte_pause_s:
            self._writer.write(data)
        for number in range(len(data) if self._faults.byte_pause_s else 0):
            self._writer.write(data[number : number + 1])
            await asyncio.sleep(self._faults.byte_pause_s)
        await self._writer.drain()

    async def _end(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def _with_faults(self, text: str) -> Iterable[str]:
        faults = self._faults
        if faults.silent:
            return ()
        if faults.drop:
            faults.drop -= 1
            return ()
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return text, kept
        if faults.swap:
            faults.swap -= 1
            self._kept = text
            return ()
        if faults.double:
            faults.double -= 1
            return text, text
        return (text,)


class VenueServer:
    """A venue's address. Counts handshakes and requests, with the time of each."""

    def __init__(self, market: Market, tls: ssl.SSLContext | None = None, compress: bool = False) -> None:
        self.market = market
        self.faults = Faults()
        self.port = 0
        self.requests: deque[tuple[float, str]] = deque(maxlen=MEMORY_OF_REQUESTS)
        self.answered: deque[tuple[float, int]] = deque(maxlen=MEMORY_OF_REQUESTS)  # with their status
        self.handshakes: deque[float] = deque(maxlen=MEMORY_OF_REQUESTS)
        self.headers: dict[str, str] = {}
        self.wires: set[Wire] = set()
        self._tls = tls
        self._compress = compress
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None

    @property
    def ws_url(self) -> str:
        """Return the address for WebSockets, without a path."""
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """Return the address for documents, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[VenueServer]:
        """Serve until the end."""
        await self.start()
        beating = asyncio.create_task(self._beat())
        try:
            yield self
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self.stop()

    async def start(self) -> None:
        """Listen, at the same port as before where there was one."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go away: break every connection off and refuse new ones."""
        assert self._listener is not None
        self._listener.close()
        self.break_off()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def break_off(self) -> None:
        """Abort every connection that there is."""
        for writer in self._writers:
            writer.transport.abort()

    async def close_all(self, code: int, reason: str = "") -> None:
        """Close every WebSocket with a code."""
        for wire in tuple(self.wires):
            await wire.close(code, reason)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self.market.beat()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the other end has gone, or the test is over
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        extensions = [ServerPerMessageDeflateFactory()] if self._compress else None
        protocol = ServerProtocol(extensions=extensions, max_size=1 << 20)
        request = await _read_request(protocol, reader)
        if request is None:
            return
        now = asyncio.get_running_loop().time()
        self.requests.append((now, request.path))
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()}
        await self.faults.alive.wait()
        is_socket = "upgrade" in self.headers
        if is_socket:
            self.handshakes.append(now)
        told = self.faults.handshakes if is_socket else self.faults.documents
        if is_socket and not told:
            await self._speak(protocol, reader, writer, request)
            return
        answer = told.popleft() if told else self._document(request)
        self.answered.append((now, 0 if answer is None else answer.status))
        if answer is None:
            await reader.read()  # until the other end has had enough
            return
        writer.write(_written(answer).serialize())
        await writer.drain()
        writer.close()

    def _document(self, request: Request) -> Answer | None:
        return self.market.document(request.path, self.headers)

    async def _speak(
        self, protocol: ServerProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
    ) -> None:
        protocol.send_response(protocol.accept(request))
        wire = Wire(protocol, writer, self.faults)
        self.wires.add(wire)
        try:
            await wire.flush()
            dialect = self.market.dialect(wire, request.path)
            await dialect.begin()
            while data := await reader.read(1 << 16):
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if isinstance(event, Frame) and event.opcode is Opcode.TEXT and not self.faults.dead:
                        await dialect.hear(bytes(event.data).decode())
                await wire.flush()
            await self.faults.alive.wait()  # who is dead does not hang up either
        finally:
            self.wires.discard(wire)
            self.market.forget(wire)


async def _read_request(protocol: ServerProtocol, reader: asyncio.StreamReader) -> Request | None:
    while data := await reader.read(1 << 16):
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, Request)
            return event
    return None


def _written(answer: Answer) -> Response:
    headers = Headers({"Content-Length": str(len(answer.body)), "Connection": "close", **answer.headers})
    return Response(answer.status, "As Told", headers, answer.body)
