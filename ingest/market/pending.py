"""Hold the quotes that wait to be sent, and shrink them to the newest of each instrument when they are too many."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from stream.messages import QuoteBatch, select_quotes


class PendingQuotes:
    """Queue batches; the owner decides when they are too many."""

    def __init__(self) -> None:
        self._batches: deque[QuoteBatch] = deque()
        self.ticks = 0

    def add(self, batch: QuoteBatch) -> None:
        """Put a batch at the end."""
        self._batches.append(batch)
        self.ticks += len(batch)

    def put_back(self, batch: QuoteBatch) -> None:
        """Put a batch that could not be sent at the front."""
        self._batches.appendleft(batch)
        self.ticks += len(batch)

    def take(self, ticks: int) -> QuoteBatch:
        """Remove whole batches from the front until there are at least `ticks`, and return them as one.

        Batches of different sources are never merged. Raises `IndexError` when nothing is pending.
        """
        taken = [self._batches.popleft()]
        size = len(taken[0])
        while self._batches and size < ticks and self._batches[0].source == taken[0].source:
            taken.append(self._batches.popleft())
            size += len(taken[-1])
        self.ticks -= size
        return merge_quotes(taken)

    def conflate(self) -> int:
        """Keep the newest quote of each instrument, by source; return how many quotes were dropped."""
        before = self.ticks
        by_source: dict[str, list[QuoteBatch]] = {}
        for batch in self._batches:
            by_source.setdefault(batch.source, []).append(batch)
        self._batches = deque(conflate_quotes(merge_quotes(batches)) for batches in by_source.values())
        self.ticks = sum(map(len, self._batches))
        return before - self.ticks


def merge_quotes(batches: Sequence[QuoteBatch]) -> QuoteBatch:
    """Join batches of one source in their order; they were received when the first of them was."""
    if len(batches) == 1:
        return batches[0]
    return QuoteBatch(
        batches[0].source,
        batches[0].received_ns,
        np.concatenate([batch.instrument for batch in batches]),
        np.concatenate([batch.bid for batch in batches]),
        np.concatenate([batch.ask for batch in batches]),
        np.concatenate([batch.last for batch in batches]),
        np.concatenate([batch.volume for batch in batches]),
        np.concatenate([batch.event_ns for batch in batches]),
    )


def conflate_quotes(batch: QuoteBatch) -> QuoteBatch:
    """Keep of each instrument the quote with the newest event time; of several, the last to arrive.

    That is the rule by which the stream keeps a price, so every final price stays the same.
    """
    order = np.lexsort((batch.event_ns, batch.instrument))  # stable: equal times stay in order of arrival
    instrument = batch.instrument[order]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = instrument[1:] != instrument[:-1]
    return select_quotes(batch, np.sort(order[is_last]))
