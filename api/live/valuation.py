"""Translate a stored valuation into the document of the stream `portfolio:<id>`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import astuple

from api.live.state import Document
from db.instruments import Instrument
from stream.messages import UnreadableMessage, Valuation, ValuationRow, decode_valuation

# what stands elsewhere in the message, and what only explanations need
NOT_TOTALS = frozenset({"portfolio_id", "epoch", "seq", "event_ns", "rows", "rates", "version", "day_start_ns"})
TOTALS = tuple(field for field in Valuation.__struct_fields__ if field not in NOT_TOTALS)
FIXED = ("name", "asset_class", "sector", "country", "currency")
COLUMNS = (*ValuationRow.__struct_fields__, *FIXED)


class UnreadableValuation(ValueError):
    """Say that bytes are not a valuation."""


class ValuationHead(msgspec.Struct, frozen=True):
    """Hold where a valuation stands; reading only this is thirty times cheaper than reading all of it."""

    epoch: int
    seq: int


_head_decoder = msgspec.json.Decoder(ValuationHead)
_AS_WRITTEN = re.compile(rb'\{"portfolio_id":"[0-9a-f-]*","epoch":(\d+),"seq":(\d+),')


def decode_head(valuation: bytes) -> ValuationHead:
    """Read (epoch, seq) of a valuation; raises `UnreadableValuation`.

    As the stream writes it they stand at the beginning, and the rest is read when a follower's turn comes.
    """
    found = _AS_WRITTEN.match(valuation)
    if found is not None:
        return ValuationHead(int(found[1]), int(found[2]))
    try:
        return _head_decoder.decode(valuation)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableValuation(f"not a valuation: {error}") from error


def read_document(valuation: bytes) -> Valuation:
    """Decode a valuation; raises `UnreadableValuation`."""
    try:
        return decode_valuation(valuation)
    except UnreadableMessage as error:
        raise UnreadableValuation(f"not a valuation: {error}") from error


def portfolio_document(valuation: Valuation, name: str, instruments: Mapping[str, Instrument]) -> Document:
    """Build the document: totals are the valuation's own fields and `name`, rows gain what is fixed of instruments.

    An unknown symbol is shown by itself.
    """
    totals = {field: getattr(valuation, field) for field in TOTALS}
    totals["name"] = name
    rows = {row.symbol: astuple(row) + fixed_of(row.symbol, instruments) for row in valuation.rows}
    return Document(valuation.epoch, valuation.seq, valuation.event_ns, totals, COLUMNS, rows)


def fixed_of(symbol: str, instruments: Mapping[str, Instrument]) -> tuple[str | None, ...]:
    """Return what is fixed of an instrument, in the order of `FIXED`."""
    found = instruments.get(symbol)
    if found is None:
        return symbol, None, None, None, None
    return found.name, found.asset_class, found.sector, found.country, found.currency
