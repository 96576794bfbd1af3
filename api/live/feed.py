"""Follow channels of Redis on one connection that notices when it is dead."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db.live import HEARTBEAT_CHANNEL, NOT_PERSISTED, LiveStore

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
        self._not_persisted_at = -math.inf

    @property
    def is_live(self) -> bool:
        """Say whether the link works and a stream worker beats at its other end."""
        now = time.monotonic()
        return self._pubsub is not None and now - min(self._heard_at, self._stream_heard_at) < self._silence_s

    @property
    def is_persisted(self) -> bool:
        """Say whether no stream worker has said lately that PostgreSQL lacks something of what is shown."""
        return time.monotonic() - self._not_persisted_at > self._silence_s

    async def follow(self, channels: Iterable[str]) -> None:
        """Begin to follow channels; while the link is down they are remembered."""
        new = set(channels) - self._channels
        self._channels |= new
        await self._tell("SUBSCRIBE", new)

    async def forget(self, channels: Iterable[str]) -> None:
        """Follow these channels no longer."""
        gone = set(channels) & self._channels
        self._channels -= gone
        await self._tell("UNSUBSCRIBE", gone)

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

    async def _tell(self, command: str, channels: set[str]) -> None:
        """Change the subscription on the connection as it is: redis-py's own way connects anew, also beside our reader.

        On a link that has just gone nothing need be said: `run` notices, and the next link begins with all channels.
        """
        link = self._pubsub
        if not channels or link is None or link.connection is None or not link.connection.is_connected:
            return
        try:
            await link.connection.send_command(command, *channels, check_health=False)
        except (RedisError, OSError, RuntimeError, AttributeError) as error:
            # the last two come of a connection that closes meanwhile: uvloop's word for it, and redis-py's own
            log.warning("live feed lost while it was told of channels", error=repr(error))

    async def _follow_once(self) -> None:
        async with self._store.open_subscription() as pubsub:
            told = set(self._channels)
            await pubsub.subscribe(self._beat_channel, *told)
            self._pubsub = pubsub
            connection: Any = pubsub.connection
            connection.register_connect_callback(self._refuse_another)
            await self._tell("SUBSCRIBE", self._channels - told)
            self._heard_at = time.monotonic()
            beating = asyncio.create_task(self._beat(), name="live feed beat")
            try:
                await self._on_connected()
                await self._read(pubsub)
            finally:
                beating.cancel()
                connection.deregister_connect_callback(self._refuse_another)

    async def _refuse_another(self, _: object) -> None:
        """Stop redis-py from connecting anew by itself: what was published meanwhile would be missed in silence."""
        raise LinkSilent("the link was cut")

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
            if data == NOT_PERSISTED:
                self._not_persisted_at = now
        elif channel != self._beat_channel:
            self._on_message(channel, data)
