import math
import time

import numpy as np
import pytest
from fakes_feeds import instrument
from fakes_market import Letters

from ingest.market.board import Board
from ingest.market.clock_offset import ClockOffset
from ingest.market.feed_run import FeedRun
from ingest.market.hours import OpenHours
from ingest.market.outliers import Reference
from ingest.market.pump import FeedState, Intake
from ingest.market.quarantine import Quarantine
from ingest.market.symbols import Mapped, SymbolMap
from ingest.market.tops import Tops
from ingest.market.venue_feed import create_venue_feed
from ingest.venues.events import Quote

S = 1_000_000_000
T0 = 1_800_000_000 * S


class FakeQuotes:
    """A venue's source of which the test holds everything in its hand."""

    def __init__(self, symbols: SymbolMap) -> None:
        self.name = "coinbase"
        self.offset = ClockOffset()
        self.tops = Tops(self.name, self.offset)
        self.tops.remap(symbols, T0)
        self.trouble = ""
        self.connected = True
        self.losses = 3

    def batches(self):
        raise NotImplementedError("nothing is read of it here")

    def remap(self, symbols: SymbolMap, hours: OpenHours) -> None:
        self.tops.remap(symbols, T0)


@pytest.fixture
def board() -> Board:
    board = Board(["coinbase"], T0)
    board.follow([Reference(1, "crypto", math.nan), Reference(2, "crypto", math.nan)], T0)
    return board


@pytest.fixture
def run(board: Board) -> FeedRun:
    symbols = SymbolMap(
        {"BTC-USD": Mapped(instrument(1, "BTC/USD"), priority=4), "ETH-USD": Mapped(instrument(2, "ETH/USD"))},
        {"XRP-USD": "no instrument"},
    )
    state = FeedState("coinbase")
    intake = Intake(board, 0, state, Quarantine("coinbase", Letters().refuse))
    run = FeedRun(create_venue_feed("coinbase", {}), intake, quotes=FakeQuotes(symbols))
    run.follow(board, symbols, OpenHours())
    return run


def hear(run: FeedRun, board: Board, symbol: str, at_ns: int, ahead_ns: int = 0) -> None:
    tops = run.quotes.tops
    tops.apply([Quote(symbol, 9.0, 11.0, event_ns=at_ns + ahead_ns)], at_ns, ("BTC-USD", "ETH-USD"))
    batch = tops.take(at_ns)
    if batch is not None:
        run.intake.state.take(board.take(0, batch, run.intake.quarantine)[0], at_ns)


def test_a_feed_says_who_is_live_and_who_is_not(run: FeedRun, board: Board):
    nobody = "0 of 2 instruments live, not live: BTC/USD RESYNC, ETH/USD RESYNC"
    assert run.describe(0, T0) == (False, nobody)
    hear(run, board, "BTC-USD", T0)
    ok, said = run.describe(1, T0 + S)
    assert ok
    assert said.startswith("1 of 2 instruments live, ")
    assert said.endswith("newest 1.0 s ago, not live: ETH/USD RESYNC")


def test_trouble_is_said_first(run: FeedRun, board: Board):
    hear(run, board, "BTC-USD", T0)
    run.quotes.trouble = "connection refused"
    assert run.describe(1, T0) == (False, "connection refused; 1 of 2 instruments live")


def test_a_clock_that_is_ahead_is_said_and_not_fatal(run: FeedRun, board: Board):
    for second in range(10):
        hear(run, board, "BTC-USD", T0 + second * S, 7 * S)
    ok, said = run.describe(1, T0 + 10 * S)
    assert ok
    assert "its clock is 7.0 s ahead of ours" in said


def test_a_report_counts_and_names_those_in_trouble_first(run: FeedRun, board: Board):
    hear(run, board, "BTC-USD", T0)
    report = run.report(board, (True, "well"), time.time_ns())
    assert (report.kind, report.quotes, report.counted, report.reconnects) == ("coinbase", 1, 1, 3)
    assert report.states == {"LIVE": 1, "RESYNC": 1}
    assert report.refused == {"XRP-USD": "no instrument"}
    assert [(one.symbol, one.status, one.counts) for one in report.instruments] == [
        ("ETH/USD", "RESYNC", False),
        ("BTC/USD", "LIVE", True),
    ]


def test_the_banks_rank_comes_before_the_order_of_the_feeds(run: FeedRun, board: Board):
    assert board.selection._rank[0, 1] == 4.0
    assert board.selection._rank[0, 2] > 1000.0


def test_the_board_hears_who_is_live(run: FeedRun, board: Board):
    hear(run, board, "BTC-USD", T0)
    run.quotes.tops.reset(("BTC-USD",), T0 + S)
    run.look(board, T0 + S)
    assert not np.any(board.selection._live)
