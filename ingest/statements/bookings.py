"""Make bookings of entries: what each kind of entry does to the ledger. Pure.

trade        buy or sell of gross with its commission, which is part of the cost; tax apart; accrued interest of
             a bond apart, as a coupon
flow         deposit or withdrawal; a fee taken from it apart
exchange     fx_out and fx_in at the rate that was dealt, so that both are worth the same
transfer     a deposit of the value, and a buy for it; or a sell, and a withdrawal
delivery     securities that come or go without money: a delivery at no cost
conversion   conversion_out of the old instrument, conversion_in of the new one, which takes over its cost
split        split
income       dividend, coupon, interest, fee or tax of the gross amount; what was withheld apart
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from analytics.positions import CONVERSION_IN, CONVERSION_OUT, EXCHANGE_TYPES, FLOW_TYPES
from ingest.statements.errors import RowRefused
from ingest.statements.model import (
    CONVERSION,
    DELIVERY,
    EXCHANGE,
    FLOW,
    ONE,
    SPLIT,
    TRADE,
    TRANSFER,
    ZERO,
    Counterpart,
    Entry,
    InstrumentRef,
)

AMOUNT_STEP = Decimal("0.0001")  # of the ledger
QUANTITY_STEP = Decimal("0.0000000001")
PRICE_STEP = Decimal("0.00000001")
RATE_STEP = Decimal("0.0000000001")
# What comes first within a second, or within a day where a statement knows dates only. A change of the number of shares
# happened before the market opened, and money is there before it is spent. The ledger is read in order of time, so
# the order stands in the microseconds.
ORDER = {
    SPLIT: 0,
    CONVERSION_OUT: 1,
    CONVERSION_IN: 1,
    **dict.fromkeys(FLOW_TYPES, 2),
    **dict.fromkeys(EXCHANGE_TYPES, 3),
}
ORDER |= {DELIVERY: 4, "buy": 5, "sell": 6}
LAST = 7


@dataclass(frozen=True, slots=True)
class Known:
    """Hold an instrument of ours as a statement's row means it; `price_factor` is ours."""

    id: int
    symbol: str
    currency: str
    price_factor: Decimal


@dataclass(frozen=True, slots=True)
class StatementBooking:
    """Hold one booking of a statement; the fields are those of `db.ledger.LedgerBooking`, `moment` is in UTC."""

    reference: str
    type: str
    moment: datetime
    amount: Decimal
    currency: str
    rate_to_base: Decimal
    instrument: Known | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    description: str = ""


# Units of base currency for one of a currency at a moment, None where nobody knows.
RateOf = Callable[[str, datetime], Decimal | None]
# What an instrument is with us, in the row's currency or (second argument False) in any; raises `RowRefused`.
InstrumentOf = Callable[[InstrumentRef, bool], Known]


def make_bookings(entry: Entry, reference: str, known: InstrumentOf, rate_of: RateOf) -> list[StatementBooking]:
    """Return the bookings of an entry; their references are `reference` with what tells them apart.

    Raises `RowRefused` where an instrument or a rate is not known; then nothing of the entry is booked.
    """
    made = list(_Maker(entry, reference, known, rate_of).make())
    if not made:
        raise RowRefused("missing_field", "the row moves neither money nor securities")
    return made


