"""Announce splits and book them when they take effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from alhambra.bank.model import BankBooking, BankSplit
from alhambra.iboss_sim.controls import SplitOrder
from alhambra.iboss_sim.ledger import Ledger, SimulatedInstrument
from alhambra.iboss_sim.trading import rate_between
from analytics.sessions import ROUND_THE_CLOCK, find_sessions

QUANTITY_STEP = Decimal("0.000001")  # what the ledger keeps of a quantity
LARGEST_RATIO = 1000  # new shares for one old
LONGEST_NOTICE = timedelta(days=30)
LONGEST_RECESS = timedelta(days=14)  # no exchange stays shut for longer


@dataclass(frozen=True, slots=True)
class SplitDesk:
    """Announce splits on order; every answer of the back office has those that are due booked first."""

    ledger: Ledger
    now: Callable[[], datetime]

    def announce(self, order: SplitOrder) -> str:
        """Announce a split of what every account holds, long or short, and return its reference.

        Fractions stay in the accounts. Raises `ValueError` where nobody holds the instrument, or for a ratio that
        is not above zero, is 1, or would leave nothing of a holding.
        """
        ratio, instrument = _ratio(order.ratio), self.ledger.instruments().get(order.symbol)
        holders = self.ledger.holders(order.symbol)
        if instrument is None or not holders or instrument.asset_class == "cash":
            raise ValueError(f"no account holds {order.symbol}")
        if not 0 <= order.in_seconds <= LONGEST_NOTICE.total_seconds():
            raise ValueError(f"a split is announced up to {LONGEST_NOTICE.days} days ahead, and not afterwards")
        if not all(_change(held, ratio) and held + _change(held, ratio) for held in holders.values()):
            raise ValueError("the split changes every holding, and leaves something of it")
        effective_at = self.now() + timedelta(seconds=order.in_seconds)
        split = BankSplit(order.symbol, find_ex_date(instrument.exchange, effective_at), effective_at, ratio)
        reference = self.ledger.announce(split)
        self.book_due()
        return reference

    def book_due(self) -> None:
        """Book the splits that have taken effect, as of their moment, and put the closes into new shares."""
        for reference, split in self.ledger.due_splits(self.now()):
            instruments = self.ledger.instruments()
            for account, held in self.ledger.holders(split.symbol).items():
                named = f"{reference}-{account}"  # so that whoever was ended in the middle does not book it twice
                if not self.ledger.has_booking(named) and (change := _change(held, split.ratio)):
                    self._book(named, account, instruments, split, change)
            self.ledger.settle_split(reference, split)

    def _book(
        self,
        reference: str,
        account: str,
        instruments: dict[str, SimulatedInstrument],
        split: BankSplit,
        change: Decimal,
    ) -> None:
        currency, base = instruments[split.symbol].currency, self.ledger.account(account, self.now()).base_currency
        closes = {symbol: one.close for symbol, one in instruments.items()}
        self.ledger.book(
            BankBooking(
                sequence=0,
                iboss_account_id=account,
                reference=reference,
                version=1,
                type="split",
                booked_at=split.effective_at,
                symbol=split.symbol,
                quantity=change,
                price=None,
                amount=Decimal("0.00"),
                currency=currency,
                rate_to_base=rate_between(currency, base, closes),
                description=f"Simulated split, {split.ratio} new for 1 old {split.symbol}",
            )
        )


def find_ex_date(exchange: str | None, effective_at: datetime) -> date:
    """Return the first date whose close is made after a moment; imports pandas where there is an exchange."""
    if exchange is None or exchange in ROUND_THE_CLOCK:
        return effective_at.date()
    around = find_sessions([exchange], effective_at.date() - timedelta(days=1), effective_at.date() + LONGEST_RECESS)
    return next((one.date for one in around if one.closes_at > effective_at), effective_at.date())


def _change(held: Decimal, ratio: Decimal) -> Decimal:
    return (held * ratio).quantize(QUANTITY_STEP) - held


def _ratio(text: str) -> Decimal:
    try:
        ratio = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no decimal number") from error
    if not ratio.is_finite() or not 0 < ratio <= LARGEST_RATIO:
        raise ValueError(f"the ratio is above 0 and up to {LARGEST_RATIO}")
    return ratio
