"""What Redis holds of prices: the newest quotes, and closes of what nobody has quoted yet."""

from __future__ import annotations

import msgspec
from books import create_prices, quotes

from db.live import StoredQuote
from stream.quote_publisher import CLOSE, STORE_EVERY_NS, QuotePublisher

NOW_NS = 1_795_000_000 * 10**9


class Kept:
    """Stand in for Redis."""

    def __init__(self) -> None:
        self.quotes: dict[str, StoredQuote] = {}
        self.written = 0

    async def write_quotes(self, found: dict[str, bytes]) -> None:
        self.written += len(found)
        self.quotes |= {symbol: msgspec.json.decode(one, type=StoredQuote) for symbol, one in found.items()}


async def test_a_rate_that_has_not_moved_yet_stands_at_its_close_until_it_does() -> None:
    prices, kept = create_prices(), Kept()
    publisher = QuotePublisher(prices, kept, speaks_for_all=True)  # type: ignore[arg-type]
    rate = next(spec for spec in prices.specs if spec.asset_class == "fx")
    prices.refresh(NOW_NS)
    await publisher.store(NOW_NS)
    stored = kept.quotes[rate.symbol]
    assert (stored.price, stored.event_ns, stored.source) == (rate.prior_close, 0, CLOSE)
    assert not any(spec.symbol in kept.quotes for spec in prices.specs if spec.asset_class == "cash")

    written = kept.written
    await publisher.store(NOW_NS + STORE_EVERY_NS)
    assert kept.written == written

    prices.apply(quotes((rate.id, rate.prior_close * 1.01), event_ns=NOW_NS), NOW_NS)
    prices.refresh(NOW_NS)
    await publisher.store(NOW_NS + 2 * STORE_EVERY_NS)
    assert kept.written == written + 1
    assert kept.quotes[rate.symbol].event_ns == NOW_NS
