"""Hold the newest quotes that somebody follows: the document of `quote:<symbol>`, and rates for those who convert."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from api.catalogue import Catalogue
from api.live.state import Document
from api.live.stream import LiveStream
from db.live import LiveStore, StoredQuote, decode_quotes

if TYPE_CHECKING:
    from api.live.protocol import StreamName

PRICE_DIGITS = 8  # of a price, as the tables hold it; a difference of two has no more
TOTALS = ("symbol", "name", "currency", "price", "prior_close", "change", "change_pct", "price_ns", "source")


class QuoteBoard:
    """Hold the newest quote of each symbol that is wanted."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self._quotes: dict[str, StoredQuote] = {}

    def get(self, symbol: str) -> StoredQuote | None:
        """Return the newest quote known."""
        return self._quotes.get(symbol)

    def take(self, quotes: Iterable[StoredQuote]) -> list[str]:
        """Take quotes; returns the symbols whose quote is a newer one, or the same one with another prior close."""
        newer = []
        for one in quotes:
            held = self._quotes.get(one.symbol)
            if held is None or (one.event_ns >= held.event_ns and one != held):
                self._quotes[one.symbol] = one
                newer.append(one.symbol)
        return newer

    async def read(self, symbols: Collection[str]) -> list[str]:
        """Read what is stored of these symbols; returns those that have a newer quote. Raises what redis-py raises."""
        return self.take(await self._store.quotes_of(symbols))


class QuoteStream(LiveStream):
    """Hold `quote:<symbol>`; its epoch is this process's own, because it numbers the changes itself."""

    __slots__ = ("_board", "_catalogue", "_epoch", "_seq", "_shown", "title")

    def __init__(self, name: StreamName, title: str, catalogue: Catalogue, board: QuoteBoard) -> None:
        super().__init__(name, "symbol")
        self.title = title
        self._catalogue = catalogue
        self._board = board
        self._epoch = time.time_ns() // 1000
        self._seq = 0
        self._shown: StoredQuote | None = None

    def refresh(self) -> None:
        """Bring the state up to the newest quote."""
        quote = self._board.get(self.name.key)
        if quote is None or quote is self._shown:
            return
        self._shown = quote
        self._seq += 1
        self.state.apply(Document(self._epoch, self._seq, quote.event_ns, self._totals(quote), (), {}))

    def _totals(self, quote: StoredQuote) -> Mapping[str, object]:
        instrument = self._catalogue.instruments.get(quote.symbol)
        change = round(quote.price - quote.prior_close, PRICE_DIGITS) if quote.prior_close else 0.0
        return {
            "symbol": quote.symbol,
            "name": self.title,
            "currency": None if instrument is None else instrument.currency,
            "price": quote.price,
            "prior_close": quote.prior_close,
            "change": change,
            "change_pct": 100.0 * change / quote.prior_close if quote.prior_close else 0.0,
            "price_ns": quote.event_ns,
            "source": quote.source,
        }


def read_quotes(data: bytes) -> list[StoredQuote]:
    """Decode what came on the channel of quotes; raises `ValueError`."""
    try:
        return decode_quotes(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not quotes: {error}") from error
