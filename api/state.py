"""Hold what the web process's requests share; the lifespan makes it and is its only owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

if TYPE_CHECKING:  # each of these modules reads the state through `web_state`
    import asyncpg
    from redis.asyncio import Redis

    from api.auth.authenticator import Authenticator
    from api.auth.sign_in import SignIn
    from api.catalogue import Catalogue
    from api.health import HealthMonitor
    from api.live.hub import Hub
    from api.portfolio.reader import PortfolioReader
    from api.rate_limits import RateLimiters
    from api.settings import ApiSettings
    from db.live import LiveStore


@dataclass(frozen=True, slots=True)
class WebState:
    """Hold the connections and services of one web process."""

    settings: ApiSettings
    pool: asyncpg.Pool
    redis: Redis
    store: LiveStore
    catalogue: Catalogue
    limiters: RateLimiters
    authenticator: Authenticator
    sign_in: SignIn
    portfolios: PortfolioReader
    hub: Hub
    health: HealthMonitor


class StateHolder:
    """Give the state to those who live outside of the lifespan: the middleware, the sockets and the pages."""

    def __init__(self) -> None:
        self._state: WebState | None = None

    def hold(self, state: WebState | None) -> None:
        """Set the state, or None when it ends."""
        self._state = state

    @property
    def state(self) -> WebState:
        """Return the state; raises `RuntimeError` before the process has started and after it has ended."""
        if self._state is None:
            raise RuntimeError("the web process is not running")
        return self._state


def web_state(connection: HTTPConnection) -> WebState:
    """Return the state of the process that serves this request; a FastAPI dependency."""
    holder: StateHolder = connection.app.state.holder
    return holder.state
