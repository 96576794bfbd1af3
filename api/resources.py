"""Open what a web process needs, in order, and close it in reverse, even after a start that failed half way."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread

from api.auth.authenticator import Authenticator
from api.auth.passwords import create_password_checker
from api.auth.sign_in import SignIn
from api.auth.tokens import AccessTokens
from api.catalogue import Catalogue
from api.health import HealthMonitor
from api.live.alerts import AlertHub
from api.live.hub import Hub
from api.live.streams import Streams
from api.portfolio.reader import PortfolioReader
from api.rate_limits import create_rate_limiters
from api.settings import ApiSettings
from api.state import WebState
from db.live import LiveStore, create_redis
from db.postgres import open_pool

PROCESS = "alhambra-api"


@asynccontextmanager
async def open_state(settings: ApiSettings) -> AsyncIterator[WebState]:
    """Connect to PostgreSQL and Redis and make the services on top of them."""
    redis_url = settings.redis_url.get_secret_value()
    redis = create_redis(redis_url, PROCESS)
    try:
        async with open_pool(settings.database_url.get_secret_value(), PROCESS, settings.database_pool) as pool:
            store = LiveStore(redis)
            catalogue = Catalogue(pool)
            tokens = AccessTokens(settings.jwt_secret.get_secret_value(), settings.access_lifetime)
            limiters = create_rate_limiters(redis_url, redis, settings.limits)
            passwords = await anyio.to_thread.run_sync(create_password_checker)
            streams = Streams(pool, redis, store, catalogue, f"{socket.gethostname()}:{os.getpid()}")
            alerts = AlertHub(pool)
            streams.on_alert = alerts.announced
            yield WebState(
                settings=settings,
                pool=pool,
                redis=redis,
                store=store,
                catalogue=catalogue,
                limiters=limiters,
                authenticator=Authenticator(pool, tokens),
                sign_in=SignIn(pool, passwords, limiters, tokens, settings.refresh_lifetime),
                portfolios=PortfolioReader(pool, store, catalogue),
                hub=Hub(pool, streams, alerts, settings.rhythm),
                health=HealthMonitor(pool, redis, store),
            )
    finally:
        await redis.aclose()
