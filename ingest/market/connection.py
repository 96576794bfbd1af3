"""Keep one WebSocket to a venue: greet, read, do what the decoder wishes, and open it again when it is lost."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect

from ingest.market.errors import VenueLost
from ingest.market.fetching import fetch_document
from ingest.market.link import Link
from ingest.market.losses import LOSSES, explain_loss, pause_s
from ingest.venues.venue import Decoder, Fetch, Limits, Send, Wish

OPEN_S, PING_S, CLOSE_S = 10.0, 20.0, 0.5
LOOK_EVERY_S = 0.25
STEADY_S = 60.0  # a connection that lived so long begins the pauses anew
MOST_WISHES = 1_000
SNAPSHOT_S = 30.0  # a snapshot that does not come within it is asked for by beginning anew
FETCHES_A_SECOND = 2.0

log = structlog.get_logger()


class Tap(Protocol):
    """Hear everything that passes over a connection, as `ingest.venues.session_file:SessionWriter` does."""

    def opened(self, url: str, at_ns: int) -> None:
        """Hear that a connection was opened."""
        ...

    def sent(self, url: str, frame: str, at_ns: int) -> None:
        """Hear what we sent; it can hold a key."""
        ...

    def fetched(self, url: str, body: bytes, at_ns: int) -> None:
        """Hear what was answered over HTTP."""
        ...

    def received(self, frame: bytes, at_ns: int) -> None:
        """Hear what came."""
        ...


class Connection:
    """Follow some symbols of a venue over one connection, for ever."""

    def __init__(self, link: Link, symbols: Sequence[str], tap: Tap | None = None) -> None:
        self.symbols = tuple(symbols)
        self._link = link
        self._tap = tap
        self._heard_s = 0.0
        self._sends: asyncio.Queue[Send] = asyncio.Queue(MOST_WISHES)
        self._fetches: asyncio.Queue[Fetch] = asyncio.Queue(MOST_WISHES)

    async def run(self) -> None:
        """Connect again and again, until cancelled; each loss is told to the link with its reason."""
        attempt = 0
        while True:
            await self._link.turn()
            began_s = time.monotonic()
            try:
                await self._session()
            except LOSSES as error:
                loss = explain_loss(error)
            finally:
                self._link.tops.reset(self.symbols, time.time_ns())
            attempt = 1 if time.monotonic() - began_s > STEADY_S else attempt + 1
            pause = pause_s(attempt, loss)
            self._link.lose(loss, pause)
            await asyncio.sleep(pause)

    async def _session(self) -> None:
        """Hold one connection until it is lost, which comes out as one of `LOSSES`."""
        link, venue = self._link, self._link.venue
        url = venue.url(self.symbols)
        began_s = time.monotonic()
        async with open_socket(url, venue.headers(), venue.limits, link.tls) as socket:
            self._heard_s = time.monotonic()
            link.connect(len(self.symbols), urlsplit(url).hostname or "", self._heard_s - began_s)
            if self._tap:
                self._tap.opened(url, time.time_ns())
            link.tops.reset(self.symbols, time.time_ns())
            self._sends, self._fetches = asyncio.Queue(MOST_WISHES), asyncio.Queue(MOST_WISHES)
            decoder = venue.decoder(self.symbols)
            self._want([*venue.greeting(self.symbols), *decoder.wishes()])
            try:
                await first_to_end(
                    self._read(socket, decoder), self._send(socket, url), self._fetch(decoder), self._look(socket)
                )
            finally:
                link.connected -= 1

    async def _read(self, socket: ClientConnection, decoder: Decoder) -> None:
        """Take every frame as it comes: the connection is never held up by what is done with the prices.

        A text is not decoded here: what is no UTF-8 is then one record that the decoder refuses, and not the end of
        the connection.
        """
        link, tap = self._link, self._tap
        while True:
            frame = await socket.recv(decode=False)
            received_ns = time.time_ns()
            self._heard_s = time.monotonic()
            if tap:
                tap.received(frame, received_ns)
            link.take(decoder.decode(frame, received_ns), frame, received_ns, self.symbols)
            if wishes := decoder.wishes():
                self._want(wishes)

    def _want(self, wishes: Sequence[Wish]) -> None:
        try:
            for wish in wishes:
                if isinstance(wish, Send):
                    self._sends.put_nowait(wish)
                else:
                    self._fetches.put_nowait(wish)
        except asyncio.QueueFull:
            raise VenueLost(f"more than {MOST_WISHES} requests wait to be sent to it") from None

    async def _send(self, socket: ClientConnection, url: str) -> None:
        """Send what is to be sent, no faster than the venue allows."""
        gap_s = 1.0 / self._link.venue.limits.sends_a_second
        while True:
            wish = await self._sends.get()
            await socket.send(wish.frame)
            if self._tap:
                self._tap.sent(url, wish.frame, time.time_ns())
            self._link.tops.asked(self.symbols, time.time_ns())
            await asyncio.sleep(gap_s)

    async def _fetch(self, decoder: Decoder) -> None:
        """Fetch what is to be fetched, until it is there; a venue that is busy is given the time it asks for."""
        while True:
            wish = await self._fetches.get()
            self._link.tops.asked((wish.symbol,), time.time_ns())
            body = await self._fetch_one(wish)
            received_ns = time.time_ns()
            if self._tap:
                self._tap.fetched(wish.url, body, received_ns)
            self._link.take(decoder.fetched(wish, body, received_ns), body, received_ns, self.symbols)
            self._want(decoder.wishes())
            await asyncio.sleep(1.0 / FETCHES_A_SECOND)

    async def _fetch_one(self, wish: Fetch) -> bytes:
        attempt = 0
        while True:
            try:
                document = await fetch_document(self._link.http, wish.url, {})
            except (httpx.HTTPError, httpx.InvalidURL, OSError, VenueLost) as error:
                attempt += 1
                loss = explain_loss(error)
                log.warning("snapshot not fetched", source=self._link.source, symbol=wish.symbol, reason=str(loss))
                await asyncio.sleep(pause_s(attempt, loss))
            else:
                return document.body or b""

    async def _look(self, socket: ClientConnection) -> None:
        """End a connection that is silent, or on which a snapshot does not come."""
        link = self._link
        silent_after_s = link.silent_after_s or link.venue.limits.silent_after_s
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if time.monotonic() - self._heard_s > silent_after_s:
                raise VenueLost(f"nothing has come for {silent_after_s:g} s")
            if link.tops.oldest_break_ns(self.symbols, time.time_ns()) > SNAPSHOT_S * 1e9:
                raise VenueLost(f"no snapshot has come for {SNAPSHOT_S:g} s after a gap")
            if socket.latency:
                link.offset.travelled(socket.latency)


def open_socket(url: str, headers: Any, limits: Limits, tls: ssl.SSLContext) -> connect:
    """Return the connection to be opened by `async with`: TLS verified, every wait and size bounded."""
    secure: dict[str, Any] = {"ssl": tls} if url.startswith("wss://") else {}
    return _Straight(
        url,
        additional_headers=dict(headers),
        user_agent_header="Alhambra",
        open_timeout=OPEN_S,
        ping_interval=PING_S,
        ping_timeout=PING_S,
        close_timeout=CLOSE_S,
        max_size=limits.frame_bytes,
        **secure,
    )


class _Straight(connect):
    """Follow no redirect: the headers can hold a key that is meant for this host alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def first_to_end(*work: Coroutine[Any, Any, None]) -> None:
    """Do work side by side until one ends, and end the others; raises what that one raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
