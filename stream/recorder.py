"""Record the end of every minute, and of every day, in PostgreSQL.

A minute is the state when its last second has passed, and the prices it was computed from. It is kept in memory until
PostgreSQL has it, an hour at most; writing it again changes nothing, and a worker that lost its partition writes none
of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
import structlog

from analytics.calendar import EndedDay, ZoneDay
from db.binary_copy import Rows, timestamp
from db.closing import Flow, Holding, external_flows, last_equities, write_holdings
from db.epochs import lost_partitions
from db.history import DailyValuation, newest_close, write_daily_valuations
from db.hours import ClosingEquity, last_points, pack_hours
from db.instruments import record_closes
from db.minutes import (
    MINUTE_LAYOUT,
    MinutePrices,
    OpeningPrices,
    update_totals,
    write_minutes,
    write_openings,
    write_prices,
)
from db.postgres import acquire
from stream.book import Book, Portfolio
from stream.messages import POSITIONS_TOPIC, ValuationRow
from stream.metrics import DROPPED, FENCED_WRITES, MINUTES_WAITING
from stream.prices import PriceTable
from stream.processor import Processor
from stream.roll import Days
from stream.valuation import create_valuation

log = structlog.get_logger()

MINUTES_KEPT = 60
HOLDINGS_PER_MINUTE = 500
TOTALS_EVERY = 5  # minutes: rewriting a row costs five times what appending one does, so a fifth is rewritten a minute
PERCENT_LIMIT = 999_999.0  # numeric(12, 6); a dividend on an empty account gains more, and means nothing


@dataclass(frozen=True, slots=True)
class Order:
    """Hold what is fixed of the portfolios of a layout of the book: who stands where in a minute's rows.

    Rows are in order of id, as the index has them: `index` is where each stands in the book.
    """

    layout: int
    index: npt.NDArray[np.intp]
    ids: npt.NDArray[np.void]
    partition: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Minute:
    """Hold what one minute leaves behind; `at` is its start, so that the last minute of a day belongs to that day.

    `rows` are ready for PostgreSQL, each of the partition beside it. `closes` are the newest prices by the date on
    whose session they were made, and by id.
    """

    at: datetime
    rows: Rows
    partition: npt.NDArray[np.int32]
    prices: MinutePrices
    openings: tuple[OpeningPrices, ...]
    closes: Mapping[date, Mapping[int, float]]


class Recorder:
    """Write minutes, closes and holdings under the worker's epochs (partition → epoch) and its assignment's number."""

    def __init__(
        self, pool: asyncpg.Pool, processor: Processor, epochs: Mapping[int, int], assignment: int, days: Days
    ) -> None:
        self._pool = pool
        self._processor = processor
        self._epochs = epochs
        self._days = days
        self._assignment = assignment
        self._waiting: deque[Minute] = deque()
        self._versions: dict[str, int] = {}
        self._order = _order(processor.book)
        self._openings: dict[str, OpeningPrices] = {}  # as PostgreSQL has them

    @property
    def waiting(self) -> int:
        """Return how many minutes PostgreSQL does not have yet."""
        return len(self._waiting)

    def keep(self, at: datetime) -> None:
        """Take down the minute that began at `at` and ends now; when an hour waits already, the oldest is given up."""
        if len(self._waiting) >= MINUTES_KEPT:
            lost = self._waiting.popleft()
            DROPPED.labels("minutes").inc()
            log.error("a minute of valuations is lost: PostgreSQL was away for an hour", minute=lost.at.isoformat())
        self._waiting.append(self._minute(at))
        MINUTES_WAITING.set(len(self._waiting))

    async def write(self) -> None:
        """Write all that waits, then what follows from it; raises what asyncpg raises, and keeps the rest."""
        if not self._waiting:
            return
        newest = self._waiting[-1].at
        while self._waiting:
            await self._write_minute(self._waiting[0])
            self._waiting.popleft()
            MINUTES_WAITING.set(len(self._waiting))
        await self._write_totals(newest)
        await self._write_holdings()
        async with acquire(self._pool) as connection:
            await pack_hours(connection, newest)

    async def close_days(self, days: Mapping[str, ZoneDay]) -> None:
        """Close the days before these, by time zone, that have minutes but no close: unseen ones, a month at most."""
        for zone, today in days.items():
            row = self._processor.prices.zones.get(zone)
            portfolios = [UUID(one.id) for one in self._processor.book.portfolios if one.zone == row]
            async with acquire(self._pool) as connection:
                newest = await newest_close(connection, portfolios, today.day)
            for ended in self._days.calendar.ended_days(zone, newest, today.day):
                await self.close_day(portfolios, ended)

    async def close_day(self, portfolios: Sequence[UUID], ended: EndedDay) -> None:
        """Write the close of a day of these portfolios, the last minute stored of it: equity, flows and return.

        The return is time-weighted. Nothing is written of partitions that another worker has taken.
        """
        async with acquire(self._pool) as connection, connection.transaction():
            lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
            kept = [one for one in portfolios if self._is_ours(one, lost)]
            flows = self._flows_in_base(await external_flows(connection, kept, ended.since, ended.until))
            before = await last_equities(connection, kept, ended.day)
            closing = await last_points(connection, kept, ended.since, ended.until)
            await write_daily_valuations(connection, [_daily(row, ended, flows, before) for row in closing])

    def _is_ours(self, portfolio: UUID, lost: set[int]) -> bool:
        held = self._processor.portfolio(str(portfolio))
        return held is not None and held.partition not in lost

    def _minute(self, at: datetime) -> Minute:
        processor = self._processor
        prices = processor.prices
        if self._order.layout != processor.book.layout:
            self._order = _order(processor.book)
        return Minute(
            at,
            _rows(processor, self._order, at, self._assignment),
            self._order.partition,
            _prices(prices),
            _openings(processor),
            self._days.closes(),
        )

    async def _write_minute(self, minute: Minute) -> None:
        async with acquire(self._pool) as connection, connection.transaction():
            lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
            rows = minute.rows[~np.isin(minute.partition, list(lost))] if lost else minute.rows
            await write_minutes(connection, minute.at, rows)
            await write_prices(connection, minute.at, self._assignment, minute.prices)
            fresh = [one for one in minute.openings if self._openings.get(one.time_zone) != one]
            await write_openings(connection, minute.at, self._assignment, fresh)
            for day, closes in minute.closes.items():
                await record_closes(connection, day, closes)
        FENCED_WRITES.labels("postgres").inc(len(minute.rows) - len(rows))
        self._openings.update({one.time_zone: one for one in fresh})

    async def _write_totals(self, minute: datetime) -> None:
        """Make the minute the totals of a part of the portfolios, each part in its turn."""
        turn = minute.minute % TOTALS_EVERY
        ids = [UUID(bytes=one.tobytes()) for one in self._order.ids[turn::TOTALS_EVERY]]
        async with acquire(self._pool) as connection:
            await update_totals(connection, minute, ids)

    async def _write_holdings(self) -> None:
        """Write the holdings of portfolios whose positions have changed since, some hundreds a minute."""
        async with acquire(self._pool) as connection, connection.transaction():
            lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
            changed = [
                portfolio
                for portfolio in self._processor.book.portfolios
                if self._versions.get(portfolio.id) != portfolio.version and portfolio.partition not in lost
            ][:HOLDINGS_PER_MINUTE]
            versions = {portfolio.id: portfolio.version for portfolio in changed}
            rows = [_holding(UUID(one.id), row) for one in changed for row in self._valued(one)]
            if versions:
                await write_holdings(connection, [UUID(one) for one in versions], rows)
        self._versions.update(versions)

    def _valued(self, portfolio: Portfolio) -> list[ValuationRow]:
        processor = self._processor
        return create_valuation(processor.prices, processor.book, processor.revaluation, portfolio, 0).rows

    def _flows_in_base(self, flows: list[Flow]) -> dict[str, Decimal]:
        """Convert flows at the rates of now and sum them by portfolio, to the minor unit."""
        summed: dict[str, Decimal] = {}
        for flow in flows:
            portfolio = self._processor.portfolio(str(flow.portfolio_id))
            if portfolio is None:
                continue
            prices = self._processor.prices
            rate = prices.rate(flow.currency, prices.currencies[portfolio.base])
            digits = Decimal(int(prices.scale[portfolio.base])).adjusted()  # 100 has two
            amount = round(flow.amount * Decimal(rate), digits)
            summed[portfolio.id] = summed.get(portfolio.id, Decimal(0)) + amount
        return summed


def _order(book: Book) -> Order:
    ids = np.frombuffer(b"".join(UUID(portfolio.id).bytes for portfolio in book.portfolios), "V16")
    index = np.argsort(ids.view("S16"), kind="stable") if len(ids) else np.empty(0, np.intp)
    partition = np.array([portfolio.partition for portfolio in book.portfolios], np.int32)
    return Order(book.layout, index, ids[index], partition[index])


def _rows(processor: Processor, order: Order, at: datetime, assignment: int) -> Rows:
    """Return the minute's rows as PostgreSQL takes them."""
    book, totals, index = processor.book, processor.totals(), order.index
    rows = MINUTE_LAYOUT.rows(len(index))
    rows["minute"], rows["portfolio_id"], rows["assignment"] = timestamp(at), order.ids, assignment
    for name in ("epoch", "seq", "version"):
        column = np.fromiter((getattr(one, name) for one in book.portfolios), np.int64, len(index))
        rows[name] = column[index]
    for name in ("total_equity", "cash", "day_pnl", "day_pnl_price", "unrealised_pnl", "stale_share"):
        rows[name] = getattr(totals, name)[index]
    rows["base_currency"] = np.array(processor.prices.currencies, "S3")[book.base[: len(index)][index]]
    return rows


