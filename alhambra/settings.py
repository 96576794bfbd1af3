"""Read what `alhambra` takes from the environment; the rest is options of the command line."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingest.venues.venue import Keys

DEFAULT_FEED = "simulated:500"


class DoorSettings(BaseSettings):
    """Hold the addresses that are given; a server whose address is absent is started here.

    Names are those of the environment, the same as in production; an empty value counts as absent.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    kafka_bootstrap_servers: str | None = None
    iboss_api_url: str | None = None
    iboss_api_key: SecretStr | None = None
    iboss_username: str | None = None
    iboss_password: SecretStr | None = None
    iboss_own_wsdl: bool = False
    jwt_secret: SecretStr | None = None
    jwt_expires_in: str = "15m"
    refresh_token_expires_in: str = "7d"  # noqa: S105 - a duration
    market_feed: str = DEFAULT_FEED
    alpaca_key_id: SecretStr | None = None
    alpaca_secret_key: SecretStr | None = None
    finnhub_token: SecretStr | None = None
    http_feed_authorization: SecretStr | None = None
    frontend_url: str | None = None
    log_level: str = "INFO"

    def venue_keys(self) -> Keys:
        """Return what signs us in at venues."""
        given = (self.alpaca_key_id, self.alpaca_secret_key, self.finnhub_token, self.http_feed_authorization)
        return Keys(*(revealed(key) or "" for key in given))


def revealed(secret: SecretStr | None) -> str | None:
    """Return the text of a secret, or None where it is absent."""
    return None if secret is None else secret.get_secret_value()
