"""Speak as venues do, of books that are known: Coinbase (both of its feeds), Binance, Alpaca and Finnhub."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fakes_books import Book, BookMarket, Change, Teller
from fakes_venues import Answer, Wire

DAY_S = 86_400


class CoinbaseTeller(Teller):
    """Coinbase on one connection: Exchange's records, or Advanced Trade's where its subscriptions have `channel`."""

    def __init__(self, market: CoinbaseMarket, wire: Wire) -> None:
        self._market = market
        self._wire = wire
        self._asked: dict[str, set[str]] = defaultdict(set)  # symbols by channel
        self._advanced = False
        self._number = 0
        self._beats = 0

    async def begin(self) -> None:
        """Say nothing: Coinbase waits for a subscription."""

    async def hear(self, text: str) -> None:
        """Subscribe, confirm, and tell the whole book to who asked for books; or go back on it."""
        said = json.loads(text)
        self._advanced = self._advanced or "channel" in said
        channels = [said["channel"]] if "channel" in said else said["channels"]
        async with self._market.order:
            for channel in channels:
                name = channel["name"] if isinstance(channel, dict) else channel
                symbols = (channel if isinstance(channel, dict) else said).get(
                    "product_ids", said.get("product_ids", [])
                )
                await self._ask(name, symbols, said["type"] == "subscribe")

    async def _ask(self, channel: str, symbols: list[str], wanted: bool) -> None:
        unknown = [symbol for symbol in symbols if symbol not in self._market.books]
        if unknown:
            reason = f"{unknown[0]} is not a valid product"
            await self._wire.say(json.dumps({"type": "error", "message": "Failed to subscribe", "reason": reason}))
            return
        asked = self._asked[channel]
        asked.update(symbols) if wanted else asked.difference_update(symbols)
        named = [{"name": name, "product_ids": sorted(found)} for name, found in self._asked.items()]
        confirmed = [{"subscriptions": {name: sorted(found) for name, found in self._asked.items()}}]
        await self._say("subscriptions", confirmed, {"type": "subscriptions", "channels": named})
        for symbol in symbols if wanted else ():
            book = self._market.books[symbol]
            if channel.startswith("level2") and not self._market.withholds:
                await self._snapshot(book)
            if channel == "matches" and book.trades:
                last = {
                    "trade_id": book.trades,
                    "price": f"{self._market.true_deals[symbol][-1]:.{book.digits}f}",
                    "size": "0.001",
                    "side": "buy",
                }
                record = {
                    "type": "last_match",
                    "product_id": symbol,
                    **last,
                    "sequence": book.number,
                    "time": self._market.now(),
                }
                await self._wire.say(json.dumps(record))

    async def _snapshot(self, book: Book) -> None:
        levels = [Change(side, *level) for side in ("bid", "ask") for level in book.levels(side)]
        event = {"type": "snapshot", "product_id": book.symbol, "updates": _updates(levels, self._market.now())}
        bids, asks = book.levels("bid"), book.levels("ask")
        await self._say("l2_data", [event], {"type": "snapshot", "product_id": book.symbol, "asks": asks, "bids": bids})

    async def changed(self, book: Book, changes: list[Change]) -> None:
        """Tell the changes of a book."""
        if not any(book.symbol in found for name, found in self._asked.items() if name.startswith("level2")):
            return
        listed = [["buy" if one.side == "bid" else "sell", one.price, one.size] for one in changes]
        event = {"type": "update", "product_id": book.symbol, "updates": _updates(changes, self._market.now())}
        record = {"type": "l2update", "product_id": book.symbol, "changes": listed, "time": self._market.now()}
        await self._say("l2_data", [event], record)

    async def traded(self, book: Book, side: str, price: int) -> None:
        """Tell a deal, and a ticker with the top of the book after it."""
        symbol, bid, ask = book.symbol, book.levels("bid")[0], book.levels("ask")[0]
        maker = "buy" if side == "bid" else "sell"
        trade = {
            "product_id": symbol,
            "trade_id": book.trades,
            "price": book.text(price),
            "size": "0.001",
            "side": maker,
        }
        if symbol in self._asked["matches"] or symbol in self._asked["market_trades"]:
            event = {"type": "update", "trades": [{**trade, "trade_id": str(book.trades), "time": self._market.now()}]}
            await self._say(
                "market_trades",
                [event],
                {"type": "match", **trade, "sequence": book.number, "time": self._market.now()},
            )
        if symbol in self._asked["ticker"]:
            top = {"best_bid": bid[0], "best_bid_size": bid[1], "best_ask": ask[0], "best_ask_size": ask[1]}
            tops = {"best_bid": bid[0], "best_bid_quantity": bid[1], "best_ask": ask[0], "best_ask_quantity": ask[1]}
            told = {"product_id": symbol, "price": book.text(price), "volume_24_h": "15328.1", **tops}
            record = {
                "type": "ticker",
                "sequence": book.number,
                **trade,
                "last_size": "0.001",
                **top,
                "time": self._market.now(),
            }
            del record["size"]
            await self._say("ticker", [{"type": "update", "tickers": [{"type": "ticker", **told}]}], record)

    async def heartbeat(self) -> None:
        """Tell the numbers of the newest deals to who asked for it."""
        self._beats += 1
        if self._advanced and "heartbeats" in self._asked:
            await self._say("heartbeats", [{"current_time": self._market.now(), "heartbeat_counter": self._beats}], {})
        for symbol in sorted(self._asked["heartbeat"]):
            book = self._market.books[symbol]
            told = {
                "sequence": book.number,
                "last_trade_id": book.trades,
                "product_id": symbol,
                "time": self._market.now(),
            }
            await self._wire.say(json.dumps({"type": "heartbeat", **told}))

    async def _say(self, channel: str, events: list[dict[str, Any]], record: dict[str, Any]) -> None:
        """Say it in the form of the feed that the connection speaks."""
        if self._advanced:
            stamp = {"channel": channel, "client_id": "", "timestamp": self._market.now(), "sequence_num": self._number}
            self._number += 1
            record = {**stamp, "events": events}
        await self._wire.say(json.dumps(record, separators=(",", ":")))


def _updates(changes: list[Change], now: str) -> list[dict[str, str]]:
    names = {"bid": "bid", "ask": "offer"}
    return [
        {"side": names[one.side], "event_time": now, "price_level": one.price, "new_quantity": one.size}
        for one in changes
    ]


class CoinbaseMarket(BookMarket):
    """Coinbase's books; its documents are daily candles."""

    def teller(self, wire: Wire, path: str) -> Teller:
        """Speak on a connection."""
        return CoinbaseTeller(self, wire)

    def document(self, path: str, headers: Any) -> Answer | None:
        """Answer with a hundred days of candles, the newest first."""
        found = re.match(r"/products/([^/]+)/candles", path)
        if found is None or found[1] not in self.books:
            return super().document(path, headers)
        today, price = int(time.time()) // DAY_S * DAY_S, sum(self.top(found[1])) / 2
        days = [
            [today - DAY_S * ago, price * 0.9, price * 1.1, price, price * (1 - ago / 1000), 12.5] for ago in range(100)
        ]
        return Answer(json.dumps(days).encode(), headers={"Content-Type": "application/json"})


