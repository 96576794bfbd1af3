"""Read the settings of the ingest process from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    iboss_own_wsdl: bool = Field(default=False, description="Read the contract from the service, not the packaged one.")
    market_feed: str = "simulated:500"
    log_level: str = "INFO"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
