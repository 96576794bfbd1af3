"""Hold one feed of the market process while it runs, and say how it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from db.feed_reports import FeedReport, InstrumentReport
from ingest.market import metrics
from ingest.market.board import Board
from ingest.market.clock_offset import ClockOffset
from ingest.market.hours import OpenHours
from ingest.market.pump import Intake
from ingest.market.source import FeedSpec, QuoteSource
from ingest.market.symbols import SymbolMap
from ingest.market.tops import LIVE, STALE, FeedCounts, FeedStatus, Top, Tops
from ingest.market.venue_feed import VenueFeed
from ingest.venues.registry import STREAMS
from ingest.venues.venue import PolledVenue, StreamVenue

NAMED_INSTRUMENTS = 1_000
SECOND_NS = 1_000_000_000
CLOCK_IS_OFF_NS = 2 * SECOND_NS
UNLISTED_RANK = 1_000_000.0  # behind whatever rank the bank gives an instrument


class VenueQuotes(QuoteSource, Protocol):
    """Say what a source that follows a venue can be told and asked, beside its quotes."""

    @property
    def tops(self) -> Tops:
        """Return the newest of each instrument."""
        ...

    @property
    def offset(self) -> ClockOffset:
        """Return how far the venue's clock is from ours."""
        ...

    @property
    def trouble(self) -> str:
        """Return why nothing or not all comes, in words; empty where nothing is wrong."""
        ...

    @property
    def connected(self) -> bool:
        """Say whether the venue is there."""
        ...

    @property
    def losses(self) -> int:
        """Return how often it was lost."""
        ...

    def remap(self, symbols: SymbolMap, hours: OpenHours) -> None:
        """Follow these symbols from now on."""
        ...


Described: TypeAlias = tuple[bool, str]


