"""Judge quotes: pure checks of columns, with the reasons in the words that the stream uses too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stream.messages import FUTURE_TOLERANCE_NS, PRICE_LIMIT, QuoteBatch

REASONS = ("", "unknown_instrument", "no_price", "not_finite", "not_positive", "crossed", "future", "too_large")
GOOD, UNKNOWN, ABSENT, NOT_FINITE, NOT_POSITIVE, CROSSED, FUTURE, TOO_LARGE = range(8)

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]


def check_quotes(batch: QuoteBatch, known: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], Codes]:
    """Return which quotes are good, and the reason of each as an index into `REASONS` (0 where good).

    `known[id]` says whether an instrument id is one of ours; ids beyond its end are not. The future
    begins five seconds after the batch was received: clocks of venues are seldom worse.
    """
    codes = judge_prices(batch.bid, batch.ask, batch.last)
    late = np.int64(batch.received_ns + FUTURE_TOLERANCE_NS)
    codes[(codes == GOOD) & (batch.event_ns > late)] = FUTURE
    inside = batch.instrument < len(known)
    codes[~inside] = UNKNOWN
    codes[inside] = np.where(known[batch.instrument[inside]], codes[inside], UNKNOWN)
    return codes == GOOD, codes


def judge_prices(bid: Floats, ask: Floats, last: Floats) -> Codes:
    """Return the reason of each row's prices as an index into `REASONS`; NaN is an absent price.

    A row without a mark (no last, and not both sides) is `no_price`: nothing could be valued with it.
    """
    codes = np.zeros(len(bid), np.uint8)
    with np.errstate(invalid="ignore"):  # infinities of both signs: refused below
        mark = np.where(np.isnan(last), 0.5 * bid + 0.5 * ask, last)  # NaN where a side is absent
    codes[(bid <= 0.0) | (ask <= 0.0) | (last <= 0.0)] = NOT_POSITIVE
    codes[np.isinf(bid) | np.isinf(ask) | np.isinf(last)] = NOT_FINITE
    codes[np.isnan(mark) & (codes == GOOD)] = ABSENT
    codes[(mark >= PRICE_LIMIT) & (codes == GOOD)] = TOO_LARGE
    codes[bid > ask] = CROSSED
    return codes


def count_reasons(codes: Codes) -> dict[str, int]:
    """Return how many quotes were refused, by reason."""
    counts = np.bincount(codes, minlength=len(REASONS))
    return {reason: int(count) for reason, count in zip(REASONS, counts, strict=True) if reason and count}
