"""Define the vocabulary of the topics: typed, versioned records and their encodings.

Every record carries two clocks in integer nanoseconds since the epoch: when it happened
(`event_ns`) and when we received it (`received_ns`). Booked amounts and quantities are `Decimal`
and travel as strings; live marks are float64. The version is in the topic's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

QUOTES_TOPIC = "market.quotes.v1"
POSITIONS_TOPIC = "iboss.positions.v1"
TRANSACTIONS_TOPIC = "iboss.transactions.v1"
VALUATIONS_TOPIC = "portfolio.valuations.v1"
DEAD_LETTERS_TOPIC = "dead.letters.v1"
PRICE_LIMIT = 1e12  # what the tables hold of a price: numeric(20, 8)
FUTURE_TOLERANCE_NS = 5_000_000_000  # clocks of venues are seldom worse
TOPICS = (QUOTES_TOPIC, POSITIONS_TOPIC, TRANSACTIONS_TOPIC, VALUATIONS_TOPIC, DEAD_LETTERS_TOPIC)


class MessageError(ValueError):
    """Say that bytes of a topic are not the record that the topic carries; the record is to be refused.

    MessageError
    └── UnreadableMessage   the bytes do not decode, or columns differ in length
    """


class UnreadableMessage(MessageError):
    """Say that a record could not be decoded."""


class QuoteColumns(msgspec.Struct, frozen=True, array_like=True, tag="q1"):
    """Hold the wire form of a quote batch: little-endian columns, each a run of bytes of one length."""

    source: str
    received_ns: int
    instrument: bytes
    bid: bytes
    ask: bytes
    last: bytes
    volume: bytes
    event_ns: bytes
    epoch: int = 0  # records from before there were leases do not have it


@dataclass(frozen=True, slots=True)
class QuoteBatch:
    """Carry quotes of one partition in columns of equal length n, in the order they arrived.

    `instrument` is the instruments' id in the database (uint32). `bid`, `ask`, `last` (in the currency
    of quotation) and `volume` are float64 with NaN where absent. `event_ns` is int64. `epoch` is that of the lease
    under which the market is quoted: in a partition, what comes behind a higher one is dropped. 0 is not fenced.
    """

    source: str
    received_ns: int
    instrument: npt.NDArray[np.uint32]
    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]
    event_ns: npt.NDArray[np.int64]
    epoch: int = field(default=0, kw_only=True)

    def __len__(self) -> int:
        return len(self.instrument)


class Position(msgspec.Struct, frozen=True):
    """Hold one line of a portfolio; a cash balance is a position in its currency's cash instrument at price 1.

    `quantity` is negative when short. `cost_basis` is the average cost of what is held, in the
    instrument's currency; `cost_basis_base` the same at the rates of the booking dates, in the
    portfolio's base currency. `opening_quantity` is the quantity at the prior close, before any split
    since. `day_traded` is what moved into the line by trades, exchanges, external flows and the income of
    instruments since then, in the instrument's currency: buys and deposits positive, sales and withdrawals
    negative; a dividend is positive for cash and negative for the instrument that paid it, whose profit it
    is. Interest and fees that belong to no instrument are not in it, so that they count as profit or loss of
    the day. `day_traded_base` is the same in the base currency at the rates of the bookings, None where
    nobody knows. `realised_today` is the profit realised since the prior close, in the base currency at
    booking rates, against average cost.
    """

    instrument: int
    quantity: Decimal
    cost_basis: Decimal
    cost_basis_base: Decimal
    opening_quantity: Decimal
    day_traded: Decimal
    realised_today: Decimal = Decimal(0)
    day_traded_base: Decimal | None = None


class PortfolioPositions(msgspec.Struct, frozen=True):
    """Hold the full positions and cash of one portfolio at a version; a higher version replaces a lower one.

    The portfolio's day begins at midnight of `time_zone` (an IANA name).
    """

    portfolio: str
    version: int
    base_currency: str
    positions: tuple[Position, ...]
    event_ns: int
    received_ns: int
    time_zone: str = "UTC"


class Booking(msgspec.Struct, frozen=True):
    """Hold one booking of the ledger, unique by (source, reference, version).

    `amount` is the signed effect on cash in `currency`; `quantity` the signed effect on the
    instrument's position, with `price` per unit in the instrument's currency. `rate_to_base` is units of the
    portfolio's base currency for one of `currency`, None where the source does not say.
    """

    source: str
    reference: str
    version: int
    portfolio: str
    type: str
    amount: Decimal
    currency: str
    event_ns: int
    received_ns: int
    instrument: int | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    description: str = ""
    rate_to_base: Decimal | None = None


class ValuationRow(msgspec.Struct, frozen=True, gc=False):
    """Hold one position as valued: amounts in base currency unless named local, rounded to the minor unit.

    `price` and `prior_close` are in the instrument's currency, `weight` is a fraction of total equity,
    `day_pnl_pct` percent of the row's value at the prior close plus what was traded in; `contribution` is the
    row's day P&L in percent of the portfolio's equity less day P&L, so that contributions add up to the
    portfolio's `day_pnl_pct`. `price_ns` is 0 for cash. `state` is `live`; `close` where the market has closed
    since and this is its newest price; or `stale` where the market is open and the price too old, or there is
    none and the prior close stands in for it (`stale` says the same as a flag).
    """

    instrument: int
    symbol: str
    quantity: float
    price: float
    value: float
    value_local: float
    day_pnl: float
    day_pnl_pct: float
    unrealised_pnl: float
    cost_basis: float
    weight: float
    price_ns: int
    stale: bool
    prior_close: float = 0.0
    day_pnl_price: float = 0.0
    contribution: float = 0.0
    state: str = "live"


class Valuation(msgspec.Struct, frozen=True):
    """Hold one portfolio as valued at (epoch, seq); every total is the sum of its rows, to the minor unit.

    `day_pnl` = price effect (at the rates of the prior close) + currency effect; `day_pnl_pct` is percent
    of total equity less day P&L. `stale_share` is the fraction of gross value with a stale price;
    `oldest_price_ns` the event time of the oldest price used, 0 where only cash is held. `version` is that of
    the positions, `day_start_ns` when the portfolio's day began. `rates` are units of base currency for one of
    each currency held: now, and at the prior close.
    """

    portfolio_id: str
    epoch: int
    seq: int
    event_ns: int
    computed_ns: int
    base_currency: str
    total_equity: float
    cash: float
    buying_power: float
    market_value: float
    day_pnl: float
    day_pnl_pct: float
    day_pnl_price: float
    day_pnl_currency: float
    unrealised_pnl: float
    realised_pnl_today: float
    stale_share: float
    oldest_price_ns: int
    allocation: dict[str, dict[str, float]]
    rows: list[ValuationRow]
    version: int = 0
    day_start_ns: int = 0
    rates: dict[str, tuple[float, float]] = {}  # msgspec copies it: no two valuations share it


class DeadLetter(msgspec.Struct, frozen=True):
    """Hold what could not be read or used, why, and where it came from, so that it can be put back.

    `reason` is a stable word such as `unreadable` or `unknown_instrument`; `detail` is for people.
    `payload` is the record itself, or of a quote batch only the refused quotes, re-encoded.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    payload: bytes
    received_ns: int
    count: int = 1


