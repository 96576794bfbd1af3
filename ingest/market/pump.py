"""Move quotes from a source to the publisher: check, count, refuse, pass on."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.market import metrics
from ingest.market.publisher import QuotePublisher
from ingest.market.source import QuoteSource, Refuse
from ingest.market.validation import REASONS, Codes, check_quotes
from stream.messages import QUOTES_TOPIC, DeadLetter, QuoteBatch, encode_quotes, select_quotes
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


async def pump_quotes(
    source: QuoteSource, publisher: QuotePublisher, known: npt.NDArray[np.bool_], state: FeedState
) -> None:
    """Publish the source's good quotes until it ends; the others become dead letters, one a batch and reason."""
    refuse, received = create_refuse(publisher, state), Stage("received")
    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            good, codes = check_quotes(batch, known)
            refused = len(batch) - int(np.count_nonzero(good))
            if refused:
                await _refuse(refuse, batch, codes)
            state.take(len(batch) - refused, batch.received_ns)
            if refused == 0:
                received.passed(int(batch.event_ns.max(initial=0)))
            if refused < len(batch):
                await publisher.publish(select_quotes(batch, good) if refused else batch)
    await publisher.flush()
    state.finished = True


def create_refuse(publisher: QuotePublisher, state: FeedState) -> Refuse:
    """Return what takes a source's dead letters: counts them by reason and passes them to the publisher."""

    async def refuse(letter: DeadLetter) -> None:
        state.refused += letter.count
        metrics.REFUSED.labels(state.name, letter.reason).inc(letter.count)
        await publisher.refuse(letter)

    return refuse


async def _refuse(refuse: Refuse, batch: QuoteBatch, codes: Codes) -> None:
    for code in np.unique(codes[codes > 0]).tolist():
        refused = select_quotes(batch, np.flatnonzero(codes == code))
        await refuse(
            DeadLetter(
                topic=QUOTES_TOPIC,
                partition=-1,  # it never reached the topic
                offset=-1,
                reason=REASONS[code],
                detail=f"{len(refused)} quotes of {batch.source}, the first of instrument {refused.instrument[0]}",
                payload=encode_quotes(refused),
                received_ns=time.time_ns(),
                count=len(refused),
            )
        )
