"""Load what a feed starts from: the instruments, their closes, and the newest prices known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import asyncpg
import msgspec
import numpy as np
import numpy.typing as npt

from db.instrument_symbols import ListedSymbol, listed_symbols
from db.instruments import CloseHistory, Instrument, close_history, instruments
from db.live import LiveStore, StoredQuote
from db.postgres import acquire
from db.sessions import sessions
from ingest.market.errors import NothingToQuote
from ingest.market.hours import OpenHours
from ingest.market.model import newest_closes
from ingest.market.outliers import Reference

_document = msgspec.json.Decoder(dict[str, Any])
_stored = msgspec.json.Decoder(StoredQuote)


@dataclass(frozen=True, slots=True)
class MarketStart:
    """Hold the instruments and their `closes` [days, instruments], NaN where absent."""

    instruments: tuple[Instrument, ...]
    closes: npt.NDArray[np.float64]

    def ids(self) -> dict[str, int]:
        """Return symbol → instrument id."""
        return {one.symbol: one.id for one in self.instruments}

    def references(self) -> list[Reference]:
        """Return what new prices are compared with: each instrument's newest close."""
        return self.references_of(self.instruments)

    def references_of(self, found: Sequence[Instrument]) -> list[Reference]:
        """Return the same for instruments of which some came later, and have no close here."""
        newest = dict(zip((one.id for one in self.instruments), newest_closes(self.closes).tolist(), strict=True))
        return [Reference(one.id, one.asset_class, newest.get(one.id, math.nan)) for one in found]

    def known(self) -> npt.NDArray[np.bool_]:
        """Return a table that says of each id whether it is an instrument."""
        table = np.zeros(max((one.id for one in self.instruments), default=-1) + 1, bool)
        table[[one.id for one in self.instruments]] = True
        return table


async def load_market(pool: asyncpg.Pool, today: date) -> MarketStart:
    """Load all instruments and two years of closes, today's newest prices among them.

    Raises `NothingToQuote` where the bank has no instruments yet, and what `db.postgres.acquire` raises.
    """
    async with acquire(pool) as connection:
        found = await instruments(connection)
        history = await close_history(connection, today + timedelta(days=1))
    if not found:
        raise NothingToQuote("the database knows no instruments; seed it, or load them")
    return MarketStart(tuple(found), _align(history, found))


@dataclass(frozen=True, slots=True)
class Listing:
    """Hold what feeds are told again each minute, because it changes: instruments, their symbols, and hours."""

    instruments: tuple[Instrument, ...]
    symbols: tuple[ListedSymbol, ...]
    hours: OpenHours

    def symbols_of(self, source: str) -> list[ListedSymbol]:
        """Return the symbols that are listed for a feed, or for a venue."""
        return [row for row in self.symbols if row.source == source]


async def load_listing(pool: asyncpg.Pool, today: date) -> Listing:
    """Load what changes while feeds run; raises what `db.postgres.acquire` raises."""
    async with acquire(pool) as connection:
        found = await instruments(connection)
        symbols = await listed_symbols(connection)
        hours = OpenHours(await sessions(connection, today - timedelta(days=4)))
    return Listing(tuple(found), tuple(symbols), hours)


async def load_passed(live: LiveStore, ids: Mapping[str, int]) -> dict[int, int]:
    """Return the event time of the newest live price of each instrument; raises `redis.RedisError`."""
    quotes = await live.quotes()
    found = ((ids[symbol], parse_passed(quote)) for symbol, quote in quotes.items() if symbol in ids)
    return {number: passed for number, passed in found if passed is not None}


def parse_passed(quote: bytes) -> int | None:
    """Return the event time of a live quote's JSON, or None where it does not say."""
    try:
        stored = _stored.decode(quote)
    except msgspec.MsgspecError:
        return None
    return stored.event_ns if stored.event_ns > 0 else None


async def load_prices(live: LiveStore, ids: Mapping[str, int]) -> dict[int, float]:
    """Return the newest live price of each instrument that has one, by id; raises `redis.RedisError`."""
    quotes = await live.quotes()
    prices = {ids[symbol]: parse_price(quote) for symbol, quote in quotes.items() if symbol in ids}
    return {number: price for number, price in prices.items() if price is not None}


def parse_price(quote: bytes) -> float | None:
    """Return the price of a live quote's JSON (`price`, else `last`), or None where it has no usable one."""
    try:
        fields = _document.decode(quote)
    except msgspec.MsgspecError:
        return None
    price = fields.get("price", fields.get("last"))
    if not isinstance(price, int | float) or not math.isfinite(price) or price <= 0:
        return None
    return float(price)


def _align(history: CloseHistory, found: list[Instrument]) -> npt.NDArray[np.float64]:
    """Put the history's columns in the order of the instruments."""
    column = {number: index for index, number in enumerate(history.instruments)}
    closes = np.full((len(history.dates), len(found)), np.nan)
    for index, instrument in enumerate(found):
        if instrument.id in column:
            closes[:, index] = history.closes[:, column[instrument.id]]
    return closes
