"""What a window of a floor costs, against building the whole floor: 10,000 portfolios, 50 rows of them.

They print figures and never fail on a time: `make bench-ratios`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import numpy as np
import pytest
from floors import Desk
from pytest_benchmark.fixture import BenchmarkFixture

from api.live.floor import FloorBook, FloorPortfolio
from api.live.floor_view import FloorView
from api.live.protocol import Condition, Order, StreamName, View
from api.live.state import StreamState
from db.live import Totals, TotalsLayout

PORTFOLIOS, ROWS = 10_000, 50
FLOOR = StreamName("floor", str(UUID(int=1)))
BY_MOVE = Order("abs_day_pnl_pct", descending=True)
VIEWS = {
    "by client": View(range=(4_000, ROWS)),
    "by what moved": View(sort=(BY_MOVE,), range=(0, ROWS)),
    "by equity, far down": View(sort=(Order("equity_reference"),), range=(7_000, ROWS)),
    "by currency and gain": View(sort=(Order("base_currency"), Order("day_pnl")), range=(5_000, ROWS)),
    "filtered": View(
        sort=(BY_MOVE,),
        filter=(Condition("client", "contains", "7"), Condition("equity_reference", ">", 1e6)),
        range=(0, ROWS),
    ),
    "by what moved, at rest": View(sort=(BY_MOVE,), range=(0, ROWS), reorder_s=3),
}


class Market:
    """Move every portfolio of a floor, at each turn."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(4)
        currencies = self.random.choice(("USD", "EUR", "CHF", "AED"), PORTFOLIOS).tolist()
        portfolios = [
            FloorPortfolio(str(uuid4()), f"Portfolio {index % 3}", f"Client {index // 3}", currency, 2)
            for index, currency in enumerate(currencies)
        ]
        self.book, self.seq = FloorBook(), 0
        self.book.take_layout("0", TotalsLayout(1, 1, tuple(one.portfolio_id for one in portfolios)))
        self.equity = self.random.integers(10**6, 10**9, PORTFOLIOS)
        self.desk = Desk(self.book, portfolios)
        self.turn()

    def turn(self) -> None:
        self.seq += 1
        day = self.random.integers(-(10**6), 10**6, PORTFOLIOS)
        columns = (self.equity, day, 100 * day / self.equity, self.equity, day, np.zeros(PORTFOLIOS))
        newer = Totals(1, self.seq, self.seq, self.seq, 1, "USD", *(column.tobytes() for column in columns))
        assert self.book.take_totals("0", newer)
        self.desk.turn()


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


def median_s(prepare: Callable[[], None], act: Callable[[], object], rounds: int = 15) -> float:
    spent = []
    for _ in range(rounds):
        prepare()
        began = time.perf_counter()
        act()
        spent.append(time.perf_counter() - began)
    return sorted(spent)[rounds // 2]


@pytest.mark.parametrize("which", VIEWS)
async def test_a_window_against_the_whole_floor(benchmark: BenchmarkFixture, market: Market, which: str) -> None:
    view, whole, seq = (
        FloorView(FLOOR, VIEWS[which], market.desk),
        StreamState(str(FLOOR), "portfolio_id"),
        itertools.count(1),
    )

    def window() -> None:
        position = view.state.position
        view.refresh()
        view.state.message_after(position, 1)

    def everything() -> None:
        figures, position = market.desk.figures(), whole.position
        assert figures is not None
        whole.apply(figures.document(1, next(seq)))
        whole.message_after(position, 1)

    benchmark.pedantic(window, setup=market.turn, rounds=60, warmup_rounds=5)
    own, all_of_it = median_s(market.turn, window), median_s(market.turn, everything)
    benchmark.extra_info["whole floor / window"] = round(all_of_it / own, 1)
    print(
        f"\n{which}: a refresh of {ROWS} rows {own * 1e3:.2f} ms, of all {PORTFOLIOS} {all_of_it * 1e3:.1f} ms", end=""
    )
    print(f" ({all_of_it / own:.0f} times)")
