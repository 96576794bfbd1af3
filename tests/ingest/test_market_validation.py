import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.market.validation import FUTURE_TOLERANCE_NS, REASONS, check_quotes, count_reasons
from stream.messages import QuoteBatch
from stream.prices import InstrumentSpec, PriceTable

NAN, INF = float("nan"), float("inf")
NOW = 1_800_000_000_000_000_000
KNOWN = np.array([False, True, True, True])


def batch_of(*quotes: tuple[int, float, float, float, int]) -> QuoteBatch:
    columns = list(zip(*quotes, strict=True))
    prices = [np.array(column, np.float64) for column in columns[1:4]]
    return QuoteBatch(
        "test", NOW, np.array(columns[0], np.uint32), *prices, np.full(len(quotes), NAN), np.array(columns[4], np.int64)
    )


def reasons_of(batch: QuoteBatch) -> list[str]:
    return [REASONS[code] for code in check_quotes(batch, KNOWN)[1]]


def test_good_quotes_pass():
    batch = batch_of(
        (1, 10.0, 10.1, NAN, NOW), (2, NAN, NAN, 10.0, NOW), (3, 10.0, 10.0, 10.0, NOW + FUTURE_TOLERANCE_NS)
    )
    good, codes = check_quotes(batch, KNOWN)
    assert good.all()
    assert count_reasons(codes) == {}


def test_each_fault_has_its_reason():
    faults = {
        "unknown_instrument": [(0, 1.0, 2.0, 1.5, NOW), (4, 1.0, 2.0, 1.5, NOW), (4_000_000_000, 1.0, 2.0, 1.5, NOW)],
        "no_price": [(1, NAN, NAN, NAN, NOW), (1, 10.0, NAN, NAN, NOW)],
        "not_positive": [(1, 0.0, 1.0, NAN, NOW), (1, NAN, NAN, -1.0, NOW), (1, -1.0, NAN, NAN, NOW)],
        "not_finite": [(1, NAN, NAN, INF, NOW), (1, 1.0, INF, 1.0, NOW), (1, -INF, INF, NAN, NOW)],
        "crossed": [(1, 10.1, 10.0, 10.05, NOW)],
        "too_large": [(1, NAN, NAN, 1e12, NOW)],
        "future": [(1, 10.0, 10.1, NAN, NOW + FUTURE_TOLERANCE_NS + 1)],
    }
    for reason, quotes in faults.items():
        batch = batch_of(*quotes)
        assert reasons_of(batch) == [reason] * len(quotes)
        assert count_reasons(check_quotes(batch, KNOWN)[1]) == {reason: len(quotes)}


PRICES = st.sampled_from([NAN, INF, -INF, -1.0, 0.0, 1.0, 10.0, 10.1, 1e300])
QUOTES = st.tuples(st.integers(0, 5), PRICES, PRICES, PRICES, st.sampled_from([NOW, NOW + 2 * FUTURE_TOLERANCE_NS]))


@settings(deadline=None)  # the first call compiles
@given(st.lists(QUOTES, min_size=1, max_size=20))
def test_the_stream_refuses_exactly_what_is_refused_here(quotes: list[tuple[int, float, float, float, int]]):
    specs = [
        InstrumentSpec(number, f"S{number}", "", "equity", "", "US", "USD", None, 1.0, 9.0, 0) for number in (1, 2, 3)
    ]
    batch = batch_of(*quotes)
    refused = PriceTable({"USD": 2}, specs).apply(batch, NOW)
    theirs = np.ones(len(batch), bool)
    for refusal in refused:
        theirs[refusal.index] = False
    assert check_quotes(batch, KNOWN)[0].tolist() == theirs.tolist()
