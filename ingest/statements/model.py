"""Define what a statement says, in our words: entries, and what the broker reports beside them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType

ZERO = Decimal(0)
ONE = Decimal(1)
# The kinds of entries. A trade buys or sells by the sign of its quantity, a flow comes or goes by that of its amount.
TRADE, FLOW, EXCHANGE, SPLIT, DELIVERY, CONVERSION, TRANSFER = (
    "trade",
    "flow",
    "exchange",
    "split",
    "delivery",
    "conversion",
    "transfer",
)
INCOME = frozenset({"dividend", "coupon", "interest", "fee", "tax"})
REFUSED = "refused"  # the heading of what a refused row moves, where it does not say which
KINDS = frozenset({TRADE, FLOW, EXCHANGE, SPLIT, DELIVERY, CONVERSION, TRANSFER, *INCOME})


@dataclass(frozen=True, slots=True)
class InstrumentRef:
    """Say how a statement names an instrument.

    `currency` is that of the row. `isin` is None where the row has none with a right check digit, `contract` the
    broker's own number for the listing. `price_factor` is the value of one unit at price 1.
    """

    symbol: str
    currency: str
    asset_class: str
    name: str = ""
    isin: str | None = None
    contract: str | None = None
    price_factor: Decimal = ONE

    @property
    def key(self) -> str:
        """Return what tells this listing from any other of the same source."""
        return self.contract or f"{self.isin or self.symbol}/{self.currency}"

    def __str__(self) -> str:
        return f"{self.symbol} ({self.isin})" if self.isin else self.symbol


@dataclass(frozen=True, slots=True)
class Counterpart:
    """Hold the other side of an exchange (a currency) or of a conversion (an instrument), signed as the entry."""

    amount: Decimal
    currency: str
    instrument: InstrumentRef | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold one thing that happened to the account; every amount is a signed effect on cash in `currency`.

    `gross` is what was dealt or paid, before `commission` and `tax` (as a rule negative); `accrued` is the part of
    `gross` that is interest bought or sold with a bond. `commission` is in `commission_currency` where that differs.
    `quantity` is the signed effect on the position; of a split what the position changes by. `reference` names the
    row for ever, None until its content names it. `place` tells people where the row stands. `net` is the row's own
    word for its effect on cash, for the reconciliation.
    """

    kind: str
    moment: datetime
    place: str
    currency: str
    gross: Decimal = ZERO
    commission: Decimal = ZERO
    tax: Decimal = ZERO
    accrued: Decimal = ZERO
    commission_currency: str | None = None
    instrument: InstrumentRef | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    rate_to_base: Decimal | None = None
    counterpart: Counterpart | None = None
    reference: str | None = None
    description: str = ""

    def movements(self) -> Iterator[Movement]:
        """Yield what the entry does to cash, by the headings of a broker's report of cash."""
        yield Movement(self.currency, heading_of(self.kind, self.gross), self.gross)
        yield Movement(self.commission_currency or self.currency, "commission", self.commission)
        yield Movement(self.currency, "tax", self.tax)
        if self.kind == EXCHANGE and self.counterpart is not None:
            other = self.counterpart
            yield Movement(other.currency, heading_of(self.kind, other.amount), other.amount)


@dataclass(frozen=True, slots=True)
class Movement:
    """Hold an effect on cash under a heading: sales, purchases, commission, flow, dividend, tax …."""

    currency: str
    heading: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Rejection:
    """Hold a row that is not booked: where it stands, a stable word for why, and what it would do to cash."""

    place: str
    reason: str
    detail: str
    movements: tuple[Movement, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Hold a row that books nothing of its own, and why: a summary of others, an accrual, a tax lot."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReportedCash:
    """Hold what the broker says of the cash of one currency: balances, and sums by heading between them."""

    currency: str
    starting: Decimal
    ending: Decimal
    headings: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class ReportedPosition:
    """Hold what the broker says is held at the end of the statement."""

    instrument: InstrumentRef
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Close:
    """Hold a price of an instrument on a date, in the currency and factor of `instrument`."""

    instrument: InstrumentRef
    date: date
    price: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """Hold one account's statement.

    `source` names broker and account: `ibkr:U1234567`. `base_currency` is None where nothing says it.
    `rates` are units of base currency for one of a currency, by currency and date.
    """

    source: str
    account: str
    base_currency: str | None
    entries: tuple[Entry, ...]
    rejections: tuple[Rejection, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    cash: tuple[ReportedCash, ...] = ()
    positions: tuple[ReportedPosition, ...] = ()
    rates: Mapping[tuple[str, date], Decimal] = field(default_factory=lambda: MappingProxyType({}))
    closes: tuple[Close, ...] = ()


def heading_of(kind: str, amount: Decimal) -> str:
    """Return the heading under which a broker's report of cash has the gross amount of an entry."""
    if kind in (TRADE, EXCHANGE):
        return "sales" if amount > ZERO else "purchases"
    return kind
