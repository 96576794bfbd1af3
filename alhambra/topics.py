"""Offer the topics on the command line: `alhambra topics tail`, `alhambra topics create`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from alhambra.data_folder import default_data_folder
from alhambra.errors import CannotStart
from alhambra.running import read_running
from alhambra.settings import DoorSettings

app = typer.Typer(help="Look into the topics, or create them.", no_args_is_help=True)
DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of the run; default: the user's own.")]


@app.command()
def tail(
    name: Annotated[str, typer.Argument(help="Such as market.quotes.v1.")],
    from_beginning: Annotated[bool, typer.Option(help="Begin with the oldest record kept.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many lines.")] = None,
    data: DataOption = None,
) -> None:
    """Print a topic's records as lines of JSON, quotes one a line, until Ctrl-C."""
    from alhambra.topic_reader import print_topic
    from stream.messages import TOPICS

    if name not in TOPICS:
        raise CannotStart(f"There is no topic {name!r}: it is one of {', '.join(TOPICS)}.")
    asyncio.run(print_topic(kafka_servers(data), name, from_beginning, limit))


@app.command()
def create(
    partitions: Annotated[int, typer.Option(min=1)] = 12,
    replication: Annotated[int, typer.Option(min=1)] = 3,
    data: DataOption = None,
) -> None:
    """Create the topics that are missing: a step of a deployment on Apache Kafka."""
    from aiokafka.errors import KafkaError

    from stream.kafka import create_topics

    try:
        made = asyncio.run(create_topics(kafka_servers(data), partitions, replication))
    except KafkaError as error:
        raise CannotStart(f"Kafka did not create the topics: {error}.") from error
    typer.echo(f"created: {', '.join(made)}" if made else "all topics are there already")


def kafka_servers(data: Path | None) -> str:
    """Return the bootstrap servers from the environment, or those of the run in the data folder."""
    given = DoorSettings().kafka_bootstrap_servers
    if given:
        return given
    running = read_running(data or default_data_folder())
    if running is None:
        raise CannotStart("Nothing runs there: start `alhambra up`, name its --data, or set KAFKA_BOOTSTRAP_SERVERS.")
    return running.kafka
