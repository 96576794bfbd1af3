"""Put the newest valuations of one or several portfolios together, in one currency, to the minor unit.

Amounts are converted, added for each instrument and rounded once, half-even; every total is the sum of those
rounded rows, so that totals equal rows here as on the live stream, and one portfolio alone gives its own digits.

The day's profit in the target currency is that of the base currency at the rate of now, and what the move of the rate
since the prior close made of the rest of the value: so it is the change of the value seen in the target currency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics.rounding import to_minor
from api.portfolio.rates import Rate
from db.instruments import Instrument
from stream.messages import Valuation, ValuationRow

DIMENSIONS = ("asset_class", "sector", "country", "currency")
STATES = ("live", "close", "stale")  # of a price, the best first
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Holding:
    """Hold one instrument over all portfolios; amounts in minor units of the target currency unless local.

    `value_local` and `cost_basis` are in the instrument's currency. `price_ns` is 0 for cash.
    """

    symbol: str
    quantity: float
    price: float
    value: int
    day_pnl: int
    unrealised_pnl: int
    value_local: float
    cost_basis: float
    price_ns: int
    state: str

    @property
    def stale(self) -> bool:
        """Return whether its price is stale."""
        return self.state == "stale"


@dataclass(frozen=True, slots=True)
class Combined:
    """Hold portfolios as one: holdings by descending value, and totals in minor units of `currency`.

    `stale_share` is the fraction of gross value with a stale price, `oldest_price_ns` is 0 where only cash is held.
    """

    currency: str
    minor_units: int
    holdings: tuple[Holding, ...]
    total_equity: int
    cash: int
    buying_power: int
    day_pnl: int
    unrealised_pnl: int
    realised_pnl_today: int
    stale_share: float
    oldest_price_ns: int
    epoch: int
    seq: int
    event_ns: int

    def amount(self, minor: int) -> float:
        """Return minor units as an amount of the currency."""
        return float(minor / 10**self.minor_units)

    def contribution(self, holding: Holding) -> float:
        """Return what a holding adds to the day P&L, in percent of equity less day P&L: they add up to the total's."""
        opening = self.total_equity - self.day_pnl
        return 100.0 * holding.day_pnl / abs(opening) if opening else 0.0


def combine(
    valuations: Sequence[Valuation],
    rates: Mapping[str, Rate],
    currency: str,
    minor_units: int,
    instruments: Mapping[str, Instrument],
) -> Combined:
    """Combine valuations; `rates` says for each base currency how many units of `currency` one is and was.

    `epoch`, `seq` and `event_ns` are those of the one valuation, or of several the newest of each.
    """
    scale = 10.0**minor_units
    parts: dict[str, list[tuple[ValuationRow, Rate]]] = defaultdict(list)
    for valuation in valuations:
        rate = rates[valuation.base_currency]
        for row in valuation.rows:
            parts[row.symbol].append((row, Rate(rate.now * scale, rate.close * scale)))
    holdings = sorted((_merge(rows) for rows in parts.values()), key=lambda one: (-one.value, one.symbol))
    return Combined(
        currency=currency,
        minor_units=minor_units,
        holdings=tuple(holdings),
        total_equity=sum(one.value for one in holdings),
        cash=sum(one.value for one in holdings if _attribute(instruments, one.symbol, "asset_class") == "cash"),
        buying_power=sum(to_minor(one.buying_power * rates[one.base_currency].now * scale) for one in valuations),
        day_pnl=sum(one.day_pnl for one in holdings),
        unrealised_pnl=sum(one.unrealised_pnl for one in holdings),
        realised_pnl_today=sum(
            to_minor(one.realised_pnl_today * rates[one.base_currency].now * scale) for one in valuations
        ),
        stale_share=_stale_share(holdings),
        oldest_price_ns=min((one.oldest_price_ns for one in valuations if one.oldest_price_ns), default=0),
        epoch=max(one.epoch for one in valuations),
        seq=max(one.seq for one in valuations),
        event_ns=max(one.event_ns for one in valuations),
    )


def allocation(combined: Combined, instruments: Mapping[str, Instrument]) -> dict[str, dict[str, int]]:
    """Return minor units by asset class, sector, country and currency; each dimension sums to total equity."""
    found: dict[str, dict[str, int]] = {}
    for dimension in DIMENSIONS:
        sums: dict[str, int] = defaultdict(int)
        for holding in combined.holdings:
            sums[_attribute(instruments, holding.symbol, dimension)] += holding.value
        found[dimension] = dict(sorted(sums.items(), key=lambda item: -item[1]))
    return found


def _merge(parts: list[tuple[ValuationRow, Rate]]) -> Holding:
    newest = max((row for row, _ in parts), key=lambda row: row.price_ns)
    return Holding(
        symbol=newest.symbol,
        quantity=sum(row.quantity for row, _ in parts),
        price=newest.price,
        value=to_minor(sum(row.value * rate.now for row, rate in parts)),
        day_pnl=to_minor(sum(_day_pnl(row, rate) for row, rate in parts)),
        unrealised_pnl=to_minor(sum(row.unrealised_pnl * rate.now for row, rate in parts)),
        value_local=round(sum(row.value_local for row, _ in parts), 4),
        cost_basis=round(sum(row.cost_basis for row, _ in parts), 4),
        price_ns=newest.price_ns,
        state=max((row.state for row, _ in parts), key=STATES.index),
    )


def _stale_share(holdings: Sequence[Holding]) -> float:
    gross = sum(abs(one.value) for one in holdings)
    return sum(abs(one.value) for one in holdings if one.stale) / gross if gross else 0.0


def _day_pnl(row: ValuationRow, rate: Rate) -> float:
    return row.day_pnl * rate.now + (row.value - row.day_pnl) * (rate.now - rate.close)


def _attribute(instruments: Mapping[str, Instrument], symbol: str, name: str) -> str:
    instrument = instruments.get(symbol)
    return UNKNOWN if instrument is None else getattr(instrument, name)
