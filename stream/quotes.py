"""Judge quotes, and let the good ones become the newest prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from stream.messages import PRICE_LIMIT

REASONS = (
    "",
    "unknown_instrument",
    "no_price",
    "not_finite",
    "not_positive",
    "crossed",
    "future",
    "too_large",
    "cash_has_no_quote",
)
UNKNOWN, ABSENT, NOT_FINITE, NOT_POSITIVE, CROSSED, FUTURE, TOO_LARGE, CASH_QUOTE = range(1, 9)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Say why the quotes at `index` of a batch were refused."""

    reason: str
    index: npt.NDArray[np.int64]


def refusals(codes: npt.NDArray[np.uint8]) -> list[Refusal]:
    """Return what was refused of a batch, by reason; `codes` is 0 where a quote was good."""
    present = np.unique(codes[codes > 0]).tolist()
    return [Refusal(REASONS[code], np.flatnonzero(codes == code)) for code in present]


@njit(cache=True)
def _judge(bid: float, ask: float, last: float) -> tuple[int, float]:
    """Return (0, mark) of a quote: last where present, else the middle; or (reason, 0)."""
    if not (bid != bid or ask != ask) and bid > ask:
        return CROSSED, 0.0
    mark = last if last == last else 0.5 * (bid + ask)
    if mark != mark:
        return ABSENT, 0.0
    if np.isinf(mark) or np.isinf(bid) or np.isinf(ask):
        return NOT_FINITE, 0.0
    if mark <= 0.0 or bid <= 0.0 or ask <= 0.0:  # a comparison with NaN is false: absent is no fault
        return NOT_POSITIVE, 0.0
    if mark >= PRICE_LIMIT:
        return TOO_LARGE, 0.0
    return 0, mark


@njit(cache=True)
def apply_quotes(
    index_of: Any,
    instrument: Any,
    bid: Any,
    ask: Any,
    last: Any,
    event_ns: Any,
    limit_ns: int,
    cash: Any,
    mark: Any,
    mark_ns: Any,
    dirty: Any,
    codes: Any,
    source: int,
    mark_source: Any,
) -> tuple[int, int]:
    """Take the newest good quote of each instrument into `mark`; return how many were refused, and the newest event.

    The columns are those of a batch, `codes` receives the reason of each refusal. Of equal event times the later
    quote of the batch counts; one from after `limit_ns` is from the future.
    """
    refused = 0
    newest = 0
    for row in range(len(instrument)):
        identity = instrument[row]
        index = index_of[identity] if identity < len(index_of) else -1
        code, price = _judge(bid[row], ask[row], last[row])
        if index < 0:
            code = UNKNOWN
        elif cash[index]:
            code = CASH_QUOTE
        elif code == 0 and event_ns[row] > limit_ns:
            code = FUTURE
        if code:
            codes[row] = code
            refused += 1
        elif event_ns[row] >= mark_ns[index]:
            mark[index] = price
            mark_ns[index] = event_ns[row]
            mark_source[index] = source
            dirty[index] = 1
            newest = max(newest, event_ns[row])
    return refused, newest
