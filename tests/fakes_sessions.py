"""Speak as venues did on the day they were recorded: the frames of a session, in its order, over a new connection."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes_venues import Answer, Dialect, Wire

RECEIVED = re.compile(r"^\d+(?:\.\d+)?: (?P<frame>.*)$")


def received_frames(path: Path) -> list[str]:
    """Return the frames that were received in a recorded session."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    return [found["frame"] for line in lines if (found := RECEIVED.match(line))]


class _Replayed(Dialect):
    def __init__(self, market: RecordedMarket, wire: Wire) -> None:
        self._market = market
        self._wire = wire
        self._told = False

    async def begin(self) -> None:
        if not self._market.waits:
            await self._replay()

    async def hear(self, text: str) -> None:
        await self._replay()

    async def _replay(self) -> None:
        if self._told:
            return
        self._told = True
        for frame in self._market.frames:
            await self._wire.say(frame)
        await self._market.told_all()


class RecordedMarket:
    """A venue that says what it said in a recorded session, to everyone who connects.

    `waits` for a first word of the client, as Coinbase does; Binance begins by itself.
    """

    def __init__(self, frames: list[str], waits: bool) -> None:
        self.frames = frames
        self.waits = waits
        self.times_told = 0

    async def told_all(self) -> None:
        """Count a replay that has come to its end."""
        self.times_told += 1

    def dialect(self, wire: Wire, path: str) -> Dialect:
        """Replay on a new connection."""
        return _Replayed(self, wire)

    def forget(self, wire: Wire) -> None:
        """Do nothing: nothing is kept of a connection."""

    def document(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Answer that there is nothing here."""
        return Answer(status=404)

    async def beat(self) -> None:
        """Say nothing but what was recorded."""


def coinbase_tops(frames: list[str]) -> dict[str, tuple[float, float]]:
    """Return the top of every book at the end of a session of Coinbase, worked out the plain way."""
    books: dict[str, dict[str, dict[float, float]]] = defaultdict(lambda: {"buy": {}, "sell": {}})
    for frame in frames:
        record: dict[str, Any] = json.loads(frame)
        book = books[record.get("product_id", "")]
        if record["type"] == "snapshot":
            book["buy"] = {float(price): float(size) for price, size in record["bids"]}
            book["sell"] = {float(price): float(size) for price, size in record["asks"]}
        for side, price, size in record.get("changes", ()):
            book[side][float(price)] = float(size)
    tops = {}
    for symbol, book in books.items():
        bids, asks = ([price for price, size in book[side].items() if size] for side in ("buy", "sell"))
        if bids and asks:
            tops[symbol] = (max(bids), min(asks))
    return tops


def binance_tops(frames: list[str]) -> dict[str, tuple[float, float]]:
    """Return the newest `bookTicker` of every symbol at the end of a session of Binance."""
    tops = {}
    for frame in frames:
        record = json.loads(frame)
        if record["stream"].endswith("@bookTicker"):
            tops[record["data"]["s"]] = (float(record["data"]["b"]), float(record["data"]["a"]))
    return tops
