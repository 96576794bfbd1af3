"""Read the web process's configuration from the environment; only `__main__` does so."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.auth.durations import parse_duration
from api.live.rhythm import Rhythm
from api.rate_limits import Limit, Limits
from dashboard.data import DemoLogin

SHORTEST_SECRET = 32


class ApiSettings(BaseSettings):
    """Hold the configuration; each field is read from the environment variable of the same name."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    port: int = Field(8000, ge=1, le=65535)
    host: str = "127.0.0.1"
    database_url: SecretStr
    redis_url: SecretStr
    jwt_secret: SecretStr
    jwt_expires_in: str = "15m"
    refresh_token_expires_in: str = "7d"  # noqa: S105  a duration
    frontend_url: str = ""
    log_level: str = "INFO"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    database_pool: int = Field(8, ge=1, le=100)
    trusted_proxies: str = ""
    market_feed: str = ""
    sign_in_attempts: int = Field(5, ge=1)
    sign_in_address_failures: int = Field(50, ge=1)
    rest_requests: int = Field(100, ge=1)
    limit_window_s: int = Field(900, ge=1)
    live_heartbeat_s: float = Field(1.0, gt=0, le=2)
    live_rights_s: float = Field(2.0, gt=0, le=4)
    live_stalled_s: float = Field(15.0, gt=0)
    live_door_s: float = Field(10.0, gt=0)
    live_connections: int = Field(20, ge=1)
    live_guests: int = Field(200, ge=0)
    demo_logins: str = "[]"

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"JWT_SECRET needs at least {SHORTEST_SECRET} characters")
        return value

    @field_validator("jwt_expires_in", "refresh_token_expires_in")
    @classmethod
    def _duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @field_validator("demo_logins")
    @classmethod
    def _logins(cls, value: str) -> str:
        msgspec.json.decode(value, type=list[DemoLogin])
        return value

    @property
    def access_lifetime(self) -> timedelta:
        """Return how long an access token is valid."""
        return parse_duration(self.jwt_expires_in)

    @property
    def refresh_lifetime(self) -> timedelta:
        """Return how long a refresh token is valid."""
        return parse_duration(self.refresh_token_expires_in)

    @property
    def own_origins(self) -> tuple[str, ...]:
        """Return the origins our pages come from: the configured one, and this machine's own port."""
        local = (f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}")
        return (self.frontend_origin, *local) if self.frontend_origin else local

    @property
    def frontend_origin(self) -> str:
        """Return the origin of FRONTEND_URL, empty where it is not set."""
        parts = urlsplit(self.frontend_url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

    @property
    def cookies_secure(self) -> bool:
        """Say whether cookies are for HTTPS only."""
        return self.frontend_url.startswith("https://")

    @property
    def limits(self) -> Limits:
        """Return the limits on requests."""
        window = self.limit_window_s
        return Limits(
            Limit(self.sign_in_attempts, window),
            Limit(self.sign_in_address_failures, window),
            Limit(self.rest_requests, window),
        )

    @property
    def rhythm(self) -> Rhythm:
        """Return how often the live stream does things."""
        return Rhythm(
            self.live_heartbeat_s,
            self.live_rights_s,
            self.live_stalled_s,
            self.live_door_s,
            self.live_connections,
            self.live_guests,
        )

    @property
    def logins(self) -> list[DemoLogin]:
        """Return the logins shown on the sign-in page; DEMO_LOGINS is JSON, and empty in production."""
        return msgspec.json.decode(self.demo_logins, type=list[DemoLogin])
