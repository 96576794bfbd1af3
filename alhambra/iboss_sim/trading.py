"""Book a small random trade now and then, so that positions move during a demonstration."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from alhambra.bank.model import BankBooking
from alhambra.iboss_sim.controls import TradeOrder
from alhambra.iboss_sim.faults import IbossFault
from alhambra.iboss_sim.ledger import Ledger, SimulatedInstrument
from analytics.positions import DerivedPosition
from db.live import LiveStore

CENT = Decimal("0.01")
PRICE_STEP = Decimal("0.00000001")
SHARE_OF_CASH = 0.05
SHARE_OF_HOLDING = 0.1

log = structlog.get_logger()


class TradingDesk:
    """Trade in the simulated accounts; all amounts are rounded to cents, which every currency here has."""

    def __init__(self, ledger: Ledger, redis: Redis | None, chance: random.Random, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._redis = redis
        self._chance = chance
        self._now = now

    async def trade(self) -> BankBooking | None:
        """Book one random trade within an account's cash or holding; None where none was possible."""
        prices = await self.prices()
        return self._random_trade(prices)

    async def prices(self) -> dict[str, float]:
        """Return the newest price by symbol: the live one where there is one, else the last close."""
        prices = {symbol: one.close for symbol, one in self._ledger.instruments().items()}
        if self._redis is None:
            return prices
        try:
            quotes = await LiveStore(self._redis).quotes()
        except RedisError as error:
            log.warning("no live prices to trade at, taking closes", error=str(error))
            return prices
        live = {symbol: quoted_price(document) for symbol, document in quotes.items()}
        return prices | {symbol: price for symbol, price in live.items() if price is not None}

    def order(self, order: TradeOrder) -> BankBooking:
        """Book the trade that an order names; raises `ValueError` for what cannot be traded."""
        instruments = self._ledger.instruments()
        if order.symbol not in instruments or order.account not in self._ledger.account_ids():
            raise ValueError(f"no account {order.account} or no instrument {order.symbol}")
        quantity, price = _decimal(order.quantity), _decimal(order.price)
        if not quantity or price <= 0:
            raise ValueError("quantity is not zero, price is above zero")
        closes = {symbol: one.close for symbol, one in instruments.items()}
        return self._book(order.account, instruments[order.symbol], quantity, price, closes)

    def _random_trade(self, prices: Mapping[str, float]) -> BankBooking | None:
        account = self._chance.choice(self._ledger.account_ids())
        now = self._now()
        try:
            held = {line.symbol: line for line in self._ledger.positions(self._ledger.account(account, now))}
        except IbossFault:
            return None
        instruments = self._ledger.instruments()
        traded = [one for symbol in held if (one := instruments.get(symbol)) and one.asset_class != "cash"]
        if not traded:
            return None
        instrument = self._chance.choice(traded)
        quantity = self._quantity(instrument, held, prices[instrument.symbol])
        if not quantity:
            return None
        price = Decimal(repr(prices[instrument.symbol])).quantize(PRICE_STEP)
        return self._book(account, instrument, quantity, price, prices)

    def _quantity(self, instrument: SimulatedInstrument, held: Mapping[str, DerivedPosition], price: float) -> Decimal:
        """Return whole units: a sale of up to a tenth of the holding, or a purchase for a twentieth of the cash."""
        cash = held.get(instrument.currency)
        affordable = SHARE_OF_CASH * float(cash.quantity) / (price * instrument.price_factor) if cash else 0.0
        if affordable >= 1 and self._chance.random() < 0.5:
            return Decimal(self._chance.randint(1, int(affordable)))
        sellable = int(SHARE_OF_HOLDING * float(held[instrument.symbol].quantity))
        return -Decimal(self._chance.randint(1, sellable)) if sellable >= 1 else Decimal(0)

    def _book(
        self,
        account: str,
        one: SimulatedInstrument,
        quantity: Decimal,
        price: Decimal,
        prices: Mapping[str, float],
    ) -> BankBooking:
        now = self._now()
        base = self._ledger.account(account, now).base_currency
        paid = quantity * price * Decimal(repr(one.price_factor))
        kind = "buy" if quantity > 0 else "sell"
        return self._ledger.book(
            BankBooking(
                sequence=0,
                iboss_account_id=account,
                reference="",
                version=1,
                type=kind,
                booked_at=now,
                symbol=one.symbol,
                quantity=quantity,
                price=price,
                amount=-paid.quantize(CENT, ROUND_HALF_EVEN),
                currency=one.currency,
                rate_to_base=rate_between(one.currency, base, prices),
                description=f"Simulated {kind} {abs(quantity)} {one.symbol}",
            )
        )


def rate_between(currency: str, base: str, prices: Mapping[str, float]) -> Decimal:
    """Return units of `base` for one unit of `currency`, through the dollar, to eight places."""
    if currency == base:
        return Decimal(1)
    return Decimal(repr(_dollars(currency, prices) / _dollars(base, prices))).quantize(PRICE_STEP)


def quoted_price(document: bytes) -> float | None:
    """Return the last price of a quote's JSON, or its middle, or None where it has none above zero."""
    try:
        quote = msgspec.json.decode(document, type=dict[str, object])
    except msgspec.DecodeError:
        return None
    price = quote.get("last") or quote.get("price")
    return float(price) if isinstance(price, int | float) and price > 0 else None


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no decimal number") from error
    if not value.is_finite():
        raise ValueError(f"{text!r} is not finite")
    return value


def _dollars(currency: str, prices: Mapping[str, float]) -> float:
    if currency == "USD":
        return 1.0
    return prices[f"{currency}/USD"] if f"{currency}/USD" in prices else 1.0 / prices[f"USD/{currency}"]
