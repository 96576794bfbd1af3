"""Run the web process: `python -m api`."""

from __future__ import annotations

import asyncio
import gc
import socket

import uvicorn

from api.app import WebProcess, create_app
from api.settings import ApiSettings
from stream.runtime import configure_logging, read_settings, serve_metrics

LARGEST_SOCKET_MESSAGE = 64 * 1024
STOP_S = 5
GOODBYE_S = 0.1
YOUNG_GARBAGE = 50_000


class WebServer(uvicorn.Server):
    """Be uvicorn's server, that settles memory once started and says goodbye before it closes connections."""

    def __init__(self, config: uvicorn.Config, process: WebProcess) -> None:
        super().__init__(config)
        self._process = process

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; what lives as long as the process is then left out of every later garbage collection."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_GARBAGE, 20, 100)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the live clients, give the message a moment to leave, then stop as uvicorn does."""
        self._process.go_away()
        await asyncio.sleep(GOODBYE_S)
        await super().shutdown(sockets)


def create_config(settings: ApiSettings, process: WebProcess) -> uvicorn.Config:
    """Return how uvicorn is to run."""
    return uvicorn.Config(
        process,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        ws_max_size=LARGEST_SOCKET_MESSAGE,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=STOP_S,
        backlog=2048,
    )


def main() -> None:
    """Read the environment and serve until told to stop."""
    settings = read_settings(ApiSettings, "api")
    configure_logging("api", settings.log_level)
    serve_metrics(settings.metrics_port, settings.metrics_host)
    process = create_app(settings)
    WebServer(create_config(settings, process), process).run()


if __name__ == "__main__":
    main()
