"""Measure how old the newest tick is as it passes each stage, from the source to the socket.

| stage | in | observed |
|---|---|---|
| `received` | ingest | when a batch comes from its source |
| `read` | stream | when a worker has read it from Kafka |
| `valued` | stream | when the cycle has revalued what it touches |
| `written` | stream | when Redis has taken what was due |
| `sent` | web | when a client's delta is encoded |

Each newest event counts once a stage: while nothing new arrives nothing is observed, so that a quiet night does not
look like a slow morning. What does not arrive shows in the lag, and in `/api/health`.
"""

from __future__ import annotations

import time

from prometheus_client import Histogram

TICK_AGE = Histogram(
    "alhambra_tick_age_seconds",
    "Age of the newest tick as it passes a stage",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
)


class Stage:
    """Observe one stage."""

    def __init__(self, name: str) -> None:
        self._age = TICK_AGE.labels(name)
        self._newest_ns = 0

    def passed(self, event_ns: int) -> None:
        """Say that the tick of `event_ns` is through; one that is not newer than the last is not counted again."""
        if event_ns > self._newest_ns:
            self._newest_ns = event_ns
            self._age.observe(max(time.time_ns() - event_ns, 0) / 1e9)
