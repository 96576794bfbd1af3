import math
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.splits import Split, Splits
from ingest.market.outliers import BANDS, OLD_NS, Outliers, Reference
from stream.messages import QuoteBatch

S = 1_000_000_000
T0 = 1_800_000_000 * S
DAY = date(2027, 1, 15)


def outliers_of(close: float = math.nan, asset_class: str = "equity", sources: int = 2, *splits: Split) -> Outliers:
    outliers = Outliers(sources)
    outliers.follow([Reference(1, asset_class, close), Reference(2, "fx", 1.1)], T0)
    outliers.splits = Splits(splits)
    return outliers


def told(*prices: float, at_ns: int = T0, number: int = 1) -> QuoteBatch:
    last = np.array(prices)
    nothing = np.full(len(last), np.nan)
    ids = np.full(len(last), number, np.uint32)
    return QuoteBatch("test", at_ns, ids, nothing, nothing, last, nothing, np.full(len(last), at_ns, np.int64))


def far(outliers: Outliers, *prices: float, at_ns: int = T0, source: int = 0) -> list[bool]:
    return outliers.judge(source, told(*prices, at_ns=at_ns)).tolist()


def test_a_price_far_from_the_last_is_put_away_and_the_others_go_on():
    outliers = outliers_of()
    assert far(outliers, 100.0, 101.0, 1.01, 102.0) == [False, False, True, False]
    assert far(outliers, 103.0, at_ns=T0 + 1) == [False]


@pytest.mark.parametrize(("asset_class", "band"), BANDS.items())
def test_the_band_is_that_of_the_class(asset_class: str, band: float):
    outliers = outliers_of(asset_class=asset_class)
    far(outliers, 100.0)
    assert far(outliers, 100.0 * (1 + 0.99 * band)) == [False]
    outliers = outliers_of(asset_class=asset_class)
    far(outliers, 100.0)
    assert far(outliers, 100.0 * (1 - 1.01 * band)) == [True]


def test_a_first_price_is_compared_with_the_close_more_generously_and_with_nothing_where_there_is_none():
    assert far(outliers_of(close=100.0), 139.0) == [False]
    assert far(outliers_of(close=100.0), 141.0) == [True]
    assert far(outliers_of(), 1e9) == [False]


def test_a_new_level_is_believed_when_it_is_told_three_times_over_two_seconds():
    outliers = outliers_of()
    far(outliers, 100.0)
    assert far(outliers, 50.0, 50.1, 49.9, at_ns=T0 + S) == [True, True, True]
    assert far(outliers, 50.2, at_ns=T0 + 3 * S) == [False]
    assert far(outliers, 100.0, at_ns=T0 + 3 * S) == [True]


def test_a_level_that_hops_is_not_confirmed():
    outliers = outliers_of()
    far(outliers, 100.0)
    hops = [far(outliers, 50.0 * 1.05**step, at_ns=T0 + step * S) for step in range(1, 8)]
    assert hops == [[True]] * 7


def test_a_good_price_between_forgets_the_doubtful_level():
    outliers = outliers_of()
    far(outliers, 100.0)
    for step in range(1, 20):
        assert far(outliers, 50.0, at_ns=T0 + step * S) == [True]
        assert far(outliers, 100.0, at_ns=T0 + step * S) == [False]


def test_another_feed_that_tells_the_same_confirms_at_once():
    outliers = outliers_of()
    far(outliers, 100.0, source=0)
    far(outliers, 100.0, source=1)
    assert far(outliers, 50.0, at_ns=T0 + S, source=0) == [True]
    assert far(outliers, 50.2, at_ns=T0 + S + 1, source=1) == [False]
    assert far(outliers, 50.1, at_ns=T0 + S + 2, source=0) == [False]


def test_a_feeds_first_price_is_compared_with_what_the_others_tell():
    outliers = outliers_of(close=500.0)
    far(outliers, 510.0, source=0)
    assert far(outliers, 700.0, at_ns=T0 + S, source=1) == [True]
    assert far(outliers, 520.0, at_ns=T0 + S, source=1) == [False]


def test_after_a_quarter_of_an_hour_the_last_price_binds_less():
    outliers = outliers_of()
    far(outliers, 100.0)
    assert far(outliers, 130.0, at_ns=T0 + OLD_NS) == [False]
    outliers = outliers_of()
    far(outliers, 100.0)
    assert far(outliers, 1000.0, at_ns=T0 + OLD_NS) == [True]
    assert far(outliers, 1000.0, at_ns=T0 + 2 * OLD_NS) == [False]


def test_a_split_moves_what_is_compared_with_when_it_takes_effect():
    outliers = outliers_of(math.nan, "equity", 1, Split(1, DAY, T0 + 10 * S, Decimal(4)))
    assert far(outliers, 400.0, at_ns=T0 + 9 * S) == [False]
    assert far(outliers, 400.0, at_ns=T0 + 10 * S) == [True]
    assert far(outliers, 101.0, at_ns=T0 + 10 * S) == [False]


def test_a_split_before_the_start_is_in_the_closes_already():
    outliers = outliers_of(100.0, "equity", 1, Split(1, DAY, T0 - S, Decimal(4)))
    assert far(outliers, 101.0) == [False]


@given(st.lists(st.tuples(st.integers(1, 2), st.floats(0.5, 2.0), st.integers(0, 3 * S)), max_size=40))
def test_a_price_that_is_believed_is_near_the_last_one_or_confirmed(steps: list[tuple[int, float, int]]):
    """Whatever is told, a single price far from what was believed before is never believed."""
    outliers, now, good, heard = outliers_of(), T0, {1: math.nan, 2: 1.1}, {1: 0, 2: 0}
    for number, factor, pause in steps:
        now += pause
        price = (100.0 if number == 1 else 1.1) * factor
        refused = outliers.judge(0, told(price, at_ns=now, number=number))[0]
        band = BANDS["equity" if number == 1 else "fx"] * 2
        near = math.isnan(good[number]) or abs(price - good[number]) <= band * good[number]
        heard[number] = 0 if not refused else heard[number] + 1
        if not refused:
            assert near or heard[number] == 0
            good[number] = price
        elif near:
            assert abs(price - good[number]) > band / 2 * good[number] * (1 - 1e-9)
