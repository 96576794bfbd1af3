"""Run several feeds side by side: what each is told of the bank, and which of them counts for which instrument."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

import structlog

from ingest.market import metrics
from ingest.market.board import Board
from ingest.market.errors import FeedUnclear, NothingToQuote
from ingest.market.feed_run import UNLISTED_RANK, FeedRun, VenueQuotes
from ingest.market.model import create_model
from ingest.market.polling import PolledSource
from ingest.market.publisher import QuotePublisher
from ingest.market.pump import FeedState, Intake, create_refuse
from ingest.market.quarantine import Quarantine
from ingest.market.recorded import RecordedSource
from ingest.market.selection import NOBODY, Switch
from ingest.market.session_source import SessionSource
from ingest.market.simulated import SimulatedSource
from ingest.market.source import FeedSpec, NoFeed, QuoteSource, RecordedFeed, SimulatedFeed
from ingest.market.splits import KnownSplits
from ingest.market.start import Listing, MarketStart
from ingest.market.symbols import map_symbols
from ingest.market.venue_feed import SessionFeed, VenueFeed, create_tls, open_venue
from ingest.market.venue_source import VenueSource
from ingest.venues.registry import STREAMS
from ingest.venues.venue import Keys, PolledVenue, StreamVenue

log = structlog.get_logger()


class Desk:
    """Hold the feeds of a process, the best first, and the board on which their quotes meet."""

    def __init__(self, feeds: Sequence[FeedSpec], publisher: QuotePublisher, keys: Keys) -> None:
        self.board = Board([feed.name for feed in feeds], time.time_ns())
        self.runs = [_create_run(self.board, index, feed, publisher, keys) for index, feed in enumerate(feeds)]
        self._publisher = publisher
        self._start: MarketStart | None = None
        self.splits = KnownSplits()

    def begin(self, start: MarketStart, listing: Listing, passed: Mapping[int, int]) -> None:
        """Take what the bank holds; to be called once, before the feeds are opened."""
        self._start = start
        self.board.follow(start.references(), time.time_ns())
        self.board.recall(passed)
        self._follow_all(listing)

    def follow(self, listing: Listing) -> None:
        """Take what has changed since: new instruments and symbols, hours."""
        if self._start is None:
            return
        self.board.follow(self._start.references_of(listing.instruments), time.time_ns())
        self._follow_all(listing)

    def open(self, run: FeedRun, prices: Mapping[int, float]) -> QuoteSource | None:
        """Make the source of a feed, None where it names none; `prices` (by id) win over closes.

        Raises `MarketError` where it cannot be made.
        """
        if self._start is None:
            raise NothingToQuote("the bank's instruments are not loaded")
        feed, intake = run.feed, run.intake
        if isinstance(feed, NoFeed):
            return None
        if isinstance(feed, RecordedFeed):
            return RecordedSource(feed, self._start.ids(), create_refuse(self._publisher, intake.state))
        if isinstance(feed, VenueFeed | SessionFeed):
            run.quotes = _open_quotes(run, feed)
            run.quotes.remap(run.symbols, run.hours)
            return run.quotes
        model = create_model(self._start.closes, self._start.instruments, prices)
        if not len(model):
            raise NothingToQuote("no instrument has a close to start from")
        return SimulatedSource(feed, model, splits=self.splits)

    async def look(self) -> None:
        """See who is live, and publish what counts now; to be called a few times a second."""
        now_ns = time.time_ns()
        self.board.outliers.splits = self.splits.newest
        for run in self.runs:
            run.look(self.board, now_ns)
        for quotes in self.board.look(now_ns):
            await self._publisher.publish(quotes)
        switched, self.board.switched = self.board.switched, []
        for switch in switched:
            self._tell(switch)

    def _follow_all(self, listing: Listing) -> None:
        """Tell every feed what it is to quote; a simulated one nothing that a venue is asked for.

        An invented price never stands in for a real one: the last real one, marked as old, is worth more.
        """
        asked: set[int] = set()
        for run in self.runs:
            if run.venue is not None and isinstance(run.feed, VenueFeed | SessionFeed):
                self._follow(run, run.feed, run.venue, listing)
                asked.update(run.quoted().values())
        for run in self.runs:
            if run.venue is None:
                ids = {one.id for one in listing.instruments if one.asset_class != "cash"}
                quoted = ids - asked if isinstance(run.feed, SimulatedFeed) else ids
                rank = UNLISTED_RANK + run.intake.index / 100.0
                self.board.rank(run.intake.index, dict.fromkeys(quoted, rank))

    def _follow(
        self, run: FeedRun, feed: VenueFeed | SessionFeed, venue: StreamVenue | PolledVenue, listing: Listing
    ) -> None:
        of = _venue_feed(feed)
        listed = listing.symbols_of(of.name) or listing.symbols_of(of.kind)
        symbols = map_symbols(venue, listing.instruments, listed, of.wanted)
        if symbols != run.symbols:
            log.info("symbols mapped", source=feed.name, mapped=len(symbols.mapped), refused=dict(symbols.refused))
        run.follow(self.board, symbols, listing.hours)

    def _tell(self, switch: Switch) -> None:
        """Count and log an instrument that went over; that somebody speaks first is nothing to tell."""
        if switch.old == NOBODY:
            return
        names = self.board.names
        metrics.FAIL_OVERS.labels(names[switch.new]).inc(len(switch.instruments))
        log.warning(
            "failover", source=names[switch.new], instead_of=names[switch.old], instruments=len(switch.instruments)
        )


def _create_run(board: Board, index: int, feed: FeedSpec, publisher: QuotePublisher, keys: Keys) -> FeedRun:
    state = FeedState(feed.name)
    run = FeedRun(
        feed,
        Intake(
            board,
            index,
            state,
            Quarantine(feed.name, create_refuse(publisher, state)),
            patient=not isinstance(feed, SimulatedFeed),
            conflates=isinstance(feed, VenueFeed) and feed.kind in STREAMS,
            judged=isinstance(feed, VenueFeed),
            dated=not isinstance(feed, RecordedFeed | SessionFeed),
        ),
    )
    if isinstance(feed, VenueFeed | SessionFeed):
        try:
            run.venue = open_venue(_venue_feed(feed), keys)
        except FeedUnclear as error:
            run.unclear = str(error)
    return run


def _open_quotes(run: FeedRun, feed: VenueFeed | SessionFeed) -> VenueQuotes:
    """Make the source of a venue's quotes; raises `FeedUnclear` where that cannot be done."""
    if run.venue is None:
        raise FeedUnclear(run.unclear)
    quarantine = run.intake.quarantine
    if isinstance(feed, SessionFeed):
        return SessionSource(feed, run.venue, quarantine)
    tls, silent_s = create_tls(feed), feed.silent_after_s
    if feed.kind in STREAMS:
        return VenueSource(feed.name, cast(StreamVenue, run.venue), quarantine, tls, silent_s)
    return PolledSource(feed.name, cast(PolledVenue, run.venue), quarantine, tls, silent_s)


def _venue_feed(feed: VenueFeed | SessionFeed) -> VenueFeed:
    return feed.venue if isinstance(feed, SessionFeed) else feed
