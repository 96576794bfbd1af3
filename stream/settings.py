"""Read the stream worker's settings from the environment."""

from __future__ import annotations

import socket

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class StreamSettings(BaseSettings):
    """Hold what a worker needs to know; names are those of the environment, in any case."""

    database_url: SecretStr
    redis_url: SecretStr
    kafka_bootstrap_servers: str
    worker_name: str = Field(default_factory=lambda: f"stream-{socket.gethostname()}")
    consumer_group: str = "alhambra-stream"
    log_level: str = "INFO"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
