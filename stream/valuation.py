"""Turn what a revaluation left behind into the document of one portfolio."""

from __future__ import annotations

from analytics.returns import percent_of_opening
from stream.book import Book, Portfolio
from stream.messages import Valuation, ValuationRow
from stream.pnl import DAY, DAY_PRICE, REALISED_TODAY, UNREALISED, VALUE, Revaluation
from stream.prices import STALE, STATES, PriceTable


def create_valuation(
    prices: PriceTable, book: Book, revaluation: Revaluation, portfolio: Portfolio, computed_ns: int
) -> Valuation:
    """Return the portfolio's valuation at its present (epoch, seq), as the last revaluation left it."""
    scale = float(prices.scale[portfolio.base])
    rows = revaluation.rows(portfolio)
    totals = rows.sum(axis=0).tolist()
    instruments = book.instrument[book.run(portfolio)]
    sizes = abs(rows[:, VALUE])
    gross = float(sizes.sum())
    times = prices.price_ns[instruments][~prices.cash[instruments]]
    equity, day = totals[VALUE], totals[DAY]
    cash = float(rows[prices.cash[instruments], VALUE].sum())
    return Valuation(
        portfolio_id=portfolio.id,
        epoch=portfolio.epoch,
        seq=portfolio.seq,
        event_ns=prices.newest_ns,
        computed_ns=computed_ns,
        base_currency=prices.currencies[portfolio.base],
        total_equity=equity / scale,
        cash=cash / scale,
        buying_power=max(cash, 0.0) / scale,
        market_value=(equity - cash) / scale,
        day_pnl=day / scale,
        day_pnl_pct=percent_of_opening(day, equity),
        day_pnl_price=totals[DAY_PRICE] / scale,
        day_pnl_currency=(day - totals[DAY_PRICE]) / scale,
        unrealised_pnl=totals[UNREALISED] / scale,
        realised_pnl_today=totals[REALISED_TODAY] / scale,
        stale_share=float(sizes[prices.state[instruments] == STALE].sum()) / gross if gross else 0.0,
        oldest_price_ns=int(times.min()) if len(times) else 0,
        allocation=revaluation.dimensions.describe(revaluation.sums[portfolio.index], scale),
        rows=_rows(prices, book, portfolio, rows.tolist(), equity, equity - day),
        version=portfolio.version,
        rates=_rates(prices, portfolio, {prices.specs[one].currency for one in instruments.tolist()}),
    )


def _rates(prices: PriceTable, portfolio: Portfolio, currencies: set[str]) -> dict[str, tuple[float, float]]:
    """Return units of base currency for one of each other currency: now, and at the prior close."""
    base, scale = portfolio.base, float(prices.scale[portfolio.base])
    close = prices.cross_close[portfolio.zone]
    found = sorted((code, prices.currency_index[code]) for code in currencies)
    return {
        code: (float(prices.cross[index, base]) / scale, float(close[index, base]) / scale)
        for code, index in found
        if index != base
    }


def _rows(
    prices: PriceTable, book: Book, portfolio: Portfolio, rows: list[list[float]], equity: float, opening: float
) -> list[ValuationRow]:
    """Return the rows; `opening` is what contributions to the day's P&L are a share of."""
    run = book.run(portfolio)
    instruments = book.instrument[run]
    scale = float(prices.scale[portfolio.base])
    per_opening = 100.0 / abs(opening) if opening else 0.0
    columns = (
        instruments.tolist(),
        prices.scale[prices.currency[instruments]].tolist(),
        book.quantity[run].tolist(),
        prices.price[instruments].tolist(),
        prices.price_ns[instruments].tolist(),
        prices.state[instruments].tolist(),
        prices.closes(portfolio.zone, instruments).tolist(),
    )
    found = []
    for (value, day, day_price, unrealised, _, local, cost), index, digits, quantity, price, at, state, close in zip(
        rows, *columns, strict=True
    ):
        spec = prices.specs[index]
        found.append(
            ValuationRow(
                instrument=spec.id,
                symbol=spec.symbol,
                quantity=quantity,
                price=price,
                value=value / scale,
                value_local=local / digits,
                day_pnl=day / scale,
                day_pnl_pct=percent_of_opening(day, value),
                unrealised_pnl=unrealised / scale,
                cost_basis=cost / digits,
                weight=value / equity if equity else 0.0,
                price_ns=at,
                stale=state == STALE,
                prior_close=close,
                day_pnl_price=day_price / scale,
                contribution=day * per_opening,
                state=STATES[state],
            )
        )
    return found
