"""Be the commands `alhambra feed …`: record a session of a venue, and read it again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from alhambra.errors import CannotStart

app = typer.Typer(help="Record what venues say, and read it again.", no_args_is_help=True)


@app.command()
def decode(
    venue: Annotated[str, typer.Argument(help="Such as coinbase, or with options: binance?channels=depth.")],
    file: Annotated[str, typer.Argument(help="A recorded session, compressed by gzip or not; - for standard input.")],
) -> None:
    """Print the quotes and trades of a recorded session as JSON lines, and counts as the last line.

    Exit status 1 when something could not be understood: each is said on standard error with the number of its line.
    """
    from alhambra.feed.decode import decode_session, open_reader
    from ingest.market.errors import FeedUnclear
    from ingest.venues.session_file import open_session, read_session

    try:
        reader = open_reader(venue)
        with open_session(file) as session:
            counts = decode_session(reader, read_session(session), sys.stdout.buffer, sys.stderr)
            sys.stdout.flush()
    except FeedUnclear as unclear:
        raise CannotStart(f"{unclear}.") from unclear
    except BrokenPipeError:
        # Whoever read has seen enough; the interpreter must not find the pipe broken once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        raise CannotStart(f"{file} cannot be read: {error.strerror or error}.") from error
    raise typer.Exit(1 if counts.refusals else 0)


@app.command()
def record(
    venue: Annotated[str, typer.Argument(help="Such as coinbase, or with options: binance?channels=depth.")],
    symbols: Annotated[str, typer.Option(help="The venue's symbols, separated by commas.")] = "",
    seconds: Annotated[float | None, typer.Option(min=1, help="How long; without it, until Ctrl-C.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; one whose name ends in .gz is compressed.")] = None,
) -> None:
    """Record what a venue says, keys masked; exit status 1 when nothing came."""
    import asyncio

    from alhambra.feed.record import Recording, record_session
    from alhambra.settings import DoorSettings

    wanted = Recording(venue, tuple(filter(None, symbols.split(","))), seconds, out)
    recorded = asyncio.run(record_session(wanted, DoorSettings().venue_keys()))
    typer.echo(f"{recorded.records:,} records, {recorded.bytes:,} bytes, in {recorded.path}")
    if not recorded.records or recorded.trouble:
        typer.echo(f"Nothing comes: {recorded.trouble or 'the venue said nothing'}.", err=True)
    raise typer.Exit(0 if recorded.records else 1)
