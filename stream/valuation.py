"""Turn what a revaluation left behind into the document of one portfolio."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from analytics.returns import percent_of_opening
from stream import kernels
from stream.book import Book, Portfolio
from stream.kernels import DAY, DAY_PRICE, REALISED_TODAY, UNREALISED, VALUE
from stream.messages import Valuation, ValuationRow
from stream.pnl import Revaluation
from stream.prices import STALE, STATES, PriceTable


def create_valuation(
    prices: PriceTable, book: Book, revaluation: Revaluation, portfolio: Portfolio, computed_ns: int
) -> Valuation:
    """Return the portfolio's valuation at its present (epoch, seq), as the last revaluation left it."""
    scale = float(prices.scale[portfolio.base])
    rows = revaluation.rows(portfolio)
    totals = rows.sum(axis=0).tolist()
    instruments = book.instrument[book.run(portfolio)]
    is_cash, states = prices.cash[instruments], prices.state[instruments]
    sizes = np.abs(rows[:, VALUE])
    gross, times = float(sizes.sum()), prices.price_ns[instruments]
    equity, day, cash = totals[VALUE], totals[DAY], float(rows[is_cash, VALUE].sum())
    quoted = times[~is_cash]
    return Valuation(
        portfolio_id=portfolio.id,
        epoch=portfolio.epoch,
        seq=portfolio.seq,
        event_ns=prices.valued_ns,
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
        stale_share=float(sizes[states == STALE].sum()) / gross if gross else 0.0,
        oldest_price_ns=int(quoted.min()) if len(quoted) else 0,
        allocation=revaluation.allocation(portfolio),
        rows=_rows(prices, book, portfolio, rows, equity, day, times.tolist(), states.tolist()),
        version=portfolio.version,
        day_start_ns=book.day_starts_ns[portfolio.zone],
        rates=_rates(prices, portfolio, set(prices.currency[instruments].tolist())),
    )


def _rows(
    prices: PriceTable,
    book: Book,
    portfolio: Portfolio,
    rows: npt.NDArray[np.float64],
    equity: float,
    day: float,
    times: list[int],
    states: list[int],
) -> list[ValuationRow]:
    run = book.run(portfolio)
    shown = np.empty((len(rows), len(kernels.SHOWN)))
    kernels.show_rows(
        run.start,
        portfolio.base,
        rows,
        equity,
        equity - day,
        book.instrument,
        book.quantity,
        prices.price,
        prices.prior_close[portfolio.zone],
        prices.currency,
        prices.scale,
        shown,
    )
    specs, found = prices.specs, []
    for index, figures, at, state in zip(book.instrument[run].tolist(), shown.tolist(), times, states, strict=True):
        spec = specs[index]
        quantity, price, value, local, gain, percent, unrealised, cost, weight, close, price_gain, share = figures
        row = ValuationRow(
            spec.id, spec.symbol, quantity, price, value, local, gain, percent, unrealised, cost, weight, at,
            state == STALE, close, price_gain, share, STATES[state],
        )  # fmt: skip
        found.append(row)
    return found


def _rates(prices: PriceTable, portfolio: Portfolio, held_in: Collection[int]) -> dict[str, tuple[float, float]]:
    """Return units of base currency for one of each other currency: now, and at the prior close."""
    base, scale = portfolio.base, float(prices.scale[portfolio.base])
    now, close = prices.cross, prices.cross_close[portfolio.zone]
    return {
        prices.currencies[one]: (float(now[one, base]) / scale, float(close[one, base]) / scale)
        for one in sorted(held_in)
        if one != base
    }
