"""Keep one account's books while its bookings are made: exact cash, exact holdings, nothing overdrawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Decimal

from alhambra.bank.model import Account, BankBooking, Instrument
from alhambra.bank.prices import DayPrices

CENT = Decimal("0.01")
ZERO = Decimal(0)
ROUNDING_MARGIN = Decimal("0.05")  # what the rounding of both legs of an exchange can add, at 3.67 dirhams a dollar
# What is dealt in; whole units otherwise
LOTS = {"bond": Decimal(1000), "fund": Decimal("0.001"), "crypto": Decimal("0.001")}
BOOKS_OPEN = time(8, 0, tzinfo=UTC)


class AccountLedger:
    """Book what happens to an account; every amount is rounded half-even to the cent as it is booked.

    A booking that would overdraw cash, or a holding but by `sell_short`, raises `ValueError`; the callers' sums
    never do.
    """

    def __init__(self, account: Account, instruments: Mapping[str, Instrument], prices: DayPrices) -> None:
        self.account = account
        self.cash: dict[str, Decimal] = defaultdict(Decimal)
        self.held: dict[str, Decimal] = defaultdict(Decimal)
        self.bookings: list[BankBooking] = []
        self._instruments = instruments
        self._prices = prices
        self._day = -1
        self._clock = datetime.min.replace(tzinfo=UTC)

    def open_day(self, index: int, day: date, opens: time = BOOKS_OPEN) -> None:
        """Turn to a day: bookings follow minute by minute from `opens`."""
        self._day = index
        self._clock = datetime.combine(day, opens)

    def move_cash(self, kind: str, amount: Decimal, currency: str, description: str, symbol: str | None = None) -> None:
        """Book a flow, income or charge; `symbol` names the instrument that an income comes from."""
        self._book(kind, amount.quantize(CENT), currency, description, symbol)

    def buy(self, symbol: str, budget: Decimal) -> None:
        """Buy for up to `budget` of the account's base currency, exchanging base cash where it is needed.

        Nothing is booked where the budget, or the cash there is, does not reach for one lot.
        """
        instrument = self._instruments[symbol]
        unit = self._unit(instrument)
        rate = self._rate(instrument.currency)
        affordable = self.cash[instrument.currency]
        if instrument.currency != self.account.base_currency:
            affordable += max(self.cash[self.account.base_currency] - ROUNDING_MARGIN, ZERO) / rate
        lot = LOTS.get(instrument.asset_class, Decimal(1))
        quantity = (min(budget / rate, affordable) / unit / lot).to_integral_value(ROUND_FLOOR) * lot
        if quantity <= 0:
            return
        cost = (quantity * unit).quantize(CENT)
        if cost > self.cash[instrument.currency]:
            self._exchange(cost - self.cash[instrument.currency], instrument.currency)
        self._trade("buy", instrument, quantity, -cost)

    def buy_exactly(self, symbol: str, quantity: Decimal) -> None:
        """Buy a quantity with cash of the instrument's currency."""
        instrument = self._instruments[symbol]
        self._trade("buy", instrument, quantity, -(quantity * self._unit(instrument)).quantize(CENT))

    def sell(self, symbol: str, share: float) -> None:
        """Sell a share of what is held, in whole lots; nothing is booked where that is less than one."""
        instrument = self._instruments[symbol]
        lot = LOTS.get(instrument.asset_class, Decimal(1))
        quantity = (self.held[symbol] * Decimal(repr(share)) / lot).to_integral_value(ROUND_FLOOR) * lot
        if quantity <= 0:
            return
        self._trade("sell", instrument, -quantity, (quantity * self._unit(instrument)).quantize(CENT))

    def sell_short(self, symbol: str, budget: Decimal) -> None:
        """Sell for up to `budget` of the account's base currency what is not held, in whole units."""
        instrument = self._instruments[symbol]
        unit = self._unit(instrument)
        quantity = (budget / self._rate(instrument.currency) / unit).to_integral_value(ROUND_FLOOR)
        if quantity > 0 and not self.held.get(symbol):
            self._trade("sell", instrument, -quantity, (quantity * unit).quantize(CENT), short=True)

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Turn what is held into `ratio` new shares for one old, and sell the fraction that is left over."""
        instrument, old = self._instruments[symbol], self.held[symbol]
        text = f"{instrument.name}: {ratio} new for 1 old"
        self._book("split", ZERO, instrument.currency, text, symbol, old * ratio - old)
        self.held[symbol] = old * ratio
        fraction = self.held[symbol] % 1
        if fraction:
            self._trade("sell", instrument, -fraction, (fraction * self._unit(instrument)).quantize(CENT))

    def worth(self, symbol: str) -> Decimal:
        """Return what is held of an instrument at the day's close, in its own currency."""
        return self.held[symbol] * self._unit(self._instruments[symbol])

    def equity(self) -> Decimal:
        """Return what all of it is worth at the day's close, in base currency."""
        securities = sum(
            (self.worth(symbol) * self._rate(self._instruments[symbol].currency) for symbol in self.held), ZERO
        )
        return securities + sum((amount * self._rate(currency) for currency, amount in self.cash.items()), ZERO)

    def _exchange(self, amount: Decimal, currency: str) -> None:
        """Exchange base currency into just `amount` of another."""
        rate = self._rate(currency)
        base = self.account.base_currency
        text = f"{base} into {currency} at {rate}"
        self._book("fx_out", -(amount * rate).quantize(CENT), base, text, price=rate)
        self._book("fx_in", amount, currency, text, price=rate)

    def _trade(
        self, kind: str, instrument: Instrument, quantity: Decimal, amount: Decimal, *, short: bool = False
    ) -> None:
        price = self._prices.price(instrument.symbol, self._day)
        text = f"{'Bought' if quantity > 0 else 'Sold'} {abs(quantity):f} {instrument.name} at {price}"
        if quantity < 0 and self.held[instrument.symbol] + quantity < 0 and not short:
            raise ValueError(f"{self.account.iboss_account_id} does not hold {-quantity} {instrument.symbol}")
        self._book(kind, amount, instrument.currency, text, instrument.symbol, quantity, price)
        self.held[instrument.symbol] += quantity

    def _book(
        self,
        kind: str,
        amount: Decimal,
        currency: str,
        description: str,
        symbol: str | None = None,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> None:
        if self.cash[currency] + amount < 0:
            raise ValueError(f"{self.account.iboss_account_id} has no {-amount} {currency} for: {description}")
        self.cash[currency] += amount
        self.bookings.append(
            BankBooking(
                sequence=0,
                iboss_account_id=self.account.iboss_account_id,
                reference=f"{self.account.iboss_account_id}-{len(self.bookings) + 1:05d}",
                version=1,
                type=kind,
                booked_at=self._clock,
                symbol=symbol,
                quantity=quantity,
                price=price,
                amount=amount,
                currency=currency,
                rate_to_base=self._rate(currency),
                description=description,
            )
        )
        self._clock += timedelta(minutes=1)

    def _unit(self, instrument: Instrument) -> Decimal:
        """Return the value of one unit at the day's close."""
        price = self._prices.price(instrument.symbol, self._day)
        return price if instrument.price_factor == 1.0 else price * Decimal(repr(instrument.price_factor))

    def _rate(self, currency: str) -> Decimal:
        return self._prices.rate(currency, self.account.base_currency, self._day)
