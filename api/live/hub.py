"""Bring streams to clients: who is there, who follows what, and who may still see it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from api.live.client import Client
from api.live.message import FORBIDDEN_STREAM, GOING_AWAY, TOO_MANY_STREAMS, UNAUTHORISED, Message
from api.live.metrics import CONNECTIONS, SUBSCRIPTIONS
from api.live.periodic import periodically
from api.live.protocol import MAX_HZ, MAX_STREAMS, LiveError, StreamName, SubscribeRequest, parse_stream
from api.live.rhythm import Rhythm
from api.live.rights import Granted, grant, still_good
from api.live.stream import LiveStream
from api.live.streams import Streams
from api.live.subscription import ROOM_BYTES, Subscription
from db.postgres import acquire

log = structlog.get_logger()

HEARTBEATS_AT_ONCE = 200


class Hub:
    """Own the clients of one web process."""

    def __init__(self, pool: asyncpg.Pool, streams: Streams, rhythm: Rhythm) -> None:
        self._pool = pool
        self._streams = streams
        self._rhythm = rhythm
        self._clients: set[Client] = set()

    def join(self, client: Client) -> None:
        """Take in a client; from now on it gets heartbeats."""
        self._clients.add(client)
        self._count()

    def leave(self, client: Client) -> None:
        """Let a client go."""
        client.closed = True
        client.end_subscriptions()
        self._clients.discard(client)
        self._count()

    async def subscribe(self, client: Client, request: SubscribeRequest) -> list[dict[str, Any]]:
        """Let a client follow streams, all of them or none; returns the acknowledgement of each.

        Raises `LiveError`, and what asyncpg and redis-py raise where their servers are away.
        """
        wanted = {one.stream: (parse_stream(one.stream), one.position) for one in request.streams}
        if len(client.subscriptions.keys() | wanted.keys()) > MAX_STREAMS:
            raise LiveError(TOO_MANY_STREAMS, f"a client follows at most {MAX_STREAMS} streams")
        names = [name for name, _ in wanted.values()]
        granted = await self._grant(client, names)
        streams = [await self._streams.open(name, granted.portfolio_names.get(name.id, "")) for name in names]
        hz = min(request.max_hz, MAX_HZ)
        return [self._follow(client, stream, hz, wanted[str(stream.name)][1]) for stream in streams]

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        """Let a client follow these streams no longer; those it does not follow are no error."""
        for name in streams:
            subscription = client.subscriptions.pop(name, None)
            if subscription is not None:
                subscription.end()
        self._count()

    def go_away(self) -> None:
        """Tell every client that this process ends; losing the connection then makes each connect to another one."""
        message = Message("closing", {"code": GOING_AWAY, "message": "the server goes away; connect again"})
        for client in self._clients:
            client.send(message)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the streams, the heartbeats and the checks of rights."""
        jobs = self._streams.jobs() | {
            "live heartbeat": self._beat(),
            "live rights": periodically(self._rhythm.rights_s, self.check_rights),
        }
        tasks = [asyncio.create_task(_essential(name, job), name=name) for name, job in jobs.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def check_rights(self) -> None:
        """End what is no longer allowed, and dismiss whose session is over.

        What is subscribed while the question is asked has just been allowed, and is not touched.
        """
        clients = list(self._clients)
        asked = [(client, one) for client in clients for one in client.subscriptions.values()]
        if not clients:
            return
        async with acquire(self._pool) as connection:
            good = await still_good(connection, (client.identity for client in clients))
            granted = await grant(connection, {(client.identity, one.stream.name) for client, one in asked})
        for client, subscription in asked:
            if client.identity in good and (client.identity, subscription.stream.name) not in granted.wishes:
                self._revoke(client, subscription, FORBIDDEN_STREAM, "no longer yours to see")
        for client in clients:
            if client.identity not in good:
                self._dismiss(client)
        if floors := [floor for floor in self._streams.floors if floor.followers]:
            await self._streams.read_books(floors)

    def _dismiss(self, client: Client) -> None:
        for subscription in list(client.subscriptions.values()):
            self._revoke(client, subscription, UNAUTHORISED, "the session has ended")
        client.dismiss(UNAUTHORISED, "the session has ended")

    def _revoke(self, client: Client, subscription: Subscription, code: int, reason: str) -> None:
        name = str(subscription.stream.name)
        if client.subscriptions.get(name) is subscription:
            self.unsubscribe(client, [name])
            client.send(Message("revoked", {"stream": name, "code": code, "message": reason}))

    async def _grant(self, client: Client, names: list[StreamName]) -> Granted:
        wishes = {(client.identity, name) for name in names}
        async with acquire(self._pool) as connection:
            granted = await grant(connection, wishes)
        if granted.wishes != wishes:
            raise LiveError(FORBIDDEN_STREAM, "there is no such stream, or it is not yours to see")
        return granted

    def _follow(
        self, client: Client, stream: LiveStream, hz: float, position: tuple[int, int] | None
    ) -> dict[str, Any]:
        name = str(stream.name)
        self.unsubscribe(client, [name])
        stream.refresh()
        recovered = stream.state.can_continue(position)
        subscription = Subscription(client, stream, hz, position if recovered else None)
        if not client.closed:
            client.subscriptions[name] = subscription
            stream.followers.add(subscription)
            subscription.wake()
            self._count()
        epoch, seq = stream.state.position
        return {"stream": name, "epoch": epoch, "seq": seq, "recovered": recovered}

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._rhythm.heartbeat_s)
            source = "live" if self._streams.is_live else "lost"
            for index, client in enumerate(list(self._clients), 1):
                if client.has_room(ROOM_BYTES):
                    client.send(_heartbeat(client, source))
                if index % HEARTBEATS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _count(self) -> None:
        CONNECTIONS.set(len(self._clients))
        SUBSCRIPTIONS.set(sum(len(client.subscriptions) for client in self._clients))


def _heartbeat(client: Client, source: str) -> Message:
    """Say where each stream stands for this client: what it must hold now, or it has lost something."""
    streams = {
        name: {"epoch": one.position[0], "seq": one.position[1]}
        for name, one in client.subscriptions.items()
        if one.position is not None
    }
    return Message("heartbeat", {"sent_ns": time.time_ns(), "source": source, "streams": streams})


async def _essential(name: str, job: Coroutine[Any, Any, None]) -> None:
    """Do a job without which the stream would be wrong unnoticed: should it fail, the process ends, to start anew."""
    try:
        await job
    except Exception:
        log.critical("a job of the live stream has failed; the process ends", job=name, exc_info=True)
        signal.raise_signal(signal.SIGTERM)
        raise
