"""Make traffic as venues send it: in their documented shapes, from books that move, the same for the same seed.

Each venue's traffic is a list of frames that follow from one another, so a decoder finds no gap and keeps whole books.
The shares of kinds are near what recorded sessions hold, with more trades than a quiet minute has.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

SYMBOLS = 20
LEVELS = 300
BEGIN_S = 1_790_000_000
TICK = 100  # prices are whole hundredths
KEEP_LEVELS = 50  # a side thinner than this grows
CHANGES = (1, 1, 2, 3, 8)  # of a book in one record: what 50 ms gather


@dataclass(slots=True)
class Traffic:
    """Hold frames, and by symbol the document that a decoder may ask for, with how many frames come before it."""

    frames: list[bytes]
    documents: dict[str, bytes] = field(default_factory=dict)


class MovingBook:
    """Keep a book whose levels come and go mostly near its top, never crossed; prices are whole ticks."""

    def __init__(self, dice: random.Random, middle: int) -> None:
        self._dice = dice
        self.bids = {middle - 1 - step: self._size() for step in range(LEVELS)}
        self.asks = {middle + 1 + step: self._size() for step in range(LEVELS)}
        self._ordered = (sorted(self.bids), sorted(self.asks))

    def move(self) -> tuple[bool, int, float]:
        """Change one level; returns whether it is a bid, its price, and the size that now stands there."""
        bid = self._dice.random() < 0.5
        levels, ordered = (self.bids, self._ordered[0]) if bid else (self.asks, self._ordered[1])
        depth = min(int(self._dice.expovariate(0.15)), len(ordered) - 1)
        price = ordered[-1 - depth] if bid else ordered[depth]
        luck = self._dice.random()
        if luck < 0.2 and len(ordered) > KEEP_LEVELS:
            del levels[price]
            del ordered[bisect_left(ordered, price)]
            return bid, price, 0.0
        if luck < 0.45:
            price = self._free(bid, price)
        if price not in levels:
            insort(ordered, price)
        levels[price] = self._size()
        return bid, price, levels[price]

    def top(self) -> tuple[int, float, int, float]:
        """Return bid, its size, ask, its size."""
        bid, ask = self._ordered[0][-1], self._ordered[1][0]
        return bid, self.bids[bid], ask, self.asks[ask]

    def _free(self, bid: bool, price: int) -> int:
        """Return a price beside another one, which does not cross the book."""
        best_bid, _, best_ask, _ = self.top()
        wanted = price + self._dice.choice((-2, -1, 1, 2))
        return min(wanted, best_ask - 1) if bid else max(wanted, best_bid + 1)

    def _size(self) -> float:
        return self._dice.randrange(1, 1_000_000) / 1_000


def create_traffic(venue: str, messages: int, seed: int = 1) -> Traffic:
    """Return so many frames of a venue; raises `KeyError` for a venue of which none can be made."""
    return TRAFFIC[venue](messages, random.Random(seed))  # noqa: S311 - repeatable on purpose


def _coinbase(messages: int, dice: random.Random) -> Traffic:
    """Of a hundred records 92 change a book, 5 are matches, 2 tickers, 1 a heartbeat."""
    books = {f"C{number:02d}-USD": MovingBook(dice, 10_000_000 + 1_000 * number) for number in range(SYMBOLS)}
    frames = [_coinbase_snapshot(symbol, book) for symbol, book in books.items()]
    symbols = list(books)
    trades = dict.fromkeys(symbols, 1_000)
    for at, kind in _kinds(messages - len(frames), dice, {"l2update": 92, "match": 5, "ticker": 2, "heartbeat": 1}):
        symbol = dice.choice(symbols)
        book, time = books[symbol], _rfc3339(at)
        if kind == "l2update":
            changes = [_coinbase_change(*book.move()) for _ in range(dice.choice(CHANGES))]
            frames.append(_json({"type": kind, "product_id": symbol, "changes": changes, "time": time}))
            continue
        trades[symbol] += kind == "match"
        frames.append(_json(_coinbase_record(kind, symbol, book, trades[symbol]) | {"time": time}))
    return Traffic(frames)


def _coinbase_snapshot(symbol: str, book: MovingBook) -> bytes:
    levels = {
        side: [[_price(price), f"{size:.8f}"] for price, size in levels.items()]
        for side, levels in (("bids", book.bids), ("asks", book.asks))
    }
    return _json({"type": "snapshot", "product_id": symbol, **levels})


def _coinbase_change(bid: bool, price: int, size: float) -> list[str]:
    return ["buy" if bid else "sell", _price(price), f"{size:.8f}"]


def _coinbase_record(kind: str, symbol: str, book: MovingBook, trade: int) -> dict[str, object]:
    bid, bid_size, ask, ask_size = book.top()
    known: dict[str, object] = {"type": kind, "product_id": symbol, "sequence": 5 * trade}
    if kind == "heartbeat":
        return known | {"last_trade_id": trade}
    known |= {"trade_id": trade, "price": _price(bid), "side": "sell"}
    if kind == "match":
        orders = {"maker_order_id": "b2a34f0e-61f7-4c36-88e5-c9dd15927b16", "taker_order_id": "3c82abaa-c01e-4608-be59"}
        return known | orders | {"size": "0.00250000"}
    prices = {"best_bid": _price(bid), "best_ask": _price(ask)}
    sizes = {"best_bid_size": f"{bid_size:.8f}", "best_ask_size": f"{ask_size:.8f}", "last_size": "0.00250000"}
    day = {"open_24h": _price(bid), "volume_24h": "94381.28000000", "low_24h": _price(bid), "high_24h": _price(ask)}
    return known | prices | sizes | day | {"volume_30d": "2295579.57000000"}


def _binance(messages: int, dice: random.Random) -> Traffic:
    """Of a hundred records 60 tell the top of a book, 30 change a book, 10 are trades."""
    symbols = [f"C{number:02d}USDT" for number in range(SYMBOLS)]
    books = {symbol: MovingBook(dice, 10_000_000 + 1_000 * number) for number, symbol in enumerate(symbols)}
    updates = dict.fromkeys(symbols, 400_900_217)
    trades = dict.fromkeys(symbols, 5_933_014)
    told = dict(updates)  # the newest update that a record of changes has told
    pending: dict[str, list[tuple[bool, int, float]]] = {symbol: [] for symbol in symbols}
    documents = {symbol: _binance_snapshot(books[symbol], updates[symbol]) for symbol in symbols}
    frames: list[bytes] = []
    for at, kind in _kinds(messages, dice, {"bookTicker": 60, "depth@100ms": 30, "aggTrade": 10}):
        symbol = dice.choice(symbols)
        book, now_ms = books[symbol], at // 1_000_000
        if kind != "aggTrade":
            pending[symbol].append(book.move())
            updates[symbol] += 1
        if kind == "bookTicker":
            data = _binance_top(symbol, updates[symbol], book)
        elif kind == "aggTrade":
            trades[symbol] += 1
            data = _binance_trade(symbol, trades[symbol], book.top()[0], now_ms)
        else:
            data = {"e": "depthUpdate", "E": now_ms, "s": symbol, "U": told[symbol] + 1, "u": updates[symbol]}
            data |= _binance_sides(pending[symbol])
            told[symbol], pending[symbol] = updates[symbol], []
        frames.append(_json({"stream": f"{symbol.lower()}@{kind}", "data": data}))
    return Traffic(frames, documents)


def _binance_top(symbol: str, update: int, book: MovingBook) -> dict[str, object]:
    bid, bid_size, ask, ask_size = book.top()
    sizes = {"B": f"{bid_size:.8f}", "A": f"{ask_size:.8f}"}
    return {"u": update, "s": symbol, "b": _price(bid), "a": _price(ask), **sizes}


def _binance_trade(symbol: str, trade: int, price: int, now_ms: int) -> dict[str, object]:
    numbers = {"a": trade, "f": 3 * trade, "l": 3 * trade + 2, "p": _price(price), "q": "0.00250000"}
    return {"e": "aggTrade", "E": now_ms, "s": symbol, **numbers, "T": now_ms, "m": True, "M": True}


def _binance_sides(changes: list[tuple[bool, int, float]]) -> dict[str, object]:
    newest = {(bid, price): size for bid, price, size in changes}
    return {
        name: [[_price(price), f"{size:.8f}"] for (one, price), size in newest.items() if one is bid]
        for name, bid in (("b", True), ("a", False))
    }


def _binance_snapshot(book: MovingBook, update: int) -> bytes:
    sides = {
        name: [[_price(price), f"{size:.8f}"] for price, size in levels.items()]
        for name, levels in (("bids", book.bids), ("asks", book.asks))
    }
    return _json({"lastUpdateId": update, **sides})


def _alpaca(messages: int, dice: random.Random) -> Traffic:
    """Of a hundred records 80 are quotes and 20 trades, one to three of them in a frame."""
    symbols = [f"STK{number}" for number in range(SYMBOLS)]
    books = {symbol: MovingBook(dice, 12_000 + 100 * number) for number, symbol in enumerate(symbols)}

    def record(at: int, kind: str) -> dict[str, object]:
        symbol = dice.choice(symbols)
        books[symbol].move()
        bid, _, ask, _ = books[symbol].top()
        time = _rfc3339(at)
        if kind == "q":
            sides = {"bx": "U", "bp": bid / TICK, "bs": 1, "ax": "Q", "ap": ask / TICK, "as": 4}
            return {"T": kind, "S": symbol, **sides, "t": time, "c": ["R"], "z": "C"}
        return {"T": kind, "i": at, "S": symbol, "x": "D", "p": bid / TICK, "s": 1, "t": time, "c": ["@"], "z": "C"}

    kinds = _kinds(3 * messages, dice, {"q": 80, "t": 20})
    return Traffic([_json([record(*next(kinds)) for _ in range(dice.choice((1, 1, 2, 3)))]) for _ in range(messages)])


def _finnhub(messages: int, dice: random.Random) -> Traffic:
    """One to three trades in a frame, and a ping among fifty."""
    kinds = _kinds(messages, dice, {"trade": 98, "ping": 2})

    def trade(at: int) -> dict[str, object]:
        price = dice.randrange(10_000, 90_000) / TICK
        return {"c": None, "p": price, "s": f"STK{dice.randrange(SYMBOLS)}", "t": at // 1_000_000, "v": 12}

    frames = [
        {"type": kind}
        if kind == "ping"
        else {"data": [trade(at) for _ in range(dice.choice((1, 1, 2, 3)))], "type": kind}
        for at, kind in kinds
    ]
    return Traffic([_json(frame) for frame in frames])


def _kinds(count: int, dice: random.Random, shares: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Yield times in nanoseconds, a tenth of a millisecond apart, each with a kind."""
    drawn = dice.choices(list(shares), list(shares.values()), k=max(count, 0))
    for number, kind in enumerate(drawn):
        yield BEGIN_S * 1_000_000_000 + number * 100_000, kind


def _rfc3339(at_ns: int) -> str:
    second, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000:06d}Z"


def _price(ticks: int) -> str:
    return f"{ticks // TICK}.{ticks % TICK:02d}"


def _json(record: object) -> bytes:
    return msgspec.json.encode(record)


TRAFFIC: Mapping[str, Callable[[int, random.Random], Traffic]] = {
    "coinbase": _coinbase,
    "binance": _binance,
    "alpaca": _alpaca,
    "finnhub": _finnhub,
}
