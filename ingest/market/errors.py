"""Say what can go wrong with a market feed.

MarketError
├── FeedUnclear           stop: the name of a feed, or its mapping of columns, cannot be understood
├── RecordingUnreadable   stop: a recorded file is missing, truncated or not what its mapping says
├── NothingToQuote        retry: the database knows no instrument that has a price to start from
└── VenueLost             retry: a venue does not answer, broke off, or refuses us; it says when to try again
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


class VenueLost(MarketError):
    """Say in a few words why a venue does not serve us now.

    `pause_s` is what it asked us to wait, None where it did not. `lasting` says that trying again soon is of no use, as
    with a wrong key. The message never holds a key or an address with one.
    """

    def __init__(self, reason: str, pause_s: float | None = None, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        self.lasting = lasting