@dataclass(slots=True)
class FeedRun:
    """Hold a feed: what was asked for, where its quotes go, and, of a venue, what is followed there.

    `unclear` is why the venue could not be made; `venue` is None then, and where the feed is none of a venue.
    `closes_trouble` is why its daily closes could not be taken, empty where they were.
    """

    feed: FeedSpec
    intake: Intake
    venue: StreamVenue | PolledVenue | None = None
    unclear: str = ""
    quotes: VenueQuotes | None = None
    symbols: SymbolMap = field(default_factory=SymbolMap)
    hours: OpenHours = field(default_factory=OpenHours)
    closes_trouble: str = ""
    _counted: FeedCounts = field(default_factory=FeedCounts)
    _ticks: int = 0
    _at_s: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Return good quotes a second since this was last asked."""
        now_s, ticks = time.monotonic(), self.intake.state.ticks
        rate = (ticks - self._ticks) / max(now_s - self._at_s, 1e-3)
        self._ticks, self._at_s = ticks, now_s
        return rate

    def quoted(self) -> dict[str, int]:
        """Return the instruments that the feed follows: the venue's symbol → id."""
        return {symbol: one.instrument.id for symbol, one in self.symbols.mapped.items()}

    def follow(self, board: Board, symbols: SymbolMap, hours: OpenHours) -> None:
        """Follow these symbols of a venue from now on."""
        self.symbols, self.hours = symbols, hours
        ranks = {
            one.instrument.id: UNLISTED_RANK if one.priority is None else float(one.priority)
            for one in symbols.mapped.values()
        }
        board.rank(self.intake.index, {number: rank + self.intake.index / 100.0 for number, rank in ranks.items()})
        if self.quotes is not None:
            self.quotes.remap(symbols, hours)

    def look(self, board: Board, now_ns: int) -> None:
        """Tell the board which instruments are live here."""
        if self.quotes is None:
            if self.intake.state.finished or self.intake.state.feed_trouble:
                nothing = np.zeros(board.size, bool)
                board.selection.report(self.intake.index, nothing, nothing, now_ns)
            return
        live, held = np.zeros(board.size, bool), np.zeros(board.size, bool)
        over = self.intake.state.finished
        for top in self.quotes.tops:
            live[top.mapped.instrument.id] |= top.state is LIVE and not over
            held[top.mapped.instrument.id] |= top.state in (LIVE, STALE)
        board.selection.report(self.intake.index, live, held, now_ns)

    def describe(self, counted: int, now_ns: int) -> Described:
        """Return whether a venue's feed is well, and a sentence that says so."""
        state, quotes, rate = self.intake.state, self.quotes, self.rate
        if quotes is None:
            return False, state.feed_trouble or "not started yet"
        if state.finished:
            return True, f"the replay has ended: {state.ticks:,} quotes, {state.refused:,} refused"
        tops = list(quotes.tops)
        live = sum(top.state is LIVE for top in tops)
        missed = [top for top in tops if top.state is not LIVE and self._is_open(top, now_ns)]
        if quotes.trouble:
            return False, f"{quotes.trouble}; {live} of {len(tops)} instruments live" if tops else quotes.trouble
        if not quotes.connected:
            return False, f"connecting; {live} of {len(tops)} instruments live"
        said = [f"{live} of {len(tops)} instruments live"]
        if counted != live:
            said.append(f"{counted} counted")
        if live:
            said.append(f"{rate:,.0f} quotes/s, newest {max(0, now_ns - state.newest_ns) / 1e9:.1f} s ago")
        if missed:
            said.append(f"not live: {_names(missed)}")
        elif len(tops) > live:
            said.append("the others' markets are closed" if live else "their markets are closed")
        if isinstance(self.feed, VenueFeed) and self.feed.kind in STREAMS:
            said.extend(_describe_clock(quotes.offset.offset_ns or 0))
        return not missed or live > 0, ", ".join(said)

    def report(self, board: Board, described: Described, now_ns: int) -> FeedReport:
        """Return the report of a venue's feed, and count what is new for Prometheus."""
        quotes, index = self.quotes, self.intake.index
        tops = list(quotes.tops) if quotes is not None else []
        states = Counter(str(top.state) for top in tops)
        counting = board.selection.chosen == index
        counts = quotes.tops.counts if quotes is not None else self._counted
        offset_ns = quotes.offset.offset_ns if quotes is not None else None
        named = sorted(tops, key=lambda top: (top.state is LIVE, top.symbol))[:NAMED_INSTRUMENTS]
        self._count(counts, states, int(counting.sum()), offset_ns, now_ns)
        return FeedReport(
            source=self.feed.name,
            kind=self.feed.kind if isinstance(self.feed, VenueFeed) else self.feed.name,
            rank=index,
            ok=described[0],
            detail=described[1],
            connected=quotes is not None and quotes.connected,
            messages=counts.messages,
            quotes=counts.quotes,
            trades=counts.trades,
            gaps=counts.gaps,
            reconnects=quotes.losses if quotes is not None else 0,
            counted=int(counting.sum()),
            clock_offset_s=None if offset_ns is None else round(offset_ns / 1e9, 6),
            states=dict(states),
            refused=dict(self.symbols.refused),
            quarantined=dict(self.intake.quarantine.reasons),
            instruments=tuple(_instrument(top, bool(counting[top.mapped.instrument.id]), now_ns) for top in named),
            reported_ns=now_ns,
        )

    def _is_open(self, top: Top, now_ns: int) -> bool:
        return self.hours.opened_ns(top.mapped.instrument.exchange, now_ns) is not None

    def _count(
        self, counts: FeedCounts, states: Mapping[str, int], counted: int, offset_ns: int | None, now_ns: int
    ) -> None:
        name, before = self.feed.name, self._counted
        metrics.MESSAGES.labels(name).inc(counts.messages - before.messages)
        metrics.BYTES.labels(name).inc(counts.bytes - before.bytes)
        metrics.QUOTES.labels(name).inc(counts.quotes - before.quotes)
        metrics.TRADES.labels(name).inc(counts.trades - before.trades)
        metrics.GAPS.labels(name).inc(counts.gaps - before.gaps)
        self._counted = FeedCounts(counts.messages, counts.bytes, counts.quotes, counts.trades, gaps=counts.gaps)
        for status in FeedStatus:
            metrics.INSTRUMENTS.labels(name, status.value).set(states.get(status.value, 0))
        metrics.SELECTED.labels(name).set(counted)
        newest_ns = self.intake.state.newest_ns
        if newest_ns:
            metrics.AGE.labels(name).set((now_ns - newest_ns) / 1e9)
        if offset_ns is not None:
            metrics.CLOCK_OFFSET.labels(name).set(offset_ns / 1e9)


def _describe_clock(offset_ns: int) -> list[str]:
    if abs(offset_ns) <= CLOCK_IS_OFF_NS:
        return []
    seconds = abs(offset_ns) / 1e9
    return [
        f"its clock is {seconds:.1f} s ahead of ours" if offset_ns < 0 else f"its records come {seconds:.1f} s late"
    ]


def _instrument(top: Top, counts: bool, now_ns: int) -> InstrumentReport:
    age_s = round((now_ns - top.received_ns) / 1e9, 3) if top.received_ns else None
    return InstrumentReport(top.mapped.instrument.symbol, top.symbol, str(top.state), age_s, counts)


def _names(tops: Sequence[Top]) -> str:
    few = ", ".join(f"{top.mapped.instrument.symbol} {top.state}" for top in tops[:3])
    return f"{few} and {len(tops) - 3} more" if len(tops) > 3 else few