T = TypeVar("T")

_quote_encoder = msgspec.msgpack.Encoder()
_quote_decoder = msgspec.msgpack.Decoder(QuoteColumns)
_json_encoder = msgspec.json.Encoder()
_positions_decoder = msgspec.json.Decoder(PortfolioPositions)
_booking_decoder = msgspec.json.Decoder(Booking)
_valuation_decoder = msgspec.json.Decoder(Valuation)
_dead_letter_decoder = msgspec.json.Decoder(DeadLetter)


def encode_quotes(batch: QuoteBatch) -> bytes:
    """Pack a batch into one record: a msgpack envelope around little-endian columns."""
    return _quote_encoder.encode(
        QuoteColumns(
            batch.source,
            batch.received_ns,
            batch.instrument.astype("<u4", copy=False).tobytes(),
            batch.bid.astype("<f8", copy=False).tobytes(),
            batch.ask.astype("<f8", copy=False).tobytes(),
            batch.last.astype("<f8", copy=False).tobytes(),
            batch.volume.astype("<f8", copy=False).tobytes(),
            batch.event_ns.astype("<i8", copy=False).tobytes(),
            batch.epoch,
        )
    )


def decode_quotes(record: bytes) -> QuoteBatch:
    """Unpack a batch without copying its columns.

    Raises `UnreadableMessage` when the envelope is not ours or the columns differ in length.
    """
    try:
        wire = _quote_decoder.decode(record)
        batch = QuoteBatch(
            wire.source,
            wire.received_ns,
            np.frombuffer(wire.instrument, "<u4"),
            np.frombuffer(wire.bid, "<f8"),
            np.frombuffer(wire.ask, "<f8"),
            np.frombuffer(wire.last, "<f8"),
            np.frombuffer(wire.volume, "<f8"),
            np.frombuffer(wire.event_ns, "<i8"),
            epoch=wire.epoch,
        )
    except ValueError as error:  # msgspec's errors are ValueErrors, as are numpy's odd lengths
        raise UnreadableMessage(f"not a quote batch: {error}") from error
    size = len(batch)
    if any(len(column) != size for column in (batch.bid, batch.ask, batch.last, batch.volume, batch.event_ns)):
        raise UnreadableMessage("the columns of the quote batch differ in length")
    return batch