class BinanceTeller(Teller):
    """Binance on one connection: the streams of its address, and those that were subscribed to later."""

    def __init__(self, market: BinanceMarket, wire: Wire, path: str) -> None:
        self._market = market
        self._wire = wire
        query = parse_qs(urlsplit(path).query)
        self._streams = set("/".join(query.get("streams", [])).split("/")) - {""}
        self._tops: dict[str, tuple[list[str], list[str]]] = {}

    async def begin(self) -> None:
        """Tell the top of every book; Binance tells it with its next change, which comes at once."""
        async with self._market.order:
            for book in self._market.books.values():
                await self._top(book)

    async def hear(self, text: str) -> None:
        """Subscribe, unsubscribe, or say that it was not understood."""
        said = json.loads(text)
        if said.get("method") not in {"SUBSCRIBE", "UNSUBSCRIBE"}:
            await self._wire.say(json.dumps({"error": {"code": 2, "msg": "Invalid request"}, "id": said.get("id")}))
            return
        change = self._streams.update if said["method"] == "SUBSCRIBE" else self._streams.difference_update
        change(said["params"])
        await self._wire.say(json.dumps({"result": None, "id": said["id"]}))
        await self.begin()

    async def changed(self, book: Book, changes: list[Change]) -> None:
        """Tell the changes of a book to who asked for them, and its top where it is another one now."""
        name = book.symbol.lower()
        for stream in (f"{name}@depth@100ms", f"{name}@depth"):
            bids, asks = ([[one.price, one.size] for one in changes if one.side == side] for side in ("bid", "ask"))
            numbers = {"U": book.number - len(changes) + 1, "u": book.number}
            await self._say(
                stream, {"e": "depthUpdate", "E": self._market.ms(), "s": book.symbol, **numbers, "b": bids, "a": asks}
            )
        await self._top(book)

    async def _top(self, book: Book) -> None:
        top = book.levels("bid")[0], book.levels("ask")[0]
        stream = f"{book.symbol.lower()}@bookTicker"
        if stream not in self._streams or self._tops.get(book.symbol) == top:
            return
        self._tops[book.symbol] = top
        sides = {"b": top[0][0], "B": top[0][1], "a": top[1][0], "A": top[1][1]}
        await self._say(stream, {"u": book.number, "s": book.symbol, **sides})

    async def traded(self, book: Book, side: str, price: int) -> None:
        """Tell a deal."""
        name, common = (
            book.symbol.lower(),
            {"E": self._market.ms(), "s": book.symbol, "p": book.text(price), "q": "0.001"},
        )
        ends = {"T": self._market.ms(), "m": side == "bid", "M": True}
        numbers = {"a": book.trades, "f": book.trades, "l": book.trades}
        await self._say(f"{name}@aggTrade", {"e": "aggTrade", **common, **numbers, **ends})
        await self._say(f"{name}@trade", {"e": "trade", **common, "t": book.trades, **ends})

    async def _say(self, stream: str, data: dict[str, Any]) -> None:
        if stream in self._streams:
            await self._wire.say(json.dumps({"stream": stream, "data": data}, separators=(",", ":")))


