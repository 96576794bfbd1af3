"""Read and write instruments and their daily closes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType

import asyncpg
import numpy as np
import numpy.typing as npt

from db.corporate_actions import splits


@dataclass(frozen=True, slots=True)
class Instrument:
    """Hold what is fixed of an instrument; see the comments on table `instruments`."""

    id: int
    symbol: str
    isin: str | None
    name: str
    asset_class: str
    sector: str
    country: str
    currency: str
    base_currency: str | None
    price_factor: float
    tick_size: float
    history_source: str
    exchange: str | None = None


@dataclass(frozen=True, slots=True)
class CloseHistory:
    """Hold closes: `closes` is float64 [dates, instruments], NaN where absent; both axes ascend."""

    dates: tuple[date, ...]
    instruments: tuple[int, ...]
    closes: npt.NDArray[np.float64]


async def instruments(connection: asyncpg.Connection) -> list[Instrument]:
    """Return all instruments in order of id."""
    rows = await connection.fetch(
        "select id, symbol, isin, name, asset_class, sector, country, currency, base_currency, price_factor, "
        "tick_size, history_source, exchange from instruments order by id"
    )
    return [Instrument(*row.values()) for row in rows]


async def prior_closes(
    connection: asyncpg.Connection, before: date, by_exchange: Mapping[str, date] = MappingProxyType({})
) -> dict[int, tuple[float, date]]:
    """Return of each instrument the newest close of a day before `before`, with that day.

    Where `by_exchange` names the instrument's exchange, that date stands for `before`. Instruments without a
    close are absent. A day's last live price counts where no final close came. Closes are in the shares of their day.
    """
    rows = await connection.fetch(
        "select i.id, d.close, d.date from instruments i "
        "left join unnest($2::text[], $3::date[]) as e (exchange, before) on e.exchange = i.exchange "
        "cross join lateral (select close, date from daily_prices "
        "where instrument_id = i.id and date < coalesce(e.before, $1) order by date desc limit 1) d",
        before,
        list(by_exchange.keys()),
        list(by_exchange.values()),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def close_history(connection: asyncpg.Connection, before: date, days: int = 504) -> CloseHistory:
    """Return the closes of the newest `days` dates before `before`, all in the shares of now: a split is no crash."""
    rows = await connection.fetch(
        "select instrument_id, date, close from daily_prices where date >= coalesce((select min(date) from "
        "(select distinct date from daily_prices where date < $1 order by date desc limit $2) newest), $1) "
        "and date < $1",
        before,
        days,
    )
    dates = sorted({row[1] for row in rows})
    numbers = sorted({row[0] for row in rows})
    day_index = {day: index for index, day in enumerate(dates)}
    column = {number: index for index, number in enumerate(numbers)}
    closes = np.full((len(dates), len(numbers)), np.nan)
    for number, day, close in rows:
        closes[day_index[day], column[number]] = close
    for one in await splits(connection):
        if one.instrument in column and one.effective_at <= datetime.now(UTC):
            closes[: bisect_left(dates, one.ex_date), column[one.instrument]] /= float(one.ratio)
    return CloseHistory(tuple(dates), tuple(numbers), closes)


async def record_closes(connection: asyncpg.Connection, day: date, prices: Mapping[int, float]) -> None:
    """Write the newest prices of `day` as closes that are not final yet; the instruments' earlier ones become final.

    A final close is never overwritten. `prices` are by instrument id, positive; others raise
    `asyncpg.CheckViolationError`, unknown instruments `asyncpg.ForeignKeyViolationError`.
    """
    async with connection.transaction():
        await connection.execute(
            "update daily_prices set final = true where instrument_id = any($2::integer[]) and date < $1 and not final",
            day,
            list(prices.keys()),
        )
        await connection.execute(
            "insert into daily_prices (instrument_id, date, close, final) "
            "select id, $1, close, false from unnest($2::integer[], $3::double precision[]) as p (id, close) "
            "order by id on conflict (instrument_id, date) do update set close = excluded.close "
            "where not daily_prices.final",
            day,
            list(prices.keys()),
            list(prices.values()),
        )
