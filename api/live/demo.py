"""Show an invented portfolio to whoever writes a client: the stream `demo`, without a bank and without a sign-in.

Its prices are a function of the clock, so every process shows the same: waves of a few periods, and a little noise. It
does on purpose what a real portfolio does seldom, so that a client can be tried: a row comes and goes every half
minute, and every ten minutes a new epoch begins.
"""

from __future__ import annotations

import math
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics.returns import percent_of_opening
from analytics.rounding import to_minor
from api.live.stream import LiveStream
from api.live.valuation import portfolio_document
from db.instruments import Instrument
from stream.messages import Valuation, ValuationRow

if TYPE_CHECKING:
    from api.live.protocol import StreamName

STEPS_PER_S = 5
EPOCH_S = 600
GUEST_ROW_S = 30
NS = 1_000_000_000
CENTS = 100
PERIODS_S = (11.0, 47.0, 181.0)


@dataclass(frozen=True, slots=True)
class Holding:
    """Hold an invented position, in dollars."""

    instrument: Instrument
    quantity: float
    close: float

    @property
    def symbol(self) -> str:
        """Return its symbol."""
        return self.instrument.symbol

    @property
    def is_cash(self) -> bool:
        """Say whether it is cash."""
        return self.instrument.asset_class == "cash"


def _invent(number: int, symbol: str, name: str, kind: str, sector: str, country: str) -> Instrument:
    return Instrument(number, symbol, None, name, kind, sector, country, "USD", None, 1.0, 0.01, "invented")


HOLDINGS = (
    Holding(_invent(1, "ALPHA", "Alpha Motors (invented)", "equity", "Consumer", "US"), 120, 84.20),
    Holding(_invent(2, "BRAVO", "Bravo Grid (invented)", "equity", "Utilities", "CH"), 300, 41.75),
    Holding(_invent(3, "CEDAR", "Cedar World Fund (invented)", "fund", "Diversified", "LU"), 55, 212.40),
    Holding(_invent(4, "DELTA", "Delta Systems (invented)", "equity", "Technology", "US"), 40, 391.10),
    Holding(_invent(5, "USD", "Dollars", "cash", "Cash", "US"), 7_500, 1.0),
)
GUEST = Holding(_invent(6, "EMBER", "Ember Air (invented)", "equity", "Transport", "GB"), 80, 25.50)
INSTRUMENTS = {one.symbol: one.instrument for one in (*HOLDINGS, GUEST)}


class DemoStream(LiveStream):
    """Hold `demo`: a document of a portfolio, new five times a second."""

    def __init__(self, name: StreamName) -> None:
        super().__init__(name, "symbol")

    def refresh(self) -> None:
        """Bring the state up to now."""
        valuation = value_at(time.time_ns())
        self.state.apply(portfolio_document(valuation, "Demonstration (invented prices)", INSTRUMENTS))


def value_at(now_ns: int) -> Valuation:
    """Return the invented portfolio as of a time; the same for every time within a step of it."""
    step = now_ns * STEPS_PER_S // NS
    epoch, seq = divmod(step, EPOCH_S * STEPS_PER_S)
    event_ns = step * NS // STEPS_PER_S
    shown = HOLDINGS if event_ns // NS // GUEST_ROW_S % 2 else (*HOLDINGS, GUEST)
    prices = {one.symbol: price_at(one, step) for one in shown}
    cents = {one.symbol: to_minor(one.quantity * prices[one.symbol] * CENTS) for one in shown}
    gains = {one.symbol: cents[one.symbol] - to_minor(one.quantity * one.close * CENTS) for one in shown}
    equity, gain = sum(cents.values()), sum(gains.values())
    rows = [
        _row(one, prices[one.symbol], cents[one.symbol], gains[one.symbol], equity, gain, event_ns) for one in shown
    ]
    cash = sum(cents[one.symbol] for one in shown if one.is_cash)
    return Valuation(
        portfolio_id="demo",
        epoch=epoch,
        seq=seq + 1,
        event_ns=event_ns,
        computed_ns=event_ns,
        base_currency="USD",
        total_equity=equity / CENTS,
        cash=cash / CENTS,
        buying_power=cash / CENTS,
        market_value=(equity - cash) / CENTS,
        day_pnl=gain / CENTS,
        day_pnl_pct=percent_of_opening(gain, equity),
        day_pnl_price=gain / CENTS,
        day_pnl_currency=0.0,
        unrealised_pnl=gain / CENTS,
        realised_pnl_today=0.0,
        stale_share=0.0,
        oldest_price_ns=event_ns,
        allocation=_allocation(shown, cents),
        rows=rows,
    )


def price_at(holding: Holding, step: int) -> float:
    """Return an invented price: two percent of waves around the close, a twentieth of it noise."""
    if holding.is_cash:
        return 1.0
    seconds = step / STEPS_PER_S
    waves = sum(math.sin(math.tau * seconds / period + holding.instrument.id) for period in PERIODS_S) / len(PERIODS_S)
    noise = zlib.crc32(f"{holding.instrument.id}:{step}".encode()) / 2**32 - 0.5
    return round(holding.close * (1 + 0.02 * waves + 0.001 * noise), 2)


def _row(
    holding: Holding, price: float, cents: int, gain: int, equity: int, whole_gain: int, event_ns: int
) -> ValuationRow:
    opening = equity - whole_gain
    return ValuationRow(
        instrument=holding.instrument.id,
        symbol=holding.symbol,
        quantity=float(holding.quantity),
        price=price,
        value=cents / CENTS,
        value_local=cents / CENTS,
        day_pnl=gain / CENTS,
        day_pnl_pct=percent_of_opening(gain, cents),
        unrealised_pnl=gain / CENTS,
        cost_basis=(cents - gain) / CENTS,
        weight=cents / equity,
        price_ns=0 if holding.is_cash else event_ns,
        stale=False,
        prior_close=holding.close,
        day_pnl_price=gain / CENTS,
        contribution=100.0 * gain / opening,
    )


def _allocation(shown: tuple[Holding, ...], cents: dict[str, int]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for dimension in ("asset_class", "sector", "country", "currency"):
        sums: dict[str, int] = defaultdict(int)
        for one in shown:
            sums[getattr(one.instrument, dimension)] += cents[one.symbol]
        found[dimension] = {key: amount / CENTS for key, amount in sums.items()}
    return found