class BinanceMarket(BookMarket):
    """Binance's books; its documents are snapshots of depth, and daily klines."""

    def teller(self, wire: Wire, path: str) -> Teller:
        """Speak on a connection."""
        return BinanceTeller(self, wire, path)

    def document(self, path: str, headers: Any) -> Answer | None:
        """Answer with a snapshot of depth or with klines."""
        parts = urlsplit(path)
        symbol = parse_qs(parts.query).get("symbol", [""])[0]
        if symbol not in self.books:
            return Answer(b'{"code":-1121,"msg":"Invalid symbol."}', 400)
        if parts.path == "/api/v3/depth":
            return None if self.withholds else self._depth(self.books[symbol])
        if parts.path == "/api/v3/klines":
            return self._klines(symbol)
        return super().document(path, headers)

    def _depth(self, book: Book) -> Answer:
        told = {"lastUpdateId": book.number, "bids": book.levels("bid"), "asks": book.levels("ask")}
        return Answer(json.dumps(told).encode(), headers={"Content-Type": "application/json"})

    def _klines(self, symbol: str) -> Answer:
        today, price = self.ms() // (DAY_S * 1000) * DAY_S * 1000, f"{sum(self.top(symbol)) / 2:.2f}"
        starts = [today - DAY_S * 1000 * ago for ago in reversed(range(100))]
        rest = ["0", 1, "0", "0", "0"]
        days = [[at, price, price, price, price, "1.0", at + DAY_S * 1000 - 1, *rest] for at in starts]
        return Answer(json.dumps(days).encode(), headers={"Content-Type": "application/json"})


