"""Read the settings of the ingest process from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingest.venues.venue import Keys


class IngestSettings(BaseSettings):
    """Hold what the ingest process is told; the names in the environment are those of the fields, in capitals."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: str
    redis_url: str
    kafka_bootstrap_servers: str
    iboss_api_url: str = Field(default="", description="Address of the SOAP service; only the iboss source needs it.")
    iboss_api_key: SecretStr = SecretStr("")
    iboss_username: str = ""
    iboss_password: SecretStr = SecretStr("")
    iboss_poll_seconds: float = Field(default=2.0, gt=0)
    iboss_reconcile_hour: int = Field(default=2, ge=0, le=23, description="Hour of UTC of the nightly reconciliation.")
    iboss_own_wsdl: bool = Field(default=False, description="Read the contract from the service, not the packaged one.")
    market_feed: str = Field(default="simulated:500", description="Feeds between semicolons, the best first.")
    alpaca_key_id: SecretStr = SecretStr("")
    alpaca_secret_key: SecretStr = SecretStr("")
    finnhub_token: SecretStr = SecretStr("")
    http_feed_authorization: SecretStr = Field(default=SecretStr(""), description="Header Authorization of `http`.")
    log_level: str = "INFO"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"

    def venue_keys(self) -> Keys:
        """Return what signs us in at venues."""
        return Keys(
            self.alpaca_key_id.get_secret_value(),
            self.alpaca_secret_key.get_secret_value(),
            self.finnhub_token.get_secret_value(),
            self.http_feed_authorization.get_secret_value(),
        )
