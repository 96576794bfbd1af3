"""Bring streams to clients: who is there, who follows what, and who may still see it."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from api.live.alerts import AlertHub
from api.live.client import Client, Following
from api.live.codes import (
    FORBIDDEN_STREAM,
    GOING_AWAY,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_STREAMS,
    UNAUTHORISED,
    LiveError,
    describe,
)
from api.live.fields import check
from api.live.message import Message
from api.live.metrics import CONNECTIONS, SUBSCRIPTIONS, TRAFFIC
from api.live.periodic import periodically
from api.live.protocol import (
    KINDS_WITH_ID,
    MAX_HZ,
    MAX_STREAMS,
    StreamName,
    StreamRequest,
    SubscribeRequest,
    parse_stream,
)
from api.live.rhythm import Rhythm
from api.live.rights import Granted, grant, still_good
from api.live.selection import Selection
from api.live.stream import LiveStream
from api.live.streams import Streams
from api.live.subscription import ROOM_BYTES
from db.postgres import acquire

log = structlog.get_logger()

HEARTBEATS_AT_ONCE = 200
SWEPT_AT_LEAST = 500  # connections that have ended
AT_LEAST = 5  # heartbeats: so seldom does one come also to who hears of something else all the time


class Hub:
    """Own the clients of one web process."""

    def __init__(self, pool: asyncpg.Pool, streams: Streams, alerts: AlertHub, rhythm: Rhythm) -> None:
        self._pool = pool
        self._streams = streams
        self._alerts = alerts
        self._rhythm = rhythm
        self._clients: set[Client] = set()
        self._connections: Counter[object] = Counter()
        self._left = 0  # since the last sweep

    def join(self, client: Client) -> None:
        """Take in a client; from now on it gets heartbeats. Raises `LiveError` where the user has too many."""
        user = client.identity.user_id
        limit = self._rhythm.guests if client.identity.role == "guest" else self._rhythm.connections
        if self._connections[user] >= limit:
            raise LiveError(TOO_MANY_CONNECTIONS, f"{limit} connections are open already; close one, or try later")
        self._connections[user] += 1
        self._clients.add(client)
        self._count()

    def leave(self, client: Client) -> None:
        """Let a client go."""
        client.closed = True
        client.end_subscriptions()
        if client in self._clients:
            self._clients.remove(client)
            self._left += 1
            user = client.identity.user_id
            self._connections[user] -= 1
            if not self._connections[user]:
                del self._connections[user]
        self._count()

    def followed(self, client: Client, begun_anew: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Return the full set of what a client follows; what it holds of these has to be replaced by a snapshot."""
        fresh = frozenset(begun_anew)
        found = []
        for name, one in client.subscriptions.items():
            epoch, seq = one.newest
            held = name not in fresh
            found.append({"stream": name, "epoch": epoch, "seq": seq, "recovered": held, "max_hz": one.max_hz})
        return found

    async def subscribe(self, client: Client, request: SubscribeRequest) -> list[dict[str, Any]]:
        """Let a client follow streams, all of them or none; returns the full set of what it follows then.

        Raises `LiveError`, and what asyncpg and redis-py raise where their servers are away.
        """
        wanted = {parse_stream(one.stream): one for one in request.streams}
        if len(client.subscriptions.keys() | {str(name) for name in wanted}) > MAX_STREAMS:
            raise LiveError(TOO_MANY_STREAMS, f"a client follows at most {MAX_STREAMS} streams")
        selections = {name: check(name, one) for name, one in wanted.items()}
        granted = await self._grant(client, wanted)
        streams = {name: await self._open(name, one, granted) for name, one in wanted.items()}
        hz = min(request.max_hz, MAX_HZ)
        fresh = [
            one.stream
            for name, one in wanted.items()
            if not self._follow(client, streams[name], hz, one, selections[name])
        ]
        return self.followed(client, fresh)

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        """Let a client follow these streams no longer; those it does not follow are no error."""
        for name in streams:
            subscription = client.subscriptions.pop(name, None)
            if subscription is not None:
                subscription.end()

    async def acknowledge(self, client: Client, seq: int) -> int:
        """Take note that a client's user has had all alerts up to `seq`; returns up to which all are acknowledged."""
        if client.identity.role == "guest":
            raise LiveError(FORBIDDEN_STREAM, "guests have no alerts")
        return await self._alerts.acknowledge(client.identity, seq)

    def go_away(self) -> None:
        """Tell every client that this process ends; losing the connection then makes each connect to another one."""
        for client in list(self._clients):
            client.dismiss(GOING_AWAY, "the server goes away; connect again")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the streams, the heartbeats and the checks of rights."""
        jobs = self._streams.jobs() | {
            "live heartbeat": self._beat(),
            "live rights": periodically(self._rhythm.rights_s, self.check_rights),
            "live alerts": self._alerts.run(),
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

        What is subscribed while the question is asked has just been allowed, and is not touched; nor is who has come
        with another session meanwhile.
        """
        clients = [(client, client.identity) for client in self._clients]
        pairs = ((client, identity, one) for client, identity in clients for one in client.subscriptions.values())
        asked = [each for each in pairs if each[2].name.kind in KINDS_WITH_ID]  # the others are everybody's
        if not clients:
            return
        async with acquire(self._pool) as connection:
            good = await still_good(connection, {identity for _, identity in clients})
            granted = await grant(connection, {(identity, one.name) for _, identity, one in asked})
        for client, identity, following in asked:
            if identity in good and (identity, following.name) not in granted.wishes:
                self._revoke(client, following, FORBIDDEN_STREAM, "no longer yours to see")
        for client, identity in clients:
            if identity not in good and client.identity == identity:
                self._dismiss(client)
        await self._streams.look_after()

    def _dismiss(self, client: Client) -> None:
        for following in list(client.subscriptions.values()):
            self._revoke(client, following, UNAUTHORISED, "the session has ended")
        client.dismiss(UNAUTHORISED, "the session has ended")

    def _revoke(self, client: Client, following: Following, code: int, reason: str) -> None:
        name = str(following.name)
        if client.subscriptions.get(name) is following:
            self.unsubscribe(client, [name])
            client.send(Message("revoked", {"stream": name, **describe(code, reason)}))

    async def _grant(self, client: Client, names: Iterable[StreamName]) -> Granted:
        wishes = {(client.identity, name) for name in names}
        async with acquire(self._pool) as connection:
            granted = await grant(connection, wishes)
        if granted.wishes != wishes:
            raise LiveError(FORBIDDEN_STREAM, "there is no such stream, or it is not yours to see")
        return granted

    async def _open(self, name: StreamName, wanted: StreamRequest, granted: Granted) -> LiveStream | None:
        """Return the stream with its newest state read; alerts are no stream of states."""
        return None if name.kind == "alerts" else await self._streams.open(name, granted.titles[name], wanted.view)

    def _follow(
        self, client: Client, stream: LiveStream | None, hz: float, wanted: StreamRequest, selection: Selection
    ) -> bool:
        """Have a client follow a stream from now on; returns whether what it holds of it is good."""
        self.unsubscribe(client, [wanted.stream])
        if client.closed:
            return False
        if stream is None:
            client.subscriptions[wanted.stream] = self._alerts.subscribe(client)
            return True
        subscription = stream.follow(client, hz, selection, wanted.position)
        client.subscriptions[wanted.stream] = subscription
        return subscription.held is not None

    async def _beat(self) -> None:
        """Say each second how things stand, to who hears nothing else, and now and then to everybody."""
        rounds, told = 0, ("", True)
        while True:
            await asyncio.sleep(self._rhythm.heartbeat_s)
            rounds += 1
            self._sweep()
            source = "live" if self._streams.is_live else "lost"
            news = source, self._streams.is_persisted
            for_all = news != told or rounds % AT_LEAST == 0
            TRAFFIC.hand_on()
            SUBSCRIPTIONS.set(sum(len(client.subscriptions) for client in self._clients))
            told, quiet_before = news, time.monotonic() - self._rhythm.heartbeat_s
            for index, client in enumerate(list(self._clients), 1):
                if (for_all or client.sent_at <= quiet_before) and client.has_room(ROOM_BYTES):
                    client.send(_heartbeat(client, *news))
                if index % HEARTBEATS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _sweep(self) -> None:
        """Free what ended connections have left behind: cycles, and old ones, some ten kilobytes each.

        Python itself would come to them only after millions of allocations. It is done once as many have ended as there
        are, so that what is waited for it stays small against what was served.
        """
        if self._left > max(SWEPT_AT_LEAST, len(self._clients)):
            self._left = 0
            gc.collect()

    def _count(self) -> None:
        CONNECTIONS.set(len(self._clients))


def _heartbeat(client: Client, source: str, persisted: bool) -> Message:
    """Say where each stream stands for this client: what it must hold now, or it has lost something."""
    streams = {
        name: {"epoch": one.position[0], "seq": one.position[1]}
        for name, one in client.subscriptions.items()
        if one.position is not None
    }
    now_ns = time.time_ns()
    return Message("heartbeat", {"sent_ns": now_ns, "source": source, "persisted": persisted, "streams": streams})


async def _essential(name: str, job: Coroutine[Any, Any, None]) -> None:
    """Do a job without which the stream would be wrong unnoticed: should it fail, the process ends, to start anew."""
    try:
        await job
    except Exception:
        log.critical("a job of the live stream has failed; the process ends", job=name, exc_info=True)
        signal.raise_signal(signal.SIGTERM)
        raise
