"""Value a portfolio from positions, prices and rates in `Decimal`: what every live figure must equal.

For a position of quantity q at unit value p (price times factor, in the instrument's currency), q0 at the prior
close c, traded T (and Tb in base currency, at booking rates) since then, with the cross rate x now and y at the
prior close:

    value              v = [q p x]
    opening            o = [q0 c y]
    traded             t = [Tb]                         where nobody knows Tb: [T y]
    day P&L            v - o - t
      price effect     [q p y] - o - [T y]              what the prices did, at the rates of the prior close
      currency effect  day P&L - price effect
    unrealised P&L     v - [cost in base currency]      nothing for cash
    realised today     [realised, in base currency]

[ ] rounds once, half-even, to the minor unit (`analytics.rounding`). Everything else is a sum of such amounts, so
differences of figures on a page are the figures on that page, and totals equal rows exactly.

Nothing of the arithmetic is shared with the stream's compiled pass but the rounding rule: a fault in one shows
against the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Protocol

from analytics.rounding import to_minor_exact

REFERENCE_CURRENCY = "USD"
PRECISION = 40
ZERO = Decimal(0)


class HeldLine(Protocol):
    """Describe what is read of a position; `stream.messages.Position` is one, and says what each field means."""

    @property
    def instrument(self) -> int:
        """Return the instrument's number."""

    @property
    def quantity(self) -> Decimal:
        """Return what is held now."""

    @property
    def opening_quantity(self) -> Decimal:
        """Return what was held at the prior close."""

    @property
    def day_traded(self) -> Decimal:
        """Return what moved in since, in the instrument's currency."""

    @property
    def day_traded_base(self) -> Decimal | None:
        """Return the same in base currency at booking rates, or None where nobody knows."""

    @property
    def cost_basis_base(self) -> Decimal:
        """Return the average cost in base currency at booking rates."""

    @property
    def realised_today(self) -> Decimal:
        """Return the profit realised since the prior close, in base currency."""


class Priced(Protocol):
    """Describe what is read of an instrument; of a rate of exchange `base_currency` is set."""

    @property
    def id(self) -> int:
        """Return its number."""

    @property
    def asset_class(self) -> str:
        """Return what it is: cash and fx count here."""

    @property
    def currency(self) -> str:
        """Return the currency of its price."""

    @property
    def base_currency(self) -> str | None:
        """Return of a rate the currency whose unit is priced."""

    @property
    def price_factor(self) -> float:
        """Return the value of one unit at price 1."""

    @property
    def prior_close(self) -> float:
        """Return the prior close, NaN where there is none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Say how a unit of an instrument is valued: `price` now and `prior_close`, in its `currency`."""

    currency: str
    cash: bool
    factor: Decimal
    price: Decimal
    prior_close: Decimal


@dataclass(frozen=True, slots=True)
class Rates:
    """Hold the value of one unit of each currency in the reference currency, now and at the prior close."""

    now: Mapping[str, Decimal]
    close: Mapping[str, Decimal]
    minor_units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ExactRow:
    """Hold one row before rounding, in units of the base currency; the names are those of the formula above."""

    cash: bool
    value: Decimal
    opening: Decimal
    traded: Decimal
    value_at_close_rate: Decimal
    traded_at_close_rate: Decimal
    cost: Decimal
    realised: Decimal


@dataclass(frozen=True, slots=True)
class RowAmounts:
    """Hold one row, or the sum of rows, in whole minor units of the base currency."""

    value: int
    cash: int
    opening: int
    traded: int
    day_pnl: int
    day_pnl_price: int
    unrealised_pnl: int
    realised_today: int


@dataclass(frozen=True, slots=True)
class BatchValuation:
    """Hold the recomputation of a portfolio: rounded rows and their sum, and the rows before rounding."""

    totals: RowAmounts
    rows: tuple[RowAmounts, ...]
    exact: tuple[ExactRow, ...]


def create_inputs(
    specs: Iterable[Priced], marks: Mapping[int, Decimal], minor_units: Mapping[str, int]
) -> tuple[dict[int, Terms], Rates]:
    """Read instruments and the newest marks (by instrument id) as inputs; without a mark the prior close counts."""
    terms, now, close = {}, {REFERENCE_CURRENCY: Decimal(1)}, {REFERENCE_CURRENCY: Decimal(1)}
    with localcontext() as context:
        context.prec = PRECISION
        for spec in specs:
            cash = spec.asset_class == "cash"
            prior = Decimal(1) if cash else Decimal(0 if math.isnan(spec.prior_close) else spec.prior_close)
            mark = Decimal(1) if cash else marks.get(spec.id, prior)
            terms[spec.id] = Terms(spec.currency, cash, Decimal(repr(spec.price_factor)), mark, prior)
            if spec.base_currency is not None and spec.currency == REFERENCE_CURRENCY:
                now[spec.base_currency], close[spec.base_currency] = mark, prior
            elif spec.base_currency == REFERENCE_CURRENCY:
                now[spec.currency], close[spec.currency] = 1 / mark, 1 / prior
    return terms, Rates(now, close, minor_units)


def revalue(base: str, lines: Sequence[HeldLine], terms: Mapping[int, Terms], rates: Rates) -> BatchValuation:
    """Value a portfolio from nothing; raises `KeyError` for an instrument or currency it is not told of."""
    with localcontext() as context:
        context.prec = PRECISION
        exact = tuple(_exact_row(line, terms[line.instrument], base, rates) for line in lines)
        scale = Decimal(10) ** rates.minor_units[base]
        rows = tuple(_round_row(row, scale) for row in exact)
    return BatchValuation(_sum_rows(rows), rows, exact)


def _exact_row(line: HeldLine, terms: Terms, base: str, rates: Rates) -> ExactRow:
    now = rates.now[terms.currency] / rates.now[base]
    close = rates.close[terms.currency] / rates.close[base]
    local = line.quantity * terms.price * terms.factor
    traded_at_close = line.day_traded * close
    return ExactRow(
        cash=terms.cash,
        value=local * now,
        opening=line.opening_quantity * terms.prior_close * terms.factor * close,
        traded=traded_at_close if line.day_traded_base is None else line.day_traded_base,
        value_at_close_rate=local * close,
        traded_at_close_rate=traded_at_close,
        cost=line.cost_basis_base,
        realised=line.realised_today,
    )


def _round_row(row: ExactRow, scale: Decimal) -> RowAmounts:
    value, opening = to_minor_exact(row.value * scale), to_minor_exact(row.opening * scale)
    traded = to_minor_exact(row.traded * scale)
    at_close = to_minor_exact(row.value_at_close_rate * scale) - to_minor_exact(row.traded_at_close_rate * scale)
    return RowAmounts(
        value=value,
        cash=value if row.cash else 0,
        opening=opening,
        traded=traded,
        day_pnl=value - opening - traded,
        day_pnl_price=at_close - opening,
        unrealised_pnl=0 if row.cash else value - to_minor_exact(row.cost * scale),
        realised_today=to_minor_exact(row.realised * scale),
    )


def _sum_rows(rows: Sequence[RowAmounts]) -> RowAmounts:
    return RowAmounts(
        value=sum(row.value for row in rows),
        cash=sum(row.cash for row in rows),
        opening=sum(row.opening for row in rows),
        traded=sum(row.traded for row in rows),
        day_pnl=sum(row.day_pnl for row in rows),
        day_pnl_price=sum(row.day_pnl_price for row in rows),
        unrealised_pnl=sum(row.unrealised_pnl for row in rows),
        realised_today=sum(row.realised_today for row in rows),
    )