class AlpacaTeller(Teller):
    """Alpaca on one connection: who has signed in is told quotes and trades."""

    def __init__(self, market: AlpacaMarket, wire: Wire) -> None:
        self._market = market
        self._wire = wire
        self._signed_in = False
        self._asked: dict[str, set[str]] = {"trades": set(), "quotes": set(), "bars": set()}

    async def begin(self) -> None:
        """Greet."""
        await self._say({"T": "success", "msg": "connected"})

    async def hear(self, text: str) -> None:
        """Sign in, or subscribe."""
        said = json.loads(text)
        if said["action"] == "auth":
            self._signed_in = (said["key"], said["secret"]) == self._market.keys
            failed = {"T": "error", "code": 402, "msg": "auth failed"}
            await self._say({"T": "success", "msg": "authenticated"} if self._signed_in else failed)
        elif not self._signed_in:
            await self._say({"T": "error", "code": 401, "msg": "not authenticated"})
        else:
            await self._subscribe(said)

    async def _subscribe(self, said: dict[str, Any]) -> None:
        for kind, asked in self._asked.items():
            asked.update(said.get(kind, ()))
        if len(self._asked["quotes"] | self._asked["trades"]) > self._market.symbols:
            await self._say({"T": "error", "code": 405, "msg": "symbol limit exceeded"})
            return
        await self._say({"T": "subscription", **{kind: sorted(asked) for kind, asked in self._asked.items()}})
        async with self._market.order:
            for book in self._market.books.values():
                await self.changed(book, [])

    async def changed(self, book: Book, changes: list[Change]) -> None:
        """Tell the top of a book."""
        if self._signed_in and book.symbol in self._asked["quotes"]:
            bid, ask = book.top()
            sides = {"bx": "V", "bp": bid, "bs": 3, "ax": "V", "ap": ask, "as": 4}
            await self._say(
                {"T": "q", "S": book.symbol, **sides, "t": self._market.now()[:-1] + "789Z", "c": ["R"], "z": "C"}
            )

    async def traded(self, book: Book, side: str, price: int) -> None:
        """Tell a deal."""
        if self._signed_in and book.symbol in self._asked["trades"]:
            dealt = {"i": book.trades, "x": "V", "p": book.price_of(price), "s": 100}
            await self._say(
                {"T": "t", "S": book.symbol, **dealt, "t": self._market.now()[:-1] + "789Z", "c": ["@"], "z": "C"}
            )

    async def _say(self, *records: dict[str, Any]) -> None:
        await self._wire.say(json.dumps(list(records), separators=(",", ":")))


class AlpacaMarket(BookMarket):
    """Alpaca's quotes, for who has these keys, of so many symbols at most."""

    keys = ("PKTEST", "alpaca-secret")
    symbols = 30

    def teller(self, wire: Wire, path: str) -> Teller:
        """Speak on a connection."""
        return AlpacaTeller(self, wire)


class FinnhubTeller(Teller):
    """Finnhub on one connection: deals, and a ping from time to time."""

    def __init__(self, market: FinnhubMarket, wire: Wire) -> None:
        self._market = market
        self._wire = wire
        self._asked: set[str] = set()

    async def begin(self) -> None:
        """Say nothing."""

    async def hear(self, text: str) -> None:
        """Subscribe."""
        said = json.loads(text)
        change = self._asked.add if said["type"] == "subscribe" else self._asked.discard
        change(said["symbol"])
        if len(self._asked) > self._market.symbols:
            await self._wire.say(json.dumps({"type": "error", "msg": "Subscribing to too many symbols"}))

    async def traded(self, book: Book, side: str, price: int) -> None:
        """Tell a deal."""
        if book.symbol in self._asked:
            told = {"c": None, "p": book.price_of(price), "s": book.symbol, "t": self._market.ms(), "v": 0.001}
            await self._wire.say(json.dumps({"data": [told], "type": "trade"}))

    async def heartbeat(self) -> None:
        """Ping."""
        await self._wire.say(json.dumps({"type": "ping"}))


class FinnhubMarket(BookMarket):
    """Finnhub's deals, for who has this token, of so many symbols at most."""

    token = "finnhub-token"
    symbols = 50

    def teller(self, wire: Wire, path: str) -> Teller:
        """Speak on a connection."""
        return FinnhubTeller(self, wire)