def _prices(prices: PriceTable) -> MinutePrices:
    return MinutePrices(
        [spec.id for spec in prices.specs], prices.price.tolist(), prices.price_ns.tolist(), prices.state.tolist()
    )


def _openings(processor: Processor) -> tuple[OpeningPrices, ...]:
    """Return what each time zone's day began with: it is the worker that decides which day it is, and from when."""
    prices, instruments = processor.prices, tuple(spec.id for spec in processor.prices.specs)
    return tuple(
        OpeningPrices(
            zone,
            datetime.fromtimestamp(processor.book.day_starts_ns[row] // 10**9, UTC),
            instruments,
            tuple(np.nan_to_num(prices.prior_close[row], nan=0.0).tolist()),
        )
        for zone, row in prices.zones.items()
        if row in processor.book.day_starts_ns
    )


def _daily(
    closing: ClosingEquity, ended: EndedDay, flows: Mapping[str, Decimal], before: Mapping[UUID, Decimal]
) -> DailyValuation:
    opening = before.get(closing.portfolio_id, Decimal(0))
    flow = flows.get(str(closing.portfolio_id), Decimal(0))
    gained = float((closing.total_equity - flow) / opening - 1) if opening > 0 else 0.0
    return DailyValuation(closing.portfolio_id, ended.day, closing.total_equity, flow, gained, ended.until)


def _holding(portfolio: UUID, row: ValuationRow) -> Holding:
    percent = min(max(row.day_pnl_pct, -PERCENT_LIMIT), PERCENT_LIMIT)
    return Holding(portfolio, row.instrument, row.quantity, row.price, row.value, row.day_pnl, percent)


def minute_of(now: datetime) -> datetime:
    """Return the start of the minute that `now` is in."""
    return now.astimezone(UTC).replace(second=0, microsecond=0)
