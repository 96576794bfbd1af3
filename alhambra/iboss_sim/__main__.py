"""Run the IBOSS simulator: `python -m alhambra.iboss_sim --port 8083 --data DIR`. For demonstration and tests only."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvicorn

from alhambra.bank.bank import create_bank
from alhambra.iboss_sim.app import create_app
from alhambra.iboss_sim.controls import Controls
from alhambra.iboss_sim.ledger import create_ledger, open_ledger
from db.live import create_redis
from stream.runtime import configure_logging

LEDGER_FILE = "iboss.sqlite3"


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535)],
    data: Annotated[Path, typer.Option(help="Folder of the simulated back office; made on first use.")],
    host: str = "127.0.0.1",
    portfolios: Annotated[int | None, typer.Option(help="How many portfolios the bank has, on first use.")] = None,
    today: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The bank's first day.")] = None,
    latency_ms: Annotated[float, typer.Option(min=0)] = 0.0,
    failure_rate: Annotated[float, typer.Option(min=0, max=1)] = 0.0,
    session_seconds: Annotated[float, typer.Option(min=0)] = 900.0,
    quota_per_minute: Annotated[int, typer.Option(min=1)] = 3000,
    trade_every: Annotated[float, typer.Option(min=0, help="Seconds between simulated trades; 0 for none.")] = 0.0,
    redis_url: Annotated[str | None, typer.Option(envvar="REDIS_URL", help="Where live prices are read.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="IBOSS_API_KEY", help="What callers must send.")] = None,
    log_level: Annotated[str, typer.Option(envvar="LOG_LEVEL")] = "INFO",
) -> None:
    """Serve the simulated back office of the demonstration bank until it is stopped."""
    configure_logging("iboss_sim", log_level)
    path = data / LEDGER_FILE
    if not path.exists():
        create_ledger(path, create_bank((today or datetime.now(UTC)).date(), portfolios))
    controls = Controls(latency_ms, failure_rate, session_seconds, quota_per_minute)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(path))
        redis = create_redis(redis_url, "iboss_sim") if redis_url else None
        app = create_app(ledger, controls, api_key, redis, trade_every)
        structlog.get_logger().info("IBOSS simulator", port=port, data=str(data))
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    typer.run(serve)
