"""Move quotes from a source to the publisher: check, count, refuse, pass on what counts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ingest.market import metrics
from ingest.market.board import Board
from ingest.market.outliers import Reference
from ingest.market.publisher import QuotePublisher
from ingest.market.quarantine import Quarantine
from ingest.market.source import QuoteSource, Refuse
from stream.messages import DeadLetter
from stream.stages import Stage


@dataclass(slots=True)
class FeedState:
    """Say how a feed is doing. `newest_ns` is when the last good quote was received, 0 before the first."""

    name: str
    ticks: int = 0
    refused: int = 0
    newest_ns: int = 0
    finished: bool = False
    feed_trouble: str = ""
    delivery_trouble: str = ""

    def take(self, quotes: int, received_ns: int) -> None:
        """Count good quotes."""
        self.ticks += quotes
        if quotes:
            self.newest_ns = received_ns
            metrics.TICKS.labels(self.name).inc(quotes)


@dataclass(frozen=True, slots=True)
class Intake:
    """Hold where a feed's quotes go: its place on the board, what counts it, what refuses for it.

    `patient` sources wait for Kafka as long as it takes; `conflates` says that the source itself holds the newest of
    each instrument. `judged` and `dated` are for `Board.take`: a replay brings levels and perhaps times of another day.
    """

    board: Board
    index: int
    state: FeedState
    quarantine: Quarantine
    patient: bool = False
    conflates: bool = False
    judged: bool = False
    dated: bool = True


async def pump_quotes(source: QuoteSource, publisher: QuotePublisher, intake: Intake) -> None:
    """Publish the source's good quotes that count until it ends; what is refused goes to quarantine."""
    board, state, received = intake.board, intake.state, Stage("received")
    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            good, passed = board.take(intake.index, batch, intake.quarantine, judged=intake.judged, dated=intake.dated)
            state.take(good, batch.received_ns)
            if good == len(batch):
                received.passed(int(batch.event_ns.max(initial=0)))
            for quotes in passed:
                await publisher.publish(quotes, patient=intake.patient)
            if intake.conflates:
                await publisher.calm()
    await intake.quarantine.flush()
    await publisher.flush()
    state.finished = True


def create_refuse(publisher: QuotePublisher, state: FeedState) -> Refuse:
    """Return what takes a feed's dead letters: counts them by reason and passes them to the publisher."""

    async def refuse(letter: DeadLetter) -> None:
        state.refused += letter.count
        metrics.REFUSED.labels(state.name, letter.reason).inc(letter.count)
        await publisher.refuse(letter)

    return refuse


def create_intake(name: str, ids: Sequence[int], publisher: QuotePublisher) -> Intake:
    """Make the intake of a replay that is alone, for these instruments."""
    now_ns = time.time_ns()
    board, state = Board([name], now_ns), FeedState(name)
    board.follow([Reference(number, "", math.nan) for number in ids], now_ns)
    board.rank(0, dict.fromkeys(ids, 0.0))
    return Intake(board, 0, state, Quarantine(name, create_refuse(publisher, state)), patient=True, dated=False)
