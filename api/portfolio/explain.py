"""Answer where a figure comes from: read what a valuation names as its inputs, recompute it, and show both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import msgspec

from analytics.splits import Split, Splits, create_splits
from api.catalogue import Catalogue
from api.errors import BadRequest, NotFound, Unavailable
from api.portfolio.cost_lots import day_bookings, open_lots
from api.portfolio.formulas import Formula, Worked, WorkedRow
from api.portfolio.provenance import (
    Inexplicable,
    MissingInput,
    Shape,
    UnknownSymbol,
    Wanted,
    figure_shape,
    find_formula,
    formula_shape,
    instant,
    position_shape,
    row_shape,
    rows_behind,
    split_shape,
    work,
)
from api.portfolio.rates import REFERENCE
from api.portfolio.together import together_shape
from db.corporate_actions import splits as known_splits
from db.portfolios import PortfolioInfo, Viewer
from db.postgres import acquire
from db.provenance import BookedEntry, close_dates, visible_bookings, visible_records
from stream.messages import Valuation, decode_positions

if TYPE_CHECKING:
    from api.state import WebState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARKET = "market:"  # how the market workers' reports of health are named


class NewestQuote(msgspec.Struct, frozen=True):
    """Hold what is read of a stored quote; `source` is empty where it does not say."""

    price: float
    event_ns: int
    source: str = ""


_quotes = msgspec.json.Decoder(NewestQuote)


@dataclass(frozen=True, slots=True)
class Sources:
    """Hold the newest quotes by symbol, and the names of the feeds that report."""

    quotes: Mapping[str, NewestQuote]
    feeds: tuple[str, ...]

    def source_of(self, symbol: str) -> str | None:
        """Return where the prices of an instrument come from: its quote says so, or there is only one feed."""
        quote = self.quotes.get(symbol)
        if quote is None:
            return None
        return quote.source or (self.feeds[0] if len(self.feeds) == 1 else None)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Hold what is asked and by whom, and what is read once whatever the number of portfolios."""

    viewer: Viewer
    wanted: Wanted
    formula: Formula
    catalogue: Catalogue
    sources: Sources


@dataclass(frozen=True, slots=True)
class Ledger:
    """Hold what the ledger says behind a valuation: bookings up to its positions, dates of closes, the day's start.

    `splits` are by instrument those between its prior close and the valuation.
    """

    bookings: list[BookedEntry]
    close_dates: Mapping[int, date]
    splits: Mapping[int, tuple[Split, ...]]
    opened_at: datetime


async def explain(state: WebState, viewer: Viewer, portfolio_id: UUID | None, wanted: Wanted) -> Shape:
    """Return the provenance of a figure, of one portfolio or of all of a client's; raises what `api.errors` names."""
    present = await state.portfolios.present(viewer, portfolio_id)
    try:
        formula = find_formula(wanted, present.valuations)
    except UnknownSymbol as error:
        raise NotFound(str(error)) from error
    except Inexplicable as error:
        raise BadRequest(str(error)) from error
    inquiry = Inquiry(viewer, wanted, formula, state.catalogue, await _read_sources(state))
    async with acquire(state.pool) as connection:
        explained = [
            await _explain_one(connection, inquiry, info, valuation)
            for info, valuation in zip(present.portfolios, present.valuations, strict=True)
        ]
    several = len(explained) > 1
    return {
        "field": wanted.field,
        "symbol": wanted.symbol,
        "formula": formula_shape(formula),
        "portfolios": explained,
        "together": together_shape(wanted, present, state.catalogue.instruments) if several else None,
    }


async def _explain_one(
    connection: asyncpg.Connection, inquiry: Inquiry, info: PortfolioInfo, valuation: Valuation
) -> Shape:
    records = await visible_records(connection, inquiry.viewer, {info.id: valuation.version})
    if info.id not in records:
        raise Unavailable(f"The positions of version {valuation.version} are not in the ledger.")
    record = decode_positions(records[info.id])
    opened_at = datetime.fromtimestamp(valuation.day_start_ns / 1e9, UTC)
    catalogue = inquiry.catalogue
    splits = create_splits(await known_splits(connection))
    try:
        worked = work(valuation, record, catalogue.instruments, catalogue.minor_units, valuation.day_start_ns, splits)
    except MissingInput as error:
        raise Unavailable(f"The figure cannot be recomputed: {error.args[0]}.") from error
    ledger = await _read_ledger(connection, inquiry.viewer, worked, opened_at, splits)
    return {
        "portfolio": {"id": info.id, "name": info.name, "baseCurrency": info.base_currency},
        "valuation": {**position_shape(worked), "dayBegan": opened_at.isoformat()},
        **figure_shape(inquiry.wanted, inquiry.formula, worked),
        "rows": _row_shapes(inquiry, worked, ledger),
        "rates": _rate_shapes(inquiry, worked),
    }


