"""Be the command `alhambra import`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from alhambra.data_folder import default_data_folder
from alhambra.errors import CannotStart
from alhambra.running import read_running
from alhambra.settings import DoorSettings, revealed

HERE = default_data_folder()


def import_statement(
    file: Annotated[Path, typer.Argument(help="IBKR Flex XML, also gzipped, or CSV with --mapping.")],
    portfolio: Annotated[UUID | None, typer.Option(help="Into this one, which imports feed.")] = None,
    client: Annotated[str | None, typer.Option(help="For the client with this address, into one of its own.")] = None,
    mapping: Annotated[
        str | None, typer.Option(help="How to read a CSV: a name such as trade_republic, or a file.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="One of several in the file; of a CSV, what to call it.")] = None,
    base: Annotated[str | None, typer.Option(help="Base currency, where the statement does not say it.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Book it; without this, only say what would be.")] = False,
    create_instruments: Annotated[
        bool, typer.Option("--create-instruments", help="Make what the bank does not know, from the statement.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON on standard output.")] = False,
    data: Annotated[Path, typer.Option("--data", help="Data folder.", show_default=str(HERE))] = HERE,
) -> None:
    """Preview or book the statement of another bank or broker; what cannot be booked is listed with its reason."""
    import asyncpg
    import msgspec
    from rich.console import Console

    from alhambra.statements.run import ImportWish, run_import
    from alhambra.statements.show import show
    from ingest.statements.errors import StatementError

    if (portfolio is None) == (client is None):
        raise CannotStart("Say where it goes: --portfolio ID, or --client EMAIL for a portfolio of its own.")
    wish = ImportWish(file, portfolio, client, mapping, account or None, base or None, apply, create_instruments)
    try:
        outcome = asyncio.run(run_import(_database(data), wish))
    except StatementError as error:
        raise CannotStart(str(error)) from error
    except (OSError, TimeoutError) as error:
        raise CannotStart(f"{file} was not imported: {error}.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotStart(f"The database refuses, and nothing was booked: {error}.") from error
    if as_json:
        typer.echo(msgspec.json.encode(outcome))
    else:
        show(outcome, Console())


def _database(data: Path) -> str:
    running = read_running(data)
    url = revealed(DoorSettings().database_url) or (running.database if running else None)
    if url is None:
        raise CannotStart(f"Nothing runs in {data}: start it with alhambra up, or set DATABASE_URL.")
    return url
