"""Speak the protocol on one WebSocket: requests and their answers, and the messages that come by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from alhambra.client.clock import Clock
from alhambra.client.errors import BAD_REQUEST, GOING_AWAY, ConnectionLost, Refused
from alhambra.client.messages import Answer, Closing, ErrorMessage, Event, UnreadableMessage, parse_message

PATH = "/ws/v1"
OPEN_S, CLOSE_S, ANSWER_S = 10.0, 1.0, 10.0
LARGEST_MESSAGE = 64 * 1024 * 1024  # the snapshot of a floor of a hundred thousand portfolios
CODES = range(3000, 4000)  # of closures that are ours
PASSING_STATUSES = (408, 425, 429)  # besides 5xx: refused now, and perhaps not later


@dataclass(frozen=True, slots=True)
class _Pending:
    """Hold what waits for an answer. `taken` is called before any later message is read."""

    answer: asyncio.Future[Answer]
    sent_ns: int
    taken: Callable[[Any], None] | None


class Connection:
    """Hold one connection. One task calls `receive` again and again; any may call `request` meanwhile."""

    def __init__(self, socket: ClientConnection, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self._numbers = itertools.count(1)
        self._pending: dict[int | str, _Pending] = {}
        self.heard = 0  # how many messages have come

    async def request(self, kind: str, taken: Callable[[Any], None] | None = None, **content: Any) -> Answer:
        """Ask, and return the answer. Raises `Refused`, and `ConnectionLost` when no answer comes within 10 s."""
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        text = msgspec.json.encode({"type": kind, "id": number, **content}).decode()
        self._pending[number] = _Pending(answer, time.time_ns(), taken)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._socket.send(text)
                return await answer
        except TimeoutError as error:
            raise ConnectionLost(f"the server does not answer a request to {kind}") from error
        except ConnectionClosed as error:
            raise lost(error) from error
        finally:
            del self._pending[number]

    async def receive(self) -> Event:
        """Return the next message that is no answer. Raises `ConnectionLost`, and `Refused` when the server ends it."""
        while True:
            try:
                message = parse_message(await self._socket.recv())
            except ConnectionClosed as error:
                raise lost(error) from error
            except UnreadableMessage as error:
                raise ConnectionLost(f"the server sent what is no message: {error}") from error
            self.heard += 1
            if isinstance(message, Answer):
                self._take(message)
            elif isinstance(message, Closing):
                raise ended(message.code, message.name, message.message)
            elif message is not None:
                return message

    def _take(self, answer: Answer) -> None:
        pending = None if answer.id is None else self._pending.get(answer.id)
        if pending is None or pending.answer.done():
            if answer.id is None and isinstance(answer, ErrorMessage):  # it could not read what we sent
                raise _refusal(answer)
            return
        self._clock.add(pending.sent_ns, time.time_ns(), answer.server_ns)
        if isinstance(answer, ErrorMessage):
            pending.answer.set_exception(_refusal(answer))
            return
        if pending.taken is not None:
            pending.taken(answer)
        pending.answer.set_result(answer)


@asynccontextmanager
async def open_connection(url: str, clock: Clock) -> AsyncIterator[Connection]:
    """Connect to the platform at an `http` or `https` address. Raises `ConnectionLost`, `Refused`."""
    address = "ws" + url.removeprefix("http") + PATH
    opening = connect(
        address,
        compression=None,
        max_size=LARGEST_MESSAGE,
        open_timeout=OPEN_S,
        close_timeout=CLOSE_S,
        user_agent_header="alhambra-client",
    )
    try:
        socket = await opening
    except InvalidStatus as error:
        raise _turned_away(url, error.response.status_code) from error
    except ssl.SSLCertVerificationError as error:
        raise Refused(BAD_REQUEST, "bad_certificate", f"{url} is not who it says: {error.verify_message}") from error
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise ConnectionLost(f"{url} does not answer: {error or type(error).__name__}") from error
    try:
        yield Connection(socket, clock)
    finally:
        with contextlib.suppress(ConnectionClosed):
            await socket.close()


def ended(code: int, name: str, message: str) -> ConnectionLost | Refused:
    """Return what the end of a connection with this code means."""
    if code == GOING_AWAY:
        return ConnectionLost(message or "the server goes away", at_once=True)
    return Refused(code, name, message)


def lost(error: ConnectionClosed) -> ConnectionLost | Refused:
    """Return what a closed connection means: a code of ours, or a connection that is gone."""
    close = error.rcvd
    if close is not None and close.code in CODES:
        return ended(close.code, close.reason or "closed", close.reason or "the server closed the connection")
    return ConnectionLost(f"the connection is lost ({error})")


def _refusal(answer: ErrorMessage) -> Refused:
    return Refused(answer.error.code, answer.error.name, answer.error.message)


def _turned_away(url: str, status: int) -> ConnectionLost | Refused:
    if status >= 500 or status in PASSING_STATUSES:
        return ConnectionLost(f"{url} answers {status}")
    return Refused(BAD_REQUEST, "no_stream", f"{url} answers {status} where the live stream should be")
