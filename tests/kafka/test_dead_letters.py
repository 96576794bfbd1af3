"""A dead letter's whole way on Apache Kafka: refused, mended, put back once, and valued."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from fakes import eventually
from fakes_kafka import Crew
from fakes_stream import positions_now
from rich.console import Console

from alhambra.dead_letters import Wanted, replay_dead_letters

pytestmark = pytest.mark.kafka


async def test_positions_of_an_unknown_instrument_are_valued_when_it_is_known_and_they_are_put_back(crew: Crew) -> None:
    stage = crew.stage
    crew.join("stream-1")
    await eventually(crew.all_right, "the worker values everything", 30)
    portfolio = next(iter(stage.bank.records))
    await stage.feed.send_positions(positions_now(portfolio, "USD", 7, (40, "8")))
    await eventually(lambda: stage.letter("unknown_instrument"), "they are refused")

    await stage.bank.add_instrument(40, "NEW", "equity", "USD")
    await stage.bank.add_close(40, datetime.now(UTC).date() - timedelta(days=1), 12.5)
    assert "put back" in await replay(stage.servers)
    assert "no dead letters" in await replay(stage.servers)

    async def is_valued() -> bool:
        found = await stage.valuation(portfolio)
        return found is not None and found.total_equity == 100.0

    await eventually(is_valued, "they are valued")


async def replay(servers: str) -> str:
    """Put back what there is; returns what was printed."""
    printed = io.StringIO()
    await replay_dead_letters(servers, Wanted(), Console(width=200, file=printed))
    return printed.getvalue()
