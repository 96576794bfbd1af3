"""Be the command line: `alhambra up`, `watch`, `doctor`, `feed`, `import`, `breaks`, `explain`, `replay` and others.

Each command imports what it needs when it is called, so that `alhambra --help` is quick.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from alhambra import topics
from alhambra.bench import command as bench
from alhambra.data_folder import DataFolder, default_data_folder
from alhambra.errors import CannotStart, ChildFailed
from alhambra.feed import command as feeds
from alhambra.log_file import tail
from alhambra.options import UpOptions, join_feeds
from alhambra.running import read_running
from alhambra.settings import DoorSettings, revealed
from alhambra.statements import command as statements
from alhambra.verify import command as verify

INTERRUPTED = 130
MOMENTS = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]  # with a time zone: Z, or such as +04:00
HERE = default_data_folder()

app = typer.Typer(
    help="The live portfolio platform of Alhambra Bank & Trust.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(topics.app, name="topics")
app.add_typer(verify.app, name="verify")
app.add_typer(bench.app, name="bench")
app.add_typer(feeds.app, name="feed")
app.command("import")(statements.import_statement)
# Further groups of commands (verify, bench) are registered here, each with `app.add_typer(module.app, name=...)`.

DataOption = Annotated[Path, typer.Option("--data", help="Data folder.", show_default=str(HERE))]
FeedOption = Annotated[
    list[str] | None,
    typer.Option("--feed", help="coinbase, binance, ecb, simulated:RATE, recorded:PATH?map=…, none; the best first."),
]


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the page, on loopback.")] = 8000,
    data: DataOption = HERE,
    feed: FeedOption = None,
    portfolios: Annotated[int | None, typer.Option(min=1, help="Size of the bank, when it is made.")] = None,
    ready_json: Annotated[bool, typer.Option("--ready-json", help="One line of JSON on standard output.")] = False,
) -> None:
    """Start everything on this machine, and end it with Ctrl-C."""
    from alhambra.up import up as run_up

    settings = DoorSettings()
    run_up(UpOptions(port, data, join_feeds(feed) or settings.market_feed, portfolios, ready_json), settings)


doctor_app = typer.Typer(
    help="Say what is reachable, what is missing and what to do; exit status 1 when something needed is missing.",
    invoke_without_command=True,
)
app.add_typer(doctor_app, name="doctor")


@doctor_app.callback()
def doctor(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port the page is to have.")] = 8000,
    data: DataOption = HERE,
) -> None:
    """Say what is reachable, what is missing and what to do; exit status 1 when something needed is missing."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from alhambra.doctor import examine, show

    findings = asyncio.run(examine(data.expanduser().absolute(), port, DoorSettings()))
    raise typer.Exit(0 if show(findings, Console()) else 1)


@doctor_app.command("feeds")
def doctor_feeds(feed: FeedOption = None, data: DataOption = HERE) -> None:
    """Say of each market feed whether it is reached, accepts us and quotes; exit status 1 when one does not."""
    from rich.console import Console

    from alhambra.doctor import show
    from alhambra.doctor_feeds import examine_feeds

    settings = DoorSettings()
    findings = asyncio.run(
        examine_feeds(data.expanduser().absolute(), join_feeds(feed) or settings.market_feed, settings)
    )
    raise typer.Exit(0 if show(findings, Console(), "Alhambra doctor: market feeds") else 1)


@app.command()
def migrate() -> None:
    """Bring the database named by DATABASE_URL to the newest schema."""
    from db.migrate import migrate as run_migrate

    url = revealed(DoorSettings().database_url)
    if url is None:
        raise CannotStart("Set DATABASE_URL to the database that is to be migrated.")
    typer.echo(f"the schema is at revision {asyncio.run(run_migrate(url))}")


