"""Be the commands `alhambra bench …`: measurements that anyone can repeat, as a table or as JSON."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

app = typer.Typer(help="Measure this machine with our own code.", no_args_is_help=True)


class Rooms(StrEnum):
    """Say whether clients share a stream."""

    SHARED = "shared"
    OWN = "own"


class Transport(StrEnum):
    """Name what carries the stream."""

    SOCKETIO = "socketio"
    WEBSOCKET = "websocket"


JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")]


@app.command()
def encodings() -> None:
    """Compare encodings of quote batches: ticks a second that one core decodes, bytes a tick."""
    from alhambra.bench.encodings import main

    main()


@app.command()
def start(as_json: JsonOption = False) -> None:
    """Time `alhambra up` to the first live number at a socket: a new data folder, then the same again."""
    from alhambra.bench.start import measure_start

    _print(asyncio.run(measure_start()), as_json)


@app.command()
def pipeline(
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Simulated ticks a second.")] = 100_000.0,
    seconds: Annotated[float, typer.Option(min=2)] = 15.0,
    portfolios: Annotated[int, typer.Option(min=1)] = 10_000,
    clients: Annotated[int, typer.Option(min=1, help="Socket clients, each with a portfolio of its own.")] = 10,
    max_hz: Annotated[float, typer.Option(min=0.1, max=20, help="Updates a second that each client wants.")] = 4.0,
    as_json: JsonOption = False,
) -> None:
    """Send ticks through broker, stream, Redis and api to socket clients; latency of the newest tick at the client."""
    from alhambra.bench.pipeline import Load, measure_pipeline

    load = Load(rate, portfolios, min(clients, portfolios), max_hz)
    _print(asyncio.run(measure_pipeline(load, seconds)), as_json)


@app.command()
def fanout(
    clients: Annotated[int, typer.Option(min=1, max=20_000)] = 2_000,
    hz: Annotated[float, typer.Option(min=0.1, max=20, help="Messages a second to each client.")] = 4.0,
    rooms: Annotated[Rooms, typer.Option(help="One stream for all clients, or one for each.")] = Rooms.SHARED,
    transport: Annotated[Transport, typer.Option()] = Transport.SOCKETIO,
    seconds: Annotated[float, typer.Option(min=1)] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Deliver quotes through Redis and one web process on one core to socket clients of a process of their own."""
    from alhambra.bench.fanout import FanoutLoad, measure_fanout

    run = asyncio.run(measure_fanout(FanoutLoad(clients, hz, rooms.value, transport.value), seconds))
    _print(run.figures, as_json)
    if not as_json:
        _print(run.circumstances, as_json)


@app.command()
def book(
    portfolios: Annotated[int, typer.Option(min=1)] = 100_000,
    positions: Annotated[int, typer.Option(min=1, help="Of each portfolio.")] = 20,
    instruments: Annotated[int, typer.Option(min=1)] = 5_000,
    dirty: Annotated[float, typer.Option(min=0, max=1, help="Share of instruments that tick in a cycle.")] = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Value a random book in full and by what has ticked, against this machine's own memory speed."""
    from alhambra.bench.book import measure_book

    _print(measure_book(portfolios, positions, instruments, dirty), as_json)


@app.command()
def feeds(
    file: Annotated[
        str | None, typer.Argument(help="A recorded session of one venue, instead of made traffic.")
    ] = None,
    venue: Annotated[list[str] | None, typer.Option(help="Such as coinbase; all, where it is not given.")] = None,
    messages: Annotated[int, typer.Option(min=1_000, help="Of each venue, where they are made.")] = 50_000,
    as_json: JsonOption = False,
) -> None:
    """Decode what venues send: messages a second of one core, and how that compares with reading their JSON alone."""
    from alhambra.bench.feeds import measure_feeds
    from ingest.venues.registry import STREAMS

    found = measure_feeds(venue or STREAMS, file, messages)
    if as_json:
        _print(found, as_json)
        return
    for one in found.venues:
        _print(one, as_json)


def _print(figures: msgspec.Struct, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
        return
    for name, value in msgspec.structs.asdict(figures).items():
        sys.stdout.write(f"{name:<24} {value}\n")
