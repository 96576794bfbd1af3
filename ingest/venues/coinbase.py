"""Be Coinbase: live prices of currencies such as bitcoin in dollars, without a key.

The venue has two public protocols, and both are read here:

- *Exchange* (`wss://ws-feed.exchange.coinbase.com`), which is the default. Its channels `level2`, `level3` and `full`
  need a key since August 2023; `level2_batch`, the same changes of the book gathered over 50 ms, needs none. So the
  default is `level2_batch`, from which the top of the book is known at every moment and not only when somebody trades;
  `matches`, which tells each trade under a number without holes; and `heartbeat`, once a second for each product.
- *Advanced Trade* (`wss://advanced-trade-ws.coinbase.com`, `api=advanced`), where all records of a connection are
  counted, so that a missing one is noticed whatever it told. Its `market_trades` come every quarter of a second.

What may be concluded, by the venue's documents and no further: on Exchange the `sequence` of tickers and matches counts
the product's whole order flow, of which a channel shows a part, so its holes say nothing; trades in `matches` have
contiguous numbers, and a heartbeat names the newest. The book's changes carry no number; `level2` promises delivery, so
what shows a loss is a book that is crossed, a change older than the one before, or a record that cannot be read. Such a
book is forgotten and subscribed to anew, at once and then less and less often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingest.venues import coinbase_advanced, coinbase_exchange
from ingest.venues.coinbase_advanced import AdvancedReader
from ingest.venues.coinbase_exchange import ExchangeReader
from ingest.venues.coinbase_products import Products
from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Event
from ingest.venues.options import check_address, check_options
from ingest.venues.venue import Fetch, Keys, Limits, Listed, Send, Wish

ADDRESSES = {"exchange": "wss://ws-feed.exchange.coinbase.com", "advanced": "wss://advanced-trade-ws.coinbase.com"}
CHANNELS = {
    "exchange": ("level2_batch", "matches", "ticker", "ticker_batch"),
    "advanced": ("level2", "market_trades", "ticker", "ticker_batch"),
}
BOOK_CHANNELS = (coinbase_exchange.BOOK_CHANNEL, coinbase_advanced.BOOK_CHANNEL)
NEED_A_KEY = frozenset({"level2", "level3", "full", "user"})  # on Exchange
# A snapshot of the deepest books is some 4 MB; a heartbeat comes every second. Of us, Exchange takes 100 records a
# second, Advanced Trade 8 where nobody signs in.
LIMITS = {
    api: Limits(symbols=50, frame_bytes=16 << 20, sends_a_second=rate, connects_a_minute=30, silent_after_s=10.0)
    for api, rate in (("exchange", 20.0), ("advanced", 4.0))
}


def create(options: Mapping[str, str], keys: Keys) -> Coinbase:  # noqa: ARG001 - it needs no key
    """Make the venue; options are `api` (exchange, advanced), `channels` (separated by commas) and `url`.

    Raises `VenueUnclear` where an option cannot be used.
    """
    check_options("coinbase", options, ("api", "channels", "url"))
    api = options.get("api", "exchange")
    if api not in ADDRESSES:
        raise VenueUnclear(f"coinbase has no api {api!r}; it is exchange or advanced")
    channels = tuple(filter(None, options.get("channels", ",".join(CHANNELS[api][:2])).split(",")))
    for channel in channels:
        if channel not in CHANNELS[api]:
            why = "needs a key there, take level2_batch" if channel in NEED_A_KEY else "is not one that is read"
            raise VenueUnclear(
                f"coinbase: the channel {channel!r} {why}; of {api} there are {', '.join(CHANNELS[api])}"
            )
    if not channels:
        raise VenueUnclear("coinbase: channels names none")
    return Coinbase(api, channels, check_address("coinbase", options.get("url", ADDRESSES[api]), ("ws", "wss")))


class Coinbase:
    """Describe one of Coinbase's protocols."""

    name = "coinbase"

    def __init__(self, api: str, channels: tuple[str, ...], address: str) -> None:
        self.limits = LIMITS[api]
        self._api = api
        self._channels = channels
        self._address = address

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return `BTC-USD` for our `BTC/USD`: the class crypto, in the currency after the stroke."""
        base, _, quoted = instrument.symbol.partition("/")
        if instrument.asset_class != "crypto" or not base or quoted != instrument.currency:
            return None
        return f"{base}-{quoted}"

    def url(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - one address for all symbols
        """Return the address of the protocol."""
        return self._address

    def headers(self) -> Mapping[str, str]:
        """Return nothing: nobody signs in."""
        return {}

    def greeting(self, symbols: Sequence[str]) -> Sequence[Send]:
        """Return the subscriptions; without one within five seconds the venue hangs up."""
        return _reader(self._api, Products()).subscribe(symbols, self._channels)

    def decoder(self, symbols: Sequence[str]) -> CoinbaseDecoder:
        """Return a decoder for a connection that begins now."""
        return CoinbaseDecoder(self._api, symbols if set(BOOK_CHANNELS) & set(self._channels) else ())


class CoinbaseDecoder:
    """Read one connection, in either protocol: a recorded session does not say which it is of."""

    def __init__(self, api: str, books: Sequence[str]) -> None:
        self._products = Products()
        self._reader = _reader(api, self._products)
        self._expected = tuple(books)

    def decode(self, frame: str | bytes, received_ns: int) -> Sequence[Event]:
        """Return what a frame says, in its order."""
        if self._expected:
            self._products.expect(self._expected, received_ns)
            self._expected = ()
        told = self._reader.read(frame, received_ns)
        if told is None:
            other = "exchange" if isinstance(self._reader, AdvancedReader) else "advanced"
            self._reader = _reader(other, self._products)
            told = self._reader.read(frame, received_ns) or ()
        if self._products.waiting:
            self._products.remind(received_ns)
        return told

    def fetched(self, wish: Fetch, body: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - it asks for none
        """Return nothing: snapshots come on the connection."""
        return ()

    def wishes(self) -> Sequence[Wish]:
        """Return subscriptions anew, of books that were lost."""
        asked = self._products.asked()
        return [send for symbol in asked for send in self._reader.resubscribe(symbol)] if asked else ()


def _reader(api: str, products: Products) -> ExchangeReader | AdvancedReader:
    return AdvancedReader(products) if api == "advanced" else ExchangeReader(products)
