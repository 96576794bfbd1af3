"""Write one portfolio's valuation out: rows, totals and allocation, all from the same integers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from analytics.returns import percent_of_opening
from stream.book import Book, Portfolio
from stream.messages import Valuation, ValuationRow
from stream.pnl import CASH, DAY, DAY_PRICE, EQUITY, UNREALISED, Revaluation
from stream.prices import InstrumentSpec, PriceTable

DIMENSIONS = ("asset_class", "sector", "country", "currency")


def allocate(specs: Sequence[InstrumentSpec], values: Sequence[int]) -> dict[str, dict[str, int]]:
    """Sum the rows' values by asset class, sector, country and currency; each dimension sums to the total."""
    dimensions: dict[str, dict[str, int]] = {name: defaultdict(int) for name in DIMENSIONS}
    for spec, value in zip(specs, values, strict=True):
        dimensions["asset_class"][spec.asset_class] += value
        dimensions["sector"][spec.sector] += value
        dimensions["country"][spec.country] += value
        dimensions["currency"][spec.currency] += value
    return dimensions


def create_valuation(
    prices: PriceTable, book: Book, revaluation: Revaluation, portfolio: Portfolio, computed_ns: int
) -> Valuation:
    """Return the portfolio's valuation at its present (epoch, seq), as the last revaluation left it."""
    scale = float(prices.scale[portfolio.base])
    totals: list[int] = revaluation.totals[portfolio.index].tolist()
    amounts = [total / scale for total in totals]
    rows = revaluation.rows(portfolio)
    specs = [prices.specs[index] for index in book.instrument[book.run(portfolio)].tolist()]
    allocation = allocate(specs, rows[:, 0].tolist())
    cash = amounts[CASH]
    return Valuation(
        portfolio_id=portfolio.id,
        epoch=portfolio.epoch,
        seq=portfolio.seq,
        event_ns=prices.newest_ns,
        computed_ns=computed_ns,
        base_currency=prices.currencies[portfolio.base],
        total_equity=amounts[EQUITY],
        cash=cash,
        buying_power=max(cash, 0.0),
        market_value=(totals[EQUITY] - totals[CASH]) / scale,
        day_pnl=amounts[DAY],
        day_pnl_pct=percent_of_opening(totals[DAY], totals[EQUITY]),
        day_pnl_price=amounts[DAY_PRICE],
        day_pnl_currency=(totals[DAY] - totals[DAY_PRICE]) / scale,
        unrealised_pnl=amounts[UNREALISED],
        realised_pnl_today=round(float(book.realised[book.run(portfolio)].sum()) * scale) / scale,
        stale_share=float(revaluation.stale_share[portfolio.index]),
        oldest_price_ns=int(revaluation.oldest_price_ns[portfolio.index]),
        allocation={name: {key: value / scale for key, value in keys.items()} for name, keys in allocation.items()},
        rows=_rows(prices, book, portfolio, specs, rows.tolist(), totals[EQUITY]),
    )


def _rows(
    prices: PriceTable,
    book: Book,
    portfolio: Portfolio,
    specs: Sequence[InstrumentSpec],
    rows: Sequence[Sequence[int]],
    equity: int,
) -> list[ValuationRow]:
    run = book.run(portfolio)
    instruments = book.instrument[run]
    scale = float(prices.scale[portfolio.base])
    local_scale = prices.scale[prices.currency[instruments]].tolist()
    columns = (
        book.quantity[run].tolist(),
        book.cost_local[run].tolist(),
        prices.price[instruments].tolist(),
        prices.price_ns[instruments].tolist(),
        prices.stale[instruments].astype(np.bool_).tolist(),
    )
    return [
        ValuationRow(
            instrument=spec.id,
            symbol=spec.symbol,
            quantity=quantity,
            price=price,
            value=value / scale,
            value_local=value_local / digits,
            day_pnl=day / scale,
            day_pnl_pct=percent_of_opening(day, value),
            unrealised_pnl=unrealised / scale,
            cost_basis=round(cost * digits) / digits,
            weight=value / equity if equity else 0.0,
            price_ns=price_ns,
            stale=stale,
        )
        for spec, (
            value,
            day,
            _price_effect,
            unrealised,
            value_local,
        ), digits, quantity, cost, price, price_ns, stale in zip(specs, rows, local_scale, *columns, strict=True)
    ]
