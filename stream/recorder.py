"""Record the end of every minute, and of every day, in PostgreSQL.

A minute is the state when its last second has passed. It is kept in memory until PostgreSQL has it, an hour
at most; writing it again changes nothing, and a worker that lost its partition writes none of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import numpy as np
import structlog

from db.closing import Flow, Holding, external_flows, last_equities, write_holdings
from db.epochs import lost_partitions
from db.history import (
    DailyValuation,
    MinuteValuation,
    last_minutes,
    unclosed_days,
    write_daily_valuations,
    write_minute_valuations,
)
from db.instruments import record_closes
from db.postgres import acquire
from stream.book import Portfolio
from stream.messages import POSITIONS_TOPIC, ValuationRow
from stream.metrics import DROPPED, MINUTES_WAITING
from stream.processor import BookTotals, Processor
from stream.valuation import create_valuation

log = structlog.get_logger()

MINUTES_KEPT = 60
HOLDINGS_PER_MINUTE = 500
PERCENT_LIMIT = 999_999.0  # numeric(12, 6); a dividend on an empty account gains more, and means nothing
AMOUNT_LIMIT = (
    10**15
)  # numeric(20, 4) holds ten times as much; what is more must not keep the others from being written


@dataclass(frozen=True, slots=True)
class Minute:
    """Hold what one minute leaves behind: a row a portfolio, and the newest prices by instrument id.

    `at` is the start of the minute, so that the last minute of a day belongs to that day.
    """

    at: datetime
    rows: tuple[tuple[int, MinuteValuation], ...]
    prices: Mapping[int, float]


class Recorder:
    """Write minutes, closes and holdings under the worker's epochs (partition → epoch)."""

    def __init__(self, pool: asyncpg.Pool, processor: Processor, epochs: Mapping[int, int]) -> None:
        self._pool = pool
        self._processor = processor
        self._epochs = epochs
        self._waiting: deque[Minute] = deque()
        self._versions: dict[str, int] = {}

    def keep(self, at: datetime) -> None:
        """Take down the minute that began at `at` and ends now; when an hour waits already, the oldest is given up."""
        if len(self._waiting) >= MINUTES_KEPT:
            lost = self._waiting.popleft()
            DROPPED.labels("minutes").inc()
            log.error("a minute of valuations is lost: PostgreSQL was away for an hour", minute=lost.at.isoformat())
        self._waiting.append(self._minute(at))
        MINUTES_WAITING.set(len(self._waiting))

    async def write(self) -> None:
        """Write all that waits; raises what asyncpg raises, and then keeps what is not written."""
        while self._waiting:
            minute = self._waiting[0]
            async with acquire(self._pool) as connection, connection.transaction():
                lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
                rows = [row for partition, row in minute.rows if partition not in lost]
                await write_minute_valuations(connection, rows)
                await record_closes(connection, minute.at.date(), minute.prices)
                versions = await self._write_holdings(connection, lost)
            self._versions.update(versions)
            self._waiting.popleft()
            MINUTES_WAITING.set(len(self._waiting))

    async def close_days(self, before: date) -> None:
        """Close every day before `before` that has minutes but no close: the one that ends, or that nobody saw end."""
        async with acquire(self._pool) as connection:
            days = await unclosed_days(connection, before)
        for day in days:
            await self.close_day(day)

    async def close_day(self, day: date) -> None:
        """Write each portfolio's close of `day`, the last minute stored of it: equity, external flows and return.

        The return is time-weighted. Nothing is written of partitions that another worker has taken.
        """
        async with acquire(self._pool) as connection, connection.transaction():
            lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
            flows = self._flows_in_base(await external_flows(connection, day))
            before = await last_equities(connection, day)
            rows = [
                _daily(row, day, flows, before)
                for row in await last_minutes(connection, day)
                if self._is_ours(row.portfolio_id, lost)
            ]
            await write_daily_valuations(connection, rows)

    def _is_ours(self, portfolio: UUID, lost: set[int]) -> bool:
        held = self._processor.portfolio(str(portfolio))
        return held is not None and held.partition not in lost

    def _minute(self, at: datetime) -> Minute:
        processor = self._processor
        totals, prices = processor.totals(), processor.prices
        rows = []
        for portfolio in processor.book.portfolios:
            row = self._row(portfolio, totals, at)
            if max(abs(row.total_equity), abs(row.cash), abs(row.day_pnl), abs(row.unrealised_pnl)) < AMOUNT_LIMIT:
                rows.append((portfolio.partition, row))
            else:
                log.error("a portfolio is worth more than tables hold; its minute is left out", portfolio=portfolio.id)
        quoted = np.flatnonzero((prices.mark_ns > 0) & ~prices.cash).tolist()
        return Minute(at, tuple(rows), {prices.specs[one].id: float(prices.mark[one]) for one in quoted})

    def _row(self, portfolio: Portfolio, totals: BookTotals, at: datetime) -> MinuteValuation:
        index, scale = portfolio.index, self._scale(portfolio)
        equity, cash = int(totals.total_equity[index]), int(totals.cash[index])
        day, price = int(totals.day_pnl[index]), int(totals.day_pnl_price[index])
        return MinuteValuation(
            portfolio_id=UUID(portfolio.id),
            minute=at,
            epoch=portfolio.epoch,
            seq=portfolio.seq,
            base_currency=self._processor.prices.currencies[portfolio.base],
            total_equity=equity / scale,
            cash=cash / scale,
            market_value=(equity - cash) / scale,
            day_pnl=day / scale,
            day_pnl_price=price / scale,
            day_pnl_currency=(day - price) / scale,
            unrealised_pnl=int(totals.unrealised_pnl[index]) / scale,
            stale_share=float(totals.stale_share[index]),
            buying_power=max(cash, 0) / scale,
            day_pnl_pct=_storable_percent(float(totals.day_pnl_pct[index])),
        )

    async def _write_holdings(self, connection: asyncpg.Connection, lost: set[int]) -> dict[str, int]:
        """Write the holdings of portfolios whose positions have changed since; return the versions written."""
        changed = [
            portfolio
            for portfolio in self._processor.book.portfolios
            if self._versions.get(portfolio.id) != portfolio.version and portfolio.partition not in lost
        ][:HOLDINGS_PER_MINUTE]
        versions = {portfolio.id: portfolio.version for portfolio in changed}
        rows = []
        for portfolio in changed:
            valuation = create_valuation(
                self._processor.prices, self._processor.book, self._processor.revaluation, portfolio, 0
            )
            rows += [_holding(UUID(portfolio.id), row) for row in valuation.rows if abs(row.value) < AMOUNT_LIMIT]
        if versions:
            await write_holdings(connection, [UUID(one) for one in versions], rows)
        return versions

    def _scale(self, portfolio: Portfolio) -> Decimal:
        return Decimal(int(self._processor.prices.scale[portfolio.base]))

    def _flows_in_base(self, flows: list[Flow]) -> dict[str, Decimal]:
        """Convert flows at the rates of now and sum them by portfolio, to the minor unit."""
        summed: dict[str, Decimal] = {}
        for flow in flows:
            portfolio = self._processor.portfolio(str(flow.portfolio_id))
            if portfolio is None:
                continue
            prices = self._processor.prices
            rate = prices.rate(flow.currency, prices.currencies[portfolio.base])
            digits = self._scale(portfolio).adjusted()  # 100 has two
            amount = round(flow.amount * Decimal(rate), digits)
            summed[portfolio.id] = summed.get(portfolio.id, Decimal(0)) + amount
        return summed


def _daily(
    closing: MinuteValuation, day: date, flows: Mapping[str, Decimal], before: Mapping[UUID, Decimal]
) -> DailyValuation:
    opening = before.get(closing.portfolio_id, Decimal(0))
    flow = flows.get(str(closing.portfolio_id), Decimal(0))
    gained = float((closing.total_equity - flow) / opening - 1) if opening > 0 else 0.0
    return DailyValuation(closing.portfolio_id, day, closing.total_equity, flow, gained)


def _holding(portfolio: UUID, row: ValuationRow) -> Holding:
    percent = _storable_percent(row.day_pnl_pct)
    return Holding(portfolio, row.instrument, row.quantity, row.price, row.value, row.day_pnl, percent)


def _storable_percent(percent: float) -> float:
    return min(max(percent, -PERCENT_LIMIT), PERCENT_LIMIT)


def minute_of(now: datetime) -> datetime:
    """Return the start of the minute that `now` is in."""
    return now.astimezone(UTC).replace(second=0, microsecond=0)
