"""Be the commands `alhambra verify …`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer

from alhambra.errors import CannotStart

app = typer.Typer(help="Prove that live equals batch.", no_args_is_help=True)


@app.callback()
def verify() -> None:
    """Prove that live equals batch."""


@app.command()
def replay(
    file: Annotated[str, typer.Argument(help="Recorded quotes or trades: CSV (also .gz) or Parquet.")],
    mapping: Annotated[str, typer.Option("--map", help="time=COLUMN,bid=…,ask=…,last=…,symbol=COLUMN,symbol.*=NAME")],
    currency: Annotated[str, typer.Option(help="Of instruments that the bank does not have.")] = "USD",
    portfolios: Annotated[int, typer.Option(min=1)] = 84,
    options: Annotated[str, typer.Option(help="More of the feed: header=no&delimiter=tab&utc_offset=-05:00 …")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
) -> None:
    """Send a file through the pipeline, Kafka included, and compare every portfolio with a batch recomputation.

    Exit status 1 when a total differs by more than 1e-9 of the portfolio's equity.
    """
    from alhambra.verify.replay import TOLERANCE, verify_replay
    from alhambra.verify.stage import NotSettled
    from alhambra.verify.survey import NothingToVerify
    from ingest.market.errors import MarketError
    from ingest.market.source import RecordedFeed, parse_feed
    from stream.runtime import configure_logging

    configure_logging("alhambra", "WARNING")
    try:
        feed = parse_feed(f"recorded:{file}?map={mapping}&{options}")
        if not isinstance(feed, RecordedFeed):
            raise CannotStart(f"{file} is not a recorded file.")
        verdict = asyncio.run(verify_replay(feed, currency, portfolios, _say))
    except (MarketError, NothingToVerify, NotSettled, ValueError) as error:
        raise CannotStart(f"Nothing is proved: {error}.") from error
    if as_json:
        sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")
    refused = ", ".join(f"{count:,} {reason}" for reason, count in verdict.refused.items()) or "none"
    sent = f"{verdict.quotes:,} quotes of {verdict.instruments} instruments in {verdict.seconds:.1f} s"
    _say(f"{sent}; refused: {refused}.")
    _say(f"{verdict.portfolios} portfolios compared, {verdict.moved} of them moved by the file.")
    _say(f"Largest difference: {verdict.largest_difference:.3g} of equity (at most {TOLERANCE:g} is allowed).")
    if not verdict.holds:
        raise CannotStart(f"Live does NOT equal batch; the worst is portfolio {verdict.worst}.")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
