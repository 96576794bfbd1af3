"""Say how far the worker has read, for whoever compares what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class Progress:
    """Hold the newest full list of IBOSS's accounts, and whether everything was read to its end once.

    `known` are the portfolios of ours as they were when that list was asked for, by account.
    """

    listed: frozenset[str] = frozenset()
    known: Mapping[str, UUID] = field(default_factory=dict)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
