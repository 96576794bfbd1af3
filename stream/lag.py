"""Measure how far a reader is behind the broker: in records, and in seconds.

Both come from the broker's own end offsets, so neither stands still when reading does. A record that is not read yet
came after the last one that was: so the oldest of them is at most as old as that one, or as the reader where it has
read nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition

from stream.metrics import LAG, LAG_SECONDS


@dataclass(slots=True)
class Reading:
    """Say how far a reader is: the next offset of each partition, and when the last record read was written."""

    offsets: dict[int, int] = field(default_factory=dict)
    written_ms: dict[int, int] = field(default_factory=dict)
    began_ms: float = field(default_factory=lambda: time.time() * 1000)

    def begin(self, partition: int, offset: int) -> None:
        """Begin a partition at an offset."""
        self.offsets[partition] = offset

    def take(self, last: ConsumerRecord) -> None:
        """Take the last record that was read of a partition."""
        self.offsets[last.partition] = last.offset + 1
        self.written_ms[last.partition] = last.timestamp

    def behind(self, ends: Mapping[TopicPartition, int]) -> dict[int, int]:
        """Return by partition how many records stand between what was read and the broker's end, where any do."""
        counts = {one.partition: end - self.offsets.get(one.partition, 0) for one, end in ends.items()}
        return {partition: count for partition, count in counts.items() if count > 0}

    def age_s(self, ends: Mapping[TopicPartition, int], now_ms: float) -> float:
        """Return how old the oldest record not yet read is at most, 0 where all is read."""
        oldest = [self.written_ms.get(partition, self.began_ms) for partition in self.behind(ends)]
        return max(now_ms - min(oldest), 0.0) / 1000 if oldest else 0.0


def export_lag(topic: str, reading: Reading, ends: Mapping[TopicPartition, int] | None) -> int:
    """Export a reader's lag and return it in records; without `ends`, nobody knows: NaN and -1."""
    if ends is None:
        LAG.labels(topic).set(float("nan"))
        LAG_SECONDS.labels(topic).set(float("nan"))
        return -1
    records = sum(reading.behind(ends).values())
    LAG.labels(topic).set(records)
    LAG_SECONDS.labels(topic).set(reading.age_s(ends, time.time() * 1000))
    return records
