"""Name the shapes of Binance's records, as its documents do: one letter a field."""

from __future__ import annotations

import msgspec

from ingest.venues.binance_depth import DepthRecord, DepthSnapshot

ABSENT = msgspec.Raw(b"")


class Envelope(msgspec.Struct, gc=False):
    """Hold the outside of a frame: of a combined stream its name and what it says, otherwise what says its kind."""

    stream: str = ""
    data: msgspec.Raw = ABSENT
    e: str = ""
    code: int | None = None
    msg: str = ""
    error: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    u: msgspec.Raw = ABSENT


class BookTickerRecord(msgspec.Struct, gc=False):
    """Hold the top of a book; on the spot market without a time."""

    u: int
    s: str
    b: float
    B: float
    a: float
    A: float
    E: int = 0
    T: int = 0


class AggregateRecord(msgspec.Struct, gc=False):
    """Hold trades of one order at one price."""

    s: str
    a: int
    p: float
    q: float
    T: int


class TradeRecord(msgspec.Struct, gc=False):
    """Hold one trade."""

    s: str
    t: int
    p: float
    q: float
    T: int


class ErrorRecord(msgspec.Struct, gc=False):
    """Hold what the venue refuses."""

    code: int = 0
    msg: str = ""


class KindRecord(msgspec.Struct, gc=False):
    """Hold the kind of a record that is not used."""

    e: str = ""


# Numbers stand in quotation marks; `strict=False` reads them without a string in between.
read_envelope = msgspec.json.Decoder(Envelope, strict=False).decode
read_book_ticker = msgspec.json.Decoder(BookTickerRecord, strict=False).decode
read_aggregate = msgspec.json.Decoder(AggregateRecord, strict=False).decode
read_trade = msgspec.json.Decoder(TradeRecord, strict=False).decode
read_depth = msgspec.json.Decoder(DepthRecord, strict=False).decode
read_snapshot = msgspec.json.Decoder(DepthSnapshot, strict=False).decode
read_error = msgspec.json.Decoder(ErrorRecord, strict=False).decode
read_kind = msgspec.json.Decoder(KindRecord).decode
