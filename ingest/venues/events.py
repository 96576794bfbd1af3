"""Name what a venue can say: quotes, trades, and what tells whether they can be trusted.

Prices and sizes are in the venue's own terms, under the venue's own symbol; `event_ns` is the venue's clock in
nanoseconds since the epoch, 0 where it does not say. A number that is absent is NaN, which JSON shows as null.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec


class Quote(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="quote"):
    """Say what is bid and asked at the top of the book."""

    symbol: str
    bid: float
    ask: float
    bid_size: float = math.nan
    ask_size: float = math.nan
    event_ns: int = 0


class Trade(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="trade"):
    """Say what was dealt; of a rate or a level that nobody deals in (ECB, an index), what was fixed."""

    symbol: str
    price: float
    size: float = math.nan
    event_ns: int = 0


class Heartbeat(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="heartbeat"):
    """Say that the connection lives, and the venue's time where it tells it."""

    event_ns: int = 0


class Snapshot(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="snapshot"):
    """Say that from here on the symbol is whole: it begins, or a gap has been mended."""

    symbol: str


class Gap(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="gap"):
    """Say that records are missing: of a symbol, or of the whole connection where that is None.

    `broken` says that what follows cannot be trusted before a `Snapshot`, as of a book whose changes are missing. Where
    each record stands for itself, as the newest trade does, it is False and the gap is only counted.
    """

    symbol: str | None
    detail: str
    broken: bool = True


class Refused(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="refused"):
    """Say that a record, or one part of it, cannot be used; `reason` is a stable word, `detail` is for people."""

    reason: str
    detail: str
    symbol: str | None = None


class Notice(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="notice"):
    """Say what needs no answer: a subscription confirmed, a session accepted, a record of a kind that is not used."""

    text: str


class Complaint(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="complaint"):
    """Say that the venue refuses something; `lasting` where trying again is of no use, as with a wrong key.

    The text is the venue's own; it never holds a secret of ours.
    """

    text: str
    lasting: bool = False


Event: TypeAlias = Quote | Trade | Heartbeat | Snapshot | Gap | Refused | Notice | Complaint
