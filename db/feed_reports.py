"""Say how a market feed is doing: what ingest writes to Redis, and `alhambra doctor feeds` shows."""

from __future__ import annotations

import msgspec


class InstrumentReport(msgspec.Struct, frozen=True):
    """Hold one instrument of a feed: the venue's symbol, its state, the age of what came last, and whether it counts.

    `status` is LIVE, GAP, RESYNC or STALE; `age_s` is None where nothing has come. `counts` says that prices are taken
    from this feed.
    """

    symbol: str
    venue_symbol: str
    status: str
    age_s: float | None
    counts: bool


class FeedReport(msgspec.Struct, frozen=True):
    """Hold the last report of a feed; it expires like a report of health.

    `rank` is its place among the feeds, 0 first. `states` counts its instruments by state; `instruments` names them,
    those in trouble first, the first thousand. `refused` says which symbols are not asked for, and why. `quarantined`
    counts by reason. `clock_offset_s` is positive where the venue's records come late, negative where its clock is
    ahead of ours.
    """

    source: str
    kind: str
    rank: int
    ok: bool
    detail: str
    connected: bool
    messages: int
    quotes: int
    trades: int
    gaps: int
    reconnects: int
    counted: int
    clock_offset_s: float | None
    states: dict[str, int]
    refused: dict[str, str]
    quarantined: dict[str, int]
    instruments: tuple[InstrumentReport, ...]
    reported_ns: int
