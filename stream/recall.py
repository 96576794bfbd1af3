"""Recall the newest prices from what workers before us left in Redis.

A worker reads only the end of the quotes' topic when it starts. Of an instrument that trades seldom the newest quote
may stand further back: without this, its portfolios would jump to the prior close until it trades again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from db.live import StoredQuote
from stream.messages import QuoteBatch

SOURCE = "redis"
RECALLED_NS = 24 * 3600 * 10**9  # what is older is in the prior close


def parse_stored_quotes(stored: Iterable[bytes], numbers: Mapping[str, int], now_ns: int) -> QuoteBatch:
    """Return the quotes of the last day as a batch; `numbers` are the instruments' ids by symbol."""
    quotes = (msgspec.json.decode(one, type=StoredQuote) for one in stored)
    found = [one for one in quotes if one.symbol in numbers and now_ns - one.event_ns < RECALLED_NS]
    absent = np.full(len(found), np.nan)
    return QuoteBatch(
        SOURCE,
        now_ns,
        np.array([numbers[one.symbol] for one in found], np.uint32),
        bid=absent,
        ask=absent,
        last=np.array([one.price for one in found], np.float64),
        volume=absent,
        event_ns=np.array([one.event_ns for one in found], np.int64),
    )
