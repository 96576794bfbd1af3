"""Follow channels of Redis on one connection that notices when it is dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db.live import HEARTBEAT_CHANNEL, LiveStore

BEAT_S = 1.0
SILENT_BEATS = 3
RETRY_S = 0.5

log = structlog.get_logger()


class LinkSilent(ConnectionError):
    """Say that nothing, not even our own beat, has come through the channel for three beats."""


class Feed:
    """Own the subscription: reconnect, subscribe again and tell when, so that what was missed can be read.

    A dead link raises nothing in Redis' pub/sub: a beat of our own is sent through it every `beat_s`, and three
    that are missing mean that it is dead.
    """

    def __init__(
        self,
        redis: Redis,
        name: str,
        on_message: Callable[[str, bytes], None],
        on_connected: Callable[[], Awaitable[None]],
        beat_s: float = BEAT_S,
    ) -> None:
        self._redis = redis
        self._store = LiveStore(redis)
        self._beat_channel = f"api:beat:{name}"
        self._on_message = on_message
        self._on_connected = on_connected
        self._beat_s = beat_s
        self._silence_s = SILENT_BEATS * beat_s
        self._channels: set[str] = set()
        self._pubsub: Any = None
        self._heard_at = 0.0
        self._stream_heard_at = 0.0

    @property
    def is_live(self) -> bool:
        """Say whether the link works and a stream worker beats at its other end."""
        now = time.monotonic()
        return self._pubsub is not None and now - min(self._heard_at, self._stream_heard_at) < self._silence_s

    async def follow(self, channels: Iterable[str]) -> None:
        """Begin to follow channels; while the link is down they are remembered."""
        new = set(channels) - self._channels
        self._channels |= new
        if new and self._pubsub is not None:
            await self._pubsub.subscribe(*new)

    async def forget(self, channels: Iterable[str]) -> None:
        """Follow these channels no longer."""
        gone = set(channels) & self._channels
        self._channels -= gone
        if gone and self._pubsub is not None:
            await self._pubsub.unsubscribe(*gone)

    async def run(self) -> None:
        """Follow for ever; runs until cancelled."""
        while True:
            try:
                await self._follow_once()
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("live feed lost", error=repr(error))
            finally:
                self._pubsub = None
            await asyncio.sleep(RETRY_S)

    async def _follow_once(self) -> None:
        async with self._store.open_subscription() as pubsub:
            await pubsub.subscribe(self._beat_channel, *self._channels)
            self._pubsub = pubsub
            self._heard_at = time.monotonic()
            await self._on_connected()
            beating = asyncio.create_task(self._beat(), name="live feed beat")
            try:
                await self._read(pubsub)
            finally:
                beating.cancel()

    async def _beat(self) -> None:
        while True:
            try:
                await self._redis.publish(self._beat_channel, b"")
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("live feed cannot beat", error=repr(error))
            await asyncio.sleep(self._beat_s)

    async def _read(self, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(timeout=self._beat_s)
            now = time.monotonic()
            if message is not None and message["type"] == "message":
                self._heard_at = now
                self._dispatch(message["channel"].decode(), message["data"], now)
            elif now - self._heard_at > self._silence_s:
                raise LinkSilent(f"nothing heard for {now - self._heard_at:.1f} s")

    def _dispatch(self, channel: str, data: bytes, now: float) -> None:
        if channel == HEARTBEAT_CHANNEL:
            self._stream_heard_at = now
        elif channel != self._beat_channel:
            self._on_message(channel, data)
