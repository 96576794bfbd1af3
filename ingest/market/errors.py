"""Say what can go wrong with a market feed.

MarketError
├── FeedUnclear           stop: the name of a feed, or its mapping of columns, cannot be understood
├── RecordingUnreadable   stop: a recorded file is missing, truncated or not what its mapping says
└── NothingToQuote        retry: the database knows no instrument that has a price to start from
"""

from __future__ import annotations


class MarketError(Exception):
    """Stand above all errors of the market feeds."""


class FeedUnclear(MarketError):
    """Say that the name of a feed cannot be understood; the message says what is expected."""


class RecordingUnreadable(MarketError):
    """Say that a recorded file cannot be read on."""


class NothingToQuote(MarketError):
    """Say that there is no instrument to quote yet: the bank is not seeded, or has no closes."""
