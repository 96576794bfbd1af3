"""Hold what the command line asks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Hold what `alhambra up` was asked for; `portfolios` is None for the bank's own size, `feed` as MARKET_FEED."""

    port: int
    data: Path
    feed: str
    portfolios: int | None = None
    ready_json: bool = False


def join_feeds(feeds: Sequence[str] | None) -> str:
    """Return feeds that were named one by one as MARKET_FEED names them, empty where there are none."""
    return ";".join(feeds or ())