def select_quotes(batch: QuoteBatch, index: npt.NDArray[Any]) -> QuoteBatch:
    """Return the quotes at `index` (integer positions or a mask) as a batch of their own."""
    return QuoteBatch(
        batch.source,
        batch.received_ns,
        batch.instrument[index],
        batch.bid[index],
        batch.ask[index],
        batch.last[index],
        batch.volume[index],
        batch.event_ns[index],
        epoch=batch.epoch,
    )


def partition_quotes(batch: QuoteBatch, partitions: int) -> list[tuple[int, QuoteBatch]]:
    """Split a batch by partition (instrument id modulo `partitions`), keeping the order within each."""
    if partitions == 1:
        return [(0, batch)]
    keys = batch.instrument % np.uint32(partitions)
    present: Sequence[int] = np.unique(keys).tolist()
    if len(present) == 1:
        return [(present[0], batch)]
    return [(key, select_quotes(batch, np.flatnonzero(keys == key))) for key in present]


def encode_message(message: PortfolioPositions | Booking | Valuation | DeadLetter) -> bytes:
    """Encode a record of any JSON topic."""
    return _json_encoder.encode(message)


def decode_positions(record: bytes) -> PortfolioPositions:
    """Decode a record of `iboss.positions.v1`; raises `UnreadableMessage`."""
    return _decode(_positions_decoder, record)


def decode_booking(record: bytes) -> Booking:
    """Decode a record of `iboss.transactions.v1`; raises `UnreadableMessage`."""
    return _decode(_booking_decoder, record)


def decode_valuation(record: bytes) -> Valuation:
    """Decode a record of `portfolio.valuations.v1`, or what Redis holds; raises `UnreadableMessage`."""
    return _decode(_valuation_decoder, record)


def decode_dead_letter(record: bytes) -> DeadLetter:
    """Decode a record of `dead.letters.v1`; raises `UnreadableMessage`."""
    return _decode(_dead_letter_decoder, record)


def _decode(decoder: msgspec.json.Decoder[T], record: bytes) -> T:
    try:
        return decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableMessage(str(error)) from error
