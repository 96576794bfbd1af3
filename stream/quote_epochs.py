"""Drop quotes of a leader that has been followed by another: the fence of the market on its way through Kafka.

A partition has an order that every reader sees alike. So what comes behind a higher epoch is dropped by all of them,
and what a leader sent before its successor's first quotes there counts, wherever a reader begins.
"""

from __future__ import annotations


class QuoteEpochs:
    """Know the highest epoch of each partition of the quotes."""

    def __init__(self) -> None:
        self._highest: dict[int, int] = {}

    def admits(self, partition: int, epoch: int) -> bool:
        """Take note of a batch and say whether it counts; one without an epoch (0) always does."""
        if epoch == 0:
            return True
        highest = self._highest.setdefault(partition, epoch)
        if epoch > highest:
            self._highest[partition] = epoch
        return epoch >= highest
