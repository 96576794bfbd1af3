"""Count requests and sign-in attempts against their limits, in Redis, so that all web processes count together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.errors import TooManyRequests

log = structlog.get_logger()
AWAY = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Limit:
    """Allow `amount` in `window_s` seconds."""

    amount: int
    window_s: int

    @property
    def item(self) -> RateLimitItem:
        """Return the limit as the library counts it."""
        return RateLimitItemPerSecond(self.amount, self.window_s)


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold the limits there are: attempts to sign in per address and user name, failures per address, REST per user."""

    sign_in: Limit
    sign_in_address: Limit
    rest: Limit


class RateLimiters:
    """Count against the limits. With Redis away reads pass, and sign-ins are counted in this process."""

    def __init__(self, shared: RateLimiter, own: RateLimiter, limits: Limits) -> None:
        self._shared = shared
        self._own = own
        self._limits = limits

    async def count_request(self, who: str) -> None:
        """Count a REST request of a user, or of an address where nobody is signed in; raises `TooManyRequests`."""
        limit = self._limits.rest
        try:
            allowed = await self._shared.hit(limit.item, "rest", who)
            if not allowed:
                raise await _refusal(self._shared, limit, "rest", who)
        except AWAY as error:
            log.warning("requests are not counted", error=repr(error))

    async def begin_sign_in(self, address: str, name: str) -> None:
        """Count an attempt before its password is looked at; raises `TooManyRequests`.

        Counting first is what makes the limit hold for attempts made at the same time.
        """
        by_name, by_address = self._limits.sign_in, self._limits.sign_in_address

        async def count(limiter: RateLimiter) -> None:
            if not await limiter.test(by_address.item, "address", address):
                raise await _refusal(limiter, by_address, "address", address)
            if not await limiter.hit(by_name.item, "sign-in", address, name):
                raise await _refusal(limiter, by_name, "sign-in", address, name)

        await self._on_either(count)

    async def sign_in_succeeded(self, address: str, name: str) -> None:
        """Forget the attempts of someone who has the right password."""

        async def forget(limiter: RateLimiter) -> None:
            await limiter.clear(self._limits.sign_in.item, "sign-in", address, name)

        await self._on_either(forget)

    async def sign_in_failed(self, address: str) -> None:
        """Count a failure of an address, whatever the name: one password tried on many users is noticed."""

        async def count(limiter: RateLimiter) -> None:
            await limiter.hit(self._limits.sign_in_address.item, "address", address)

        await self._on_either(count)

    async def _on_either(self, act: Callable[[RateLimiter], Awaitable[None]]) -> None:
        try:
            await act(self._shared)
        except AWAY as error:
            log.warning("sign-ins are counted in this process only", error=repr(error))
            await act(self._own)


def create_rate_limiters(url: str, redis: Redis, limits: Limits) -> RateLimiters:
    """Make the limiters on the connections of `redis`; `url` names the same server."""
    options: dict[str, Any] = {"connection_pool": redis.connection_pool}  # the library types its options too narrowly
    shared: Storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix="limits", **options)
    return RateLimiters(FixedWindowRateLimiter(shared), FixedWindowRateLimiter(MemoryStorage()), limits)


async def _refusal(limiter: RateLimiter, limit: Limit, *identifiers: str) -> TooManyRequests:
    window = await limiter.get_window_stats(limit.item, *identifiers)
    return TooManyRequests(limit.amount, limit.window_s, window.reset_time - time.time())
