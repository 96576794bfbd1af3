"""Hold what the command line asks of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Hold what `alhambra up` was asked for; `portfolios` is None for the bank's own size."""

    port: int
    data: Path
    feed: str
    portfolios: int | None = None
    ready_json: bool = False
