"""Run a worker process: its signals, its log, its metrics and its deadline for stopping."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Coroutine, MutableMapping
from typing import Any, TypeVar

import structlog
import uvloop
from prometheus_client import start_http_server
from pydantic import ValidationError
from pydantic_settings import BaseSettings

Settings = TypeVar("Settings", bound=BaseSettings)

SECRET_NAMES = frozenset(
    {"password", "token", "refresh_token", "authorization", "secret", "api_key", "cookie", "session"}
)


def configure_logging(process: str, level: str = "INFO") -> None:
    """Write structured log lines to standard error, JSON unless it is a terminal; secrets are masked by name."""
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            mask_secrets,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    # it repeats itself several times a second while a broker is away; our own warnings and the health report say it
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of secret names, at the top level of an event, by asterisks."""
    for name in event.keys() & SECRET_NAMES:
        event[name] = "***"
    return event


def read_settings(kind: type[Settings], process: str) -> Settings:
    """Read a process's settings from the environment; ends with a sentence naming what is wrong, never its value."""
    try:
        return kind()
    except ValidationError as error:
        sys.exit(f"{process}: {explain_settings(error)}")


def explain_settings(error: ValidationError) -> str:
    """Say which names of the environment are missing or wrong, without what stands in them."""
    return "; ".join(f"{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())


def serve_metrics(port: int | None, host: str = "127.0.0.1") -> None:
    """Serve Prometheus metrics from a thread of its own, where a port is given."""
    if port:
        start_http_server(port, addr=host)


def run_worker(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` until it returns, or until SIGTERM or SIGINT cancels it; cancellation is a clean end."""

    async def supervised() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    uvloop.run(supervised())