@app.command("replay-dead-letters")
def replay_dead_letters(
    reason: Annotated[
        str | None, typer.Option(help="Only letters with this reason, such as unknown_instrument.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Put back at most so many letters.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    data: DataOption = HERE,
) -> None:
    """Put dead letters back on the topics they came from, each once: when what was wrong has been mended."""
    from rich.console import Console

    from alhambra.dead_letters import Wanted, replay_dead_letters

    asyncio.run(replay_dead_letters(topics.kafka_servers(data), Wanted(reason, limit, dry_run), Console()))


@app.command()
def explain(
    field: Annotated[str, typer.Argument(help="A figure, such as day_pnl or allocation.sector.Energy.")],
    symbol: Annotated[str | None, typer.Argument(help="A holding, for a figure of it.")] = None,
    portfolio: Annotated[str | None, typer.Option(help="Its id; without it, those of the first client.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The API's answer as it is.")] = False,
    url: Annotated[str | None, typer.Option(help="Where the platform is, unless in the data folder.")] = None,
    token: Annotated[str | None, typer.Option(help="An access token, unless there is a demonstration login.")] = None,
    data: DataOption = HERE,
) -> None:
    """Say where a figure comes from; exit status 1 when its recomputation differs."""
    import json

    from rich.console import Console

    from alhambra.explain import Question, ask, show

    answer = asyncio.run(ask(Question(field, symbol, portfolio, url, token, data)))
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    matches = all(one["matches"] for one in answer["portfolios"]) if as_json else show(answer, Console())
    raise typer.Exit(0 if matches else 1)


@app.command()
def breaks(
    resolved: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
    data: DataOption = HERE,
) -> None:
    """List where positions, bookings and accounts do not agree, and what to do; exit status 1 where one is open."""
    from alhambra.breaks import list_breaks

    raise typer.Exit(0 if list_breaks(data, resolved=resolved, as_json=as_json) else 1)


@app.command()
def reconcile(data: DataOption = HERE) -> None:
    """Hold every portfolio against its bookings now, and list the breaks; exit status 1 where something is open."""
    from alhambra.breaks import reconcile as run_reconcile

    raise typer.Exit(0 if run_reconcile(data) else 1)


@app.command()
def watch(
    portfolio: Annotated[
        str | None, typer.Argument(help="Its id or a part of its name; without it, all that is yours.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where the platform is, unless in the data folder.")] = None,
    email: Annotated[
        str | None, typer.Option(help="Who you are; the password is asked for, or in ALHAMBRA_PASSWORD.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The public demonstration, for which nobody signs in.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="One line an update, as where there is no terminal.")] = False,
    data: DataOption = HERE,
) -> None:
    """Watch a portfolio live, and end it with Ctrl-C."""
    from alhambra.watch import Wish
    from alhambra.watch import watch as run_watch

    run_watch(Wish(portfolio, url, email, demo, plain, data))


@app.command()
def replay(
    at: Annotated[datetime, typer.Option(formats=MOMENTS, help="A moment, such as 2026-01-02T10:32:00Z.")],
    portfolio: Annotated[UUID | None, typer.Option(help="Only this one, with its holdings and bookings.")] = None,
    account: Annotated[str | None, typer.Option(help="Only those of an account, by its number or IBOSS's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
    data: DataOption = HERE,
) -> None:
    """Show portfolios as they were shown at a moment; exit status 1 when a stored total is not its recomputation."""
    import msgspec
    from rich.console import Console

    from alhambra.replay import Wanted, show
    from alhambra.replay import replay as run_replay

    running = read_running(data)
    url = revealed(DoorSettings().database_url) or (running.database if running else None)
    if url is None:
        raise CannotStart(f"Nothing runs in {data}: start it with alhambra up, or set DATABASE_URL.")
    found = asyncio.run(run_replay(url, Wanted(at, portfolio, account)))
    if as_json:
        typer.echo(msgspec.json.encode(found))
    raise typer.Exit(0 if (found.matches if as_json else show(found, Console())) else 1)


@app.command()
def status(data: DataOption = HERE) -> None:
    """Say where the platform of a data folder runs, and its processes."""
    running = read_running(data)
    if running is None:
        raise CannotStart(f"Nothing runs in {data}.")
    typer.echo(running.url)
    for name, pid in running.pids.items():
        typer.echo(f"{name:<14} process {pid}")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process; without one, the logs there are.")] = None,
    lines: Annotated[int, typer.Option(min=1)] = 50,
    data: DataOption = HERE,
) -> None:
    """Print the end of a process's log."""
    folder = DataFolder(data).logs
    names = sorted(file.stem for file in folder.glob("*.log"))
    if name is None:
        typer.echo("\n".join(str(folder / f"{one}.log") for one in names) or f"There are no logs in {folder}.")
    elif name in names:
        typer.echo(tail(folder / f"{name}.log", lines))
    else:
        raise CannotStart(f"There is no log of {name!r} in {folder}; there are: {', '.join(names) or 'none'}.")


def main() -> None:
    """Run the command line; what keeps a command from its work is one sentence and exit status 1."""
    try:
        app()
    except ChildFailed as failure:
        sys.stderr.write(f"{failure}\n{failure.tail}\n")
        sys.exit(1)
    except CannotStart as reason:
        sys.stderr.write(f"{reason}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
