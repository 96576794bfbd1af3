"""Hold what a program gets: the newest state of a stream, or an alert."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from alhambra.client.state import State


@dataclass(frozen=True, slots=True)
class Update:
    """Hold the whole state of a stream, and what is new in it since the update before.

    `rows` are by symbol, of a floor by portfolio id; with a view in its order. `changed` and `removed`
    are keys of rows. `resynced`: the state came whole, at the beginning or because deltas could not continue.
    `state` and `source_live` say whether this is of now; when only they change, an update comes with the same `seq`.
    Times are nanoseconds since 1970 by the bank's clock; `delay_ns` is from sent to received, by the clock estimate.
    """

    stream: str
    epoch: int
    seq: int
    event_ns: int
    sent_ns: int
    delay_ns: int
    totals: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    changed: Set[str]
    removed: Set[str]
    resynced: bool
    source_live: bool
    state: State

    @property
    def live(self) -> bool:
        """Say whether this is of now."""
        return self.state is State.LIVE


@dataclass(frozen=True, slots=True)
class Alert:
    """Hold what one of the user's rules raised: `value` crossed `threshold`, by the price made at `price_ns`.

    `seq` grows by one with each alert of the user; `subject` is the stream that shows what it is about.
    """

    seq: int
    id: str
    rule: str
    kind: str
    subject: str
    title: str
    currency: str
    direction: str
    threshold: float
    value: float
    price_source: str
    price_ns: int
    raised_ns: int
    sent_ns: int
