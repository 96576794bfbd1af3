"""Hold the top of the book of every instrument of one feed, and whether it can be trusted. Pure, and bounded.

| state | meaning | next |
|---|---|---|
| `RESYNC` | connecting, or a snapshot is asked for | `LIVE` with the first quote that can be trusted |
| `LIVE` | what we hold is what the venue says | `GAP`, `STALE`, or `RESYNC` when the connection is lost |
| `GAP` | records are missing and what follows cannot be trusted | `RESYNC` when a snapshot is asked for |
| `STALE` | nothing has come for longer than its class allows, while its market is open | `LIVE` with the next record |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ingest.market.clock_offset import ClockOffset
from ingest.market.hours import OpenHours
from ingest.market.symbols import Mapped, SymbolMap
from ingest.venues.events import Complaint, Event, Gap, Heartbeat, Notice, Quote, Refused, Snapshot, Trade
from stream.messages import FUTURE_TOLERANCE_NS, QuoteBatch

FUTURE = "future"
SECOND_NS = 1_000_000_000
# How long an instrument of a live market may be silent: what trades every second is missed soon, a fund hardly ever.
SILENT_AFTER_S = {"crypto": 60.0, "fx": 60.0, "equity": 300.0, "etf": 300.0, "index": 300.0, "bond": 3600.0}
SILENT_ELSE_S = 86_400.0


class FeedStatus(StrEnum):
    """Say whether the price of an instrument from a feed can be trusted."""

    LIVE = "LIVE"
    GAP = "GAP"
    RESYNC = "RESYNC"
    STALE = "STALE"


LIVE, GAP, RESYNC, STALE = FeedStatus


@dataclass(slots=True)
class FeedCounts:
    """Count what a feed has heard since it began; `messages` are frames or documents, `bytes` theirs.

    `resyncs` counts snapshots asked for after a gap, `mended` the gaps that a snapshot has ended.
    """

    messages: int = 0
    bytes: int = 0
    quotes: int = 0
    trades: int = 0
    heartbeats: int = 0
    gaps: int = 0
    resyncs: int = 0
    mended: int = 0
    unmapped: int = 0


class Top:
    """Hold the newest of one instrument; `broken` (since `broken_ns`): nothing is to be believed before a snapshot.

    `quote_ns` and `trade_ns` are by the venue's clock, 0 where it does not say; the other times are by ours.
    """

    __slots__ = (
        "ask",
        "bid",
        "broken",
        "broken_ns",
        "dirty",
        "event_ns",
        "heard_ns",
        "last",
        "mapped",
        "quote_ns",
        "received_ns",
        "since_ns",
        "state",
        "symbol",
        "trade_ns",
        "volume",
    )

    def __init__(self, symbol: str, mapped: Mapped, now_ns: int) -> None:
        self.symbol = symbol
        self.mapped = mapped
        self.state = RESYNC
        self.since_ns = now_ns
        self.heard_ns = now_ns
        self.broken = False
        self.broken_ns = 0
        self.dirty = False
        self.event_ns = 0  # it outlives a connection, unlike what is forgotten with it
        self.forget()

    def forget(self) -> None:
        """Hold nothing: what was known belonged to a connection that is gone."""
        self.bid = self.ask = self.last = self.volume = math.nan
        self.quote_ns = self.trade_ns = self.received_ns = 0

    def become(self, state: FeedStatus, now_ns: int) -> None:
        """Enter a state."""
        if self.state is not state:
            self.state = state
            self.since_ns = now_ns

    def date(self, event_ns: int, received_ns: int) -> None:
        """Date what is held: never back, because whoever takes the rows keeps the newest by its date.

        A snapshot without a time is dated by its receipt, and the changes that follow it say when they were made, which
        is earlier: they are newer all the same.
        """
        self.event_ns = min(max(self.event_ns, event_ns), received_ns)

    def row(self) -> tuple[int, float, float, float, float, int] | None:
        """Return instrument, bid, ask, last, volume and event time; None where there is no mark.

        A last price outside bid and ask is older than they are, and left out, so that the mark is the mid. A crossed
        book is returned as it is, for the checks to refuse.
        """
        bid, ask, last, factor = self.bid, self.ask, self.last, self.mapped.factor
        if last < bid or last > ask:
            last = math.nan
        if math.isnan(last) and (math.isnan(bid) or math.isnan(ask)):
            return None
        return self.mapped.instrument.id, bid * factor, ask * factor, last * factor, self.volume, self.event_ns


class Tops:
    """Apply events in the order of their arrival; hand out what has changed, as often as somebody asks."""

    def __init__(self, source: str, offset: ClockOffset, silent_after_s: float | None = None) -> None:
        self.counts = FeedCounts()
        self._source = source
        self._offset = offset
        self._silent_after_s = silent_after_s
        self._tops: dict[str, Top] = {}
        self._dirty: list[Top] = []

    def __iter__(self) -> Iterator[Top]:
        return iter(self._tops.values())

    def remap(self, symbols: SymbolMap, now_ns: int) -> None:
        """Take the symbols that the feed is asked for now; what stays keeps what is known of it."""
        before, self._tops = self._tops, {}
        for symbol, mapped in symbols.mapped.items():
            top = before.get(symbol)
            if top is not None and top.mapped.instrument.id == mapped.instrument.id:
                top.mapped = mapped
                self._tops[symbol] = top
            else:
                self._tops[symbol] = Top(symbol, mapped, now_ns)
        self._dirty = [top for top in self._dirty if self._tops.get(top.symbol) is top]

    def reset(self, symbols: Iterable[str], now_ns: int) -> None:
        """Say that a connection for these symbols begins, or has ended: nothing of the last one holds."""
        for top in self._some(symbols):
            top.forget()
            top.broken = False
            top.heard_ns = now_ns
            top.become(RESYNC, now_ns)

    def asked(self, symbols: Iterable[str], now_ns: int) -> None:
        """Say that the venue has been asked for what is missing of these symbols."""
        for top in self._some(symbols):
            if top.state is GAP:
                self.counts.resyncs += 1
                top.become(RESYNC, now_ns)

    def apply(
        self, events: Sequence[Event], received_ns: int, symbols: Sequence[str]
    ) -> list[Refused | Complaint | Gap]:
        """Take what one record says; `symbols` are those of its connection. Return what its owner must deal with."""
        remarks: list[Refused | Complaint | Gap] = []
        newest_ns = 0
        for event in events:
            if isinstance(event, Quote) or isinstance(event, Trade):  # noqa: SIM101 - twice as fast as a tuple
                newest_ns = max(newest_ns, event.event_ns)
                refused = self._price(event, received_ns)
                if refused is not None:
                    remarks.append(refused)
            elif isinstance(event, Snapshot):
                self._snapshot(event.symbol, received_ns)
            elif isinstance(event, Heartbeat):
                newest_ns = max(newest_ns, event.event_ns)
                self.counts.heartbeats += 1
            elif isinstance(event, Gap):
                self._gap(event, received_ns, symbols)
                remarks.append(event)
            elif not isinstance(event, Notice):
                remarks.append(event)
        if newest_ns:
            self._offset.observe(newest_ns, received_ns)
        return remarks

    def take(self, now_ns: int) -> QuoteBatch | None:
        """Return what has changed since the last call, one row an instrument; None where there is nothing."""
        rows = [row for top in self._dirty if not top.broken and (row := top.row()) is not None]
        for top in self._dirty:
            top.dirty = False
            top.volume = math.nan  # of a trade, said once
        self._dirty.clear()
        if not rows:
            return None
        instrument, bid, ask, last, volume, event_ns = zip(*rows, strict=True)
        return QuoteBatch(
            self._source,
            now_ns,
            np.array(instrument, np.uint32),
            np.array(bid, np.float64),
            np.array(ask, np.float64),
            np.array(last, np.float64),
            np.array(volume, np.float64),
            np.array(event_ns, np.int64),
        )

    @property
    def changed(self) -> bool:
        """Say whether there is something to take."""
        return bool(self._dirty)

    def age(self, hours: OpenHours, now_ns: int) -> None:
        """Make STALE what has been silent for too long while its market is open."""
        for top in self._tops.values():
            if top.state is not LIVE:
                continue
            opened_ns = hours.opened_ns(top.mapped.instrument.exchange, now_ns)
            if opened_ns is not None and now_ns - max(top.heard_ns, opened_ns) > self.silent_ns(top.mapped):
                top.become(STALE, now_ns)

    def silent_ns(self, mapped: Mapped) -> int:
        """Return how long an instrument may be silent."""
        seconds = self._silent_after_s or SILENT_AFTER_S.get(mapped.instrument.asset_class, SILENT_ELSE_S)
        return round(seconds * SECOND_NS)

    def oldest_break_ns(self, symbols: Iterable[str], now_ns: int) -> int:
        """Return for how long the one of these symbols that waits longest has waited for its snapshot."""
        return max((now_ns - top.broken_ns for top in self._some(symbols) if top.broken), default=0)

    def heard(self, symbols: Iterable[str], now_ns: int) -> None:
        """Say that a venue that is polled has confirmed what it said of these symbols."""
        for top in self._some(symbols):
            top.heard_ns = now_ns
            if top.state is STALE or (top.state is RESYNC and top.received_ns):
                top.become(LIVE, now_ns)

    def _some(self, symbols: Iterable[str]) -> list[Top]:
        return [top for symbol in symbols if (top := self._tops.get(symbol)) is not None]

    def _price(self, event: Quote | Trade, received_ns: int) -> Refused | None:
        """Take a quote or a trade; one that is older than the newest of its kind says nothing new.

        What a row is dated by is the newer of both in our time: never in the future, and when it was received where the
        venue does not say.
        """
        top = self._tops.get(event.symbol)
        if top is None:
            self.counts.unmapped += 1
            return None
        event_ns, ahead_ns = event.event_ns, self._offset.ahead_ns
        if event_ns > received_ns + FUTURE_TOLERANCE_NS + ahead_ns:
            seconds = (event_ns - received_ns) / SECOND_NS
            return Refused(FUTURE, f"{event.symbol} is dated {seconds:.1f} s into the future", event.symbol)
        top.heard_ns = received_ns
        event_ns = min(event_ns - ahead_ns, received_ns) if event_ns else 0
        if type(event) is Quote:
            self.counts.quotes += 1
            if top.broken or 0 < event_ns < top.quote_ns:
                return None
            top.bid, top.ask, top.quote_ns = event.bid, event.ask, event_ns
        elif isinstance(event, Trade):
            self.counts.trades += 1
            if top.broken or 0 < event_ns < top.trade_ns:
                return None
            top.last, top.volume, top.trade_ns = event.price, event.size, event_ns
        top.received_ns = received_ns
        top.date(event_ns or received_ns, received_ns)
        if top.state is not LIVE:
            top.become(LIVE, received_ns)
        self._mark(top)
        return None

    def _mark(self, top: Top) -> None:
        if not top.dirty:
            top.dirty = True
            self._dirty.append(top)

    def _snapshot(self, symbol: str, received_ns: int) -> None:
        """Believe what follows: its quotes make the symbol LIVE."""
        top = self._tops.get(symbol)
        if top is not None:
            self.counts.mended += top.broken
            top.broken = False
            top.quote_ns = 0  # what the snapshot says counts, whatever its time
            top.heard_ns = received_ns

    def _gap(self, gap: Gap, received_ns: int, symbols: Sequence[str]) -> None:
        self.counts.gaps += 1
        if not gap.broken:
            return
        for top in self._some(symbols if gap.symbol is None else (gap.symbol,)):
            if not top.broken:
                top.broken, top.broken_ns = True, received_ns
                top.forget()
            top.become(GAP, received_ns)