class _Maker:
    """Make the bookings of one entry."""

    def __init__(self, entry: Entry, reference: str, known: InstrumentOf, rate_of: RateOf) -> None:
        self._entry = entry
        self._reference = reference
        self._known = known
        self._rate_of = rate_of

    def make(self) -> Iterator[StatementBooking]:
        """Yield the bookings, the main one first."""
        kind = self._entry.kind
        if kind == TRADE:
            yield from self._trade()
        elif kind == EXCHANGE:
            yield from self._exchange()
        elif kind == TRANSFER:
            yield from self._transfer()
        elif kind == CONVERSION:
            yield from self._conversion()
        elif kind in (SPLIT, DELIVERY):
            yield self._of_instrument("", kind, ZERO, self._required(self._entry.instrument), self._entry.quantity)
        else:
            yield from self._money()

    def _trade(self) -> Iterator[StatementBooking]:
        entry, instrument = self._entry, self._required(self._entry.instrument)
        quantity = entry.quantity or ZERO
        if instrument.currency != entry.currency:
            detail = f"{instrument.symbol} is in {instrument.currency} here, the trade in {entry.currency}"
            raise RowRefused("currency_differs", detail)
        included = ZERO if entry.commission_currency else entry.commission
        amount = entry.gross - entry.accrued + included
        yield self._of_instrument("", "buy" if quantity > ZERO else "sell", amount, instrument, quantity)
        if entry.accrued:
            yield self._of_instrument("accrued", "coupon", entry.accrued, instrument)
        if entry.tax:
            yield self._of_instrument("tax", "tax", entry.tax, instrument)
        if entry.commission_currency and entry.commission:
            yield self._cash("fee", "fee", entry.commission, entry.commission_currency)

    def _exchange(self) -> Iterator[StatementBooking]:
        entry, other = self._entry, self._entry.counterpart
        assert other is not None  # the readers give every exchange its other side
        rates = self._dealt_rates(other)
        for name, amount, currency, rate in (
            ("from", entry.gross, entry.currency, rates[0]),
            ("into", other.amount, other.currency, rates[1]),
        ):
            made = self._cash(name, "fx_in" if amount > ZERO else "fx_out", amount, currency)
            yield replace(made, rate_to_base=rate.quantize(RATE_STEP), price=_price(entry.price))
        if entry.commission:
            yield self._cash("fee", "fee", entry.commission, entry.commission_currency or entry.currency)

    def _dealt_rates(self, other: Counterpart) -> tuple[Decimal, Decimal]:
        """Return the rates of both sides, so that they are worth the same; that of the base currency is 1."""
        ratio = -self._entry.gross / other.amount
        if self._rate_of(other.currency, self._entry.moment) == ONE:
            return ONE / ratio, ONE
        base = self._rate(self._entry.currency)
        return base, base * ratio

    def _transfer(self) -> Iterator[StatementBooking]:
        entry, instrument = self._entry, self._required(self._entry.instrument)
        if instrument.currency != entry.currency:
            raise RowRefused("currency_differs", f"{instrument.symbol} is in {instrument.currency} here")
        yield self._cash("value", "deposit" if entry.gross < ZERO else "withdrawal", -entry.gross, entry.currency)
        kind = "buy" if entry.gross < ZERO else "sell"
        yield self._of_instrument("", kind, entry.gross, instrument, entry.quantity)

    def _conversion(self) -> Iterator[StatementBooking]:
        other = self._entry.counterpart
        assert other is not None  # as for an exchange
        old, new = self._required(self._entry.instrument), self._required(other.instrument)
        if old.currency != new.currency:
            raise RowRefused("currency_differs", f"{old.symbol} is in {old.currency}, {new.symbol} in {new.currency}")
        if old.id == new.id:  # the same with us: only the number of shares changes
            yield self._of_instrument("", SPLIT, ZERO, old, (self._entry.quantity or ZERO) + other.amount)
            return
        # in this order by their references too: the second takes what the first gave up
        yield self._of_instrument("1", CONVERSION_OUT, ZERO, old, self._entry.quantity)
        yield self._of_instrument("2", CONVERSION_IN, ZERO, new, other.amount)

    def _money(self) -> Iterator[StatementBooking]:
        entry, kind = self._entry, self._entry.kind
        instrument = self._known(entry.instrument, False) if entry.instrument else None
        if instrument is not None and instrument.currency != entry.currency:
            instrument = None  # a dividend in dollars of what is quoted in euros: profit of the cash it came in
        if kind == FLOW:
            kind = "deposit" if entry.gross > ZERO else "withdrawal"
        parts = ((kind, "", entry.gross), ("tax", "tax", entry.tax), ("fee", "fee", entry.commission))
        for name, suffix, amount in parts:
            if not amount:
                continue
            currency = entry.commission_currency if suffix == "fee" and entry.commission_currency else entry.currency
            if instrument is None or name in ("deposit", "withdrawal"):
                yield self._cash(suffix, name, amount, currency)
            else:
                yield self._of_instrument(suffix, name, amount, instrument)

    def _cash(self, suffix: str, kind: str, amount: Decimal, currency: str) -> StatementBooking:
        return StatementBooking(
            reference=f"{self._reference}/{suffix}" if suffix else self._reference,
            type=kind,
            moment=self._entry.moment.astimezone(UTC) + timedelta(microseconds=ORDER.get(kind, LAST)),
            amount=_amount(amount),
            currency=currency,
            rate_to_base=self._rate(currency).quantize(RATE_STEP),
            description=self._entry.description,
        )

    def _of_instrument(
        self, suffix: str, kind: str, amount: Decimal, instrument: Known, quantity: Decimal | None = None
    ) -> StatementBooking:
        price = self._entry.price if quantity is not None else None
        if price is not None and self._entry.instrument is not None:  # as this instrument is quoted with us
            price = price * self._entry.instrument.price_factor / instrument.price_factor
        if quantity is not None and quantity != quantity.quantize(QUANTITY_STEP):
            raise RowRefused("unreadable_number", f"the quantity {quantity:f} has more digits than the ledger keeps")
        made = self._cash(suffix, kind, amount, self._entry.currency)
        return replace(made, instrument=instrument, quantity=quantity, price=_price(price))

    def _required(self, ref: InstrumentRef | None) -> Known:
        if ref is None:
            raise RowRefused("missing_field", "the row names no instrument")
        return self._known(ref, True)

    def _rate(self, currency: str) -> Decimal:
        """Return the rate of a currency: 1 of the base currency, that of the row, or one known otherwise."""
        entry = self._entry
        known = self._rate_of(currency, entry.moment)
        if known != ONE and currency == entry.currency and entry.rate_to_base is not None:
            return entry.rate_to_base
        if known is None:
            raise RowRefused("no_rate", f"nothing says what a {currency} was worth on {entry.moment:%Y-%m-%d}")
        return known


def _amount(amount: Decimal) -> Decimal:
    return amount.quantize(AMOUNT_STEP, ROUND_HALF_EVEN)


def _price(price: Decimal | None) -> Decimal | None:
    return None if price is None else price.quantize(PRICE_STEP, ROUND_HALF_EVEN)