async def _read_ledger(
    connection: asyncpg.Connection, viewer: Viewer, worked: Worked, opened_at: datetime, splits: Splits
) -> Ledger:
    until = EPOCH + timedelta(microseconds=-(-worked.record.event_ns // 1000))  # up: no booking of then is left out
    closes = {row.shown.instrument: row.shown.prior_close for row in worked.rows if not row.terms.cash}
    bookings = await visible_bookings(connection, viewer, UUID(worked.valuation.portfolio_id), until)
    until_ns = worked.valuation.computed_ns
    dates = await close_dates(connection, closes, opened_at.date(), splits.between(0, until_ns))
    since = {number: splits.since_close(number, day, until_ns) for number, day in dates.items()}
    return Ledger(bookings, dates, since, opened_at)


def _row_shapes(inquiry: Inquiry, worked: Worked, ledger: Ledger) -> list[Shape]:
    row = next((one for one in worked.rows if one.shown.symbol == inquiry.wanted.symbol), None)
    if inquiry.wanted.symbol is not None and row is None:
        return []
    now_ns = time.time_ns()
    return [
        _complete(row_shape(worked, one, now_ns), one, worked.valuation.base_currency, inquiry.sources, ledger)
        for one in rows_behind(inquiry.formula, worked, row)
    ]


def _complete(shape: Shape, row: WorkedRow, base_currency: str, sources: Sources, ledger: Ledger) -> Shape:
    """Add to a row's shape what the ledger and the feeds know: the price's source, the close's date, bookings, lots."""
    symbol = row.shown.symbol
    shape["price"] |= {"source": sources.source_of(symbol), "newestQuote": _quote_shape(sources, symbol)}
    shape["priorClose"] |= {
        "date": ledger.close_dates.get(row.shown.instrument),
        "splits": [split_shape(one) for one in ledger.splits.get(row.shown.instrument, ())],
    }
    shape["traded"]["bookings"] = day_bookings(ledger.bookings, symbol, ledger.opened_at)
    if not row.terms.cash:  # of cash there is too much coming and going for lots to tell anything
        lots = open_lots(ledger.bookings, symbol, base_currency)
        adds_up = sum((Decimal(lot["quantity"]) for lot in lots), Decimal(0)) == row.line.quantity  # as booked, both
        shape["cost"] |= {"lots": lots, "lotsAddUp": adds_up}
    return shape


def _rate_shapes(inquiry: Inquiry, worked: Worked) -> list[Shape]:
    """Return the rates that the valuation used, with the newest quotes of the pairs that they are made of."""
    base = worked.valuation.base_currency
    quotes = inquiry.sources.quotes
    pairs = [one for one in inquiry.catalogue.instruments.values() if one.base_currency is not None]
    return [
        {
            "currency": code,
            "now": now,
            "atClose": close,
            "quotes": [
                {"symbol": one.symbol, **(_quote_shape(inquiry.sources, one.symbol) or {})}
                for one in pairs
                if {one.currency, one.base_currency} - {REFERENCE} <= {code, base} and one.symbol in quotes
            ],
        }
        for code, (now, close) in worked.valuation.rates.items()
        if code != base
    ]


def _quote_shape(sources: Sources, symbol: str) -> Shape | None:
    quote = sources.quotes.get(symbol)
    if quote is None or not quote.event_ns:  # nobody has quoted it yet: it stands at its close
        return None
    return {"price": quote.price, "at": instant(quote.event_ns)}


async def _read_sources(state: WebState) -> Sources:
    quotes = {symbol: _quotes.decode(quote) for symbol, quote in (await state.store.quotes()).items()}
    feeds = sorted(name.removeprefix(MARKET) for name in await state.store.health() if name.startswith(MARKET))
    return Sources(quotes, tuple(feeds))
