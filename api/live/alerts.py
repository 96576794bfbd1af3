"""Bring alerts to clients: every one, in order, until its user acknowledges it.

Alerts stay in PostgreSQL, and a client is known by the number of the last one that it was sent: so nothing is queued
here, and a client without room simply has its next ones later. Redis only says when to look; each two seconds there is
a look anyway, in one query for everybody.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import msgspec
import structlog

from api.auth.identity import Identity
from api.errors import UNAVAILABLE
from api.live.message import Message
from api.live.metrics import MESSAGES_DROPPED
from api.live.protocol import MAX_HZ, StreamName
from api.live.state import Position
from api.live.subscription import ROOM_BYTES
from db.alerts import PAGE, Alert, acknowledge, alerts_after
from db.postgres import acquire

if TYPE_CHECKING:
    from api.live.client import Client

LOOK_EVERY_S = 2.0
LOOK_FOR_ROOM_S = 0.1
RETRY_S = 1.0
NAME = StreamName("alerts")
EPOCH = 1  # their numbers are PostgreSQL's, and never begin anew

log = structlog.get_logger()


class Announcement(msgspec.Struct, frozen=True):
    """Hold what the channel of alerts says: this user has new ones."""

    user_id: UUID


class AlertSubscription:
    """Hold up to which number a client has been sent its user's alerts."""

    def __init__(self, hub: AlertHub, client: Client) -> None:
        self.client = client
        self.user_id = client.identity.user_id
        self.sent = 0
        self._hub = hub

    @property
    def name(self) -> StreamName:
        """Return the stream's name."""
        return NAME

    @property
    def position(self) -> Position | None:
        """Return (epoch, number) of the last alert sent to this client, None before the first."""
        return (EPOCH, self.sent) if self.sent else None

    @property
    def newest(self) -> Position:
        """Return the same; (0, 0) before the first."""
        return self.position or (0, 0)

    @property
    def max_hz(self) -> float:
        """Return what no client can slow down: alerts come as they are raised."""
        return MAX_HZ

    def end(self) -> None:
        """Send nothing any more."""
        self._hub.leave(self)

    def take(self, alerts: Iterable[Alert], messages: dict[tuple[UUID, int], Message]) -> bool:
        """Send alerts in order while there is room; returns whether all were sent. Each is encoded once."""
        for alert in alerts:
            if not self.client.has_room(ROOM_BYTES):
                return False
            key = alert.user_id, alert.seq
            if key not in messages:
                messages[key] = alert_message(alert, time.time_ns())
            self.client.send(messages[key])
            self.sent = alert.seq
        return True


class AlertHub:
    """Own the followers of alerts in one web process."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._followers: dict[UUID, set[AlertSubscription]] = defaultdict(set)
        self._due: set[AlertSubscription] = set()
        self._woken = asyncio.Event()

    def subscribe(self, client: Client) -> AlertSubscription:
        """Let a client follow the alerts of its user: first all that are not acknowledged, then those that come."""
        subscription = AlertSubscription(self, client)
        self._followers[subscription.user_id].add(subscription)
        self._look([subscription])
        return subscription

    def leave(self, subscription: AlertSubscription) -> None:
        """Let a follower go."""
        self._due.discard(subscription)
        followers = self._followers[subscription.user_id]
        followers.discard(subscription)
        if not followers:
            del self._followers[subscription.user_id]

    async def acknowledge(self, identity: Identity, seq: int) -> int:
        """Acknowledge a user's alerts up to `seq`; return up to which all are acknowledged now."""
        async with acquire(self._pool) as connection, connection.transaction():
            return await acknowledge(connection, identity.user_id, seq)

    def announced(self, data: bytes) -> None:
        """Take what came on the channel of alerts."""
        try:
            self.wake(msgspec.json.decode(data, type=Announcement).user_id)
        except msgspec.MsgspecError as error:
            MESSAGES_DROPPED.labels("unreadable").inc()
            log.error("word of an alert cannot be read", error=str(error))  # noqa: TRY400  its trace says no more

    def wake(self, user_id: UUID) -> None:
        """Look for new alerts of a user now."""
        self._look(self._followers.get(user_id, ()))

    async def run(self) -> None:
        """Bring everybody what is new, for ever."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                self._due.update(one for followers in self._followers.values() for one in followers)
            self._woken.clear()
            behind = await self._bring()
            if behind:
                await asyncio.sleep(LOOK_FOR_ROOM_S)
                self._look(one for one in behind if one in self._followers.get(one.user_id, ()))

    def _look(self, followers: Iterable[AlertSubscription]) -> None:
        self._due.update(followers)
        if self._due:
            self._woken.set()

    async def _bring(self) -> list[AlertSubscription]:
        """Send what is new to those who are due and have room; return who has not had everything."""
        due, self._due = self._due, set()  # who is woken while the question is asked is due again
        ready = [one for one in due if one.client.has_room(ROOM_BYTES)]
        behind = [one for one in due if one not in ready and not one.client.closed]
        if not ready:
            return behind
        try:
            async with acquire(self._pool) as connection:
                found = await alerts_after(connection, list({(one.user_id, one.sent) for one in ready}))
        except UNAVAILABLE as error:
            log.warning("alerts cannot be read", error=repr(error))
            await asyncio.sleep(RETRY_S)
            return list(due)
        messages: dict[tuple[UUID, int], Message] = {}
        for one in ready:
            alerts = found[one.user_id, one.sent]
            if one in self._followers.get(one.user_id, ()) and not (one.take(alerts, messages) and len(alerts) < PAGE):
                behind.append(one)
        return behind


def alert_message(alert: Alert, sent_ns: int) -> Message:
    """Return an alert as clients get it."""
    head = {"stream": str(NAME), "epoch": EPOCH, "seq": alert.seq, "sent_ns": sent_ns}
    return Message("alert", {**head, "alert": alert_content(alert)})


def alert_content(alert: Alert) -> dict[str, Any]:
    """Return what an alert says: `subject` is the stream that shows what it is about."""
    return {
        "id": str(alert.id),
        "rule": str(alert.rule_id),
        "kind": alert.kind,
        "subject": alert.subject,
        "title": alert.title,
        "currency": alert.currency,
        "direction": alert.direction,
        "threshold": float(alert.threshold),
        "value": alert.value,
        "price_source": alert.price_source,
        "price_ns": alert.price_ns,
        "raised_ns": round(alert.raised_at.timestamp() * 1e6) * 1000,
    }
