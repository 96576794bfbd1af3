"""Read a minute back with all that it was computed from: positions, prices and prior closes as they were then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

MINUTE = timedelta(minutes=1)
LOOK_BACK = timedelta(days=31)
# The newest minute is in an hour that is not packed, or in the newest packed one that the portfolio has: no other needs
# to be searched, which matters for a portfolio that has no minute at all.
_MOMENT = """
select m.minute, m.epoch, m.seq, m.version, m.base_currency, m.total_equity, m.cash, m.day_pnl, m.day_pnl_price,
       m.unrealised_pnl, m.stale_share, s.record::text, o.day_start, o.instruments, o.closes,
       p.instruments, p.prices, p.price_ns, p.states
  from (select * from minute_valuations
         where portfolio_id = $1 and minute > $2 and minute <= $3 and minute = any(array(
               select hour + m * interval '1 minute' from generate_series(0, 59) m, (
                   select open_hours($2, $3::timestamptz + interval '1 microsecond') as hour
                   union all
                   (select v.hour from hour_valuations v join packed_hours using (hour)
                     where v.portfolio_id = $1 and v.hour > $2 and v.hour + v.minutes[1] * interval '1 minute' <= $3
                     order by v.hour desc limit 1)) hours))
         order by minute desc limit 1) m
  left join position_sets s on s.portfolio_id = m.portfolio_id and s.version = m.version
  left join minute_prices p on p.minute = m.minute and p.assignment = m.assignment
       and p.minute > $2 and p.minute <= $3
  left join lateral (select * from opening_prices
         where assignment = m.assignment and time_zone = coalesce(s.record ->> 'time_zone', 'UTC')
           and since <= m.minute order by since desc limit 1) o on true
"""


@dataclass(frozen=True, slots=True)
class ShownTotals:
    """Hold what a minute says a portfolio was worth, in minor units of its base currency."""

    total_equity: int
    cash: int
    day_pnl: int
    day_pnl_price: int
    unrealised_pnl: int


@dataclass(frozen=True, slots=True)
class ShownPrice:
    """Hold a price as it was used: when it was made (nanoseconds), and 0 live, 1 close or 2 stale."""

    price: float
    price_ns: int
    state: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Hold what a minute was computed from: the record of positions (JSON), closes and prices by instrument id.

    The portfolio's day began at `day_start`; a close of 0 says that there was none.
    """

    record: bytes
    day_start: datetime
    closes: Mapping[int, float]
    prices: Mapping[int, ShownPrice]


@dataclass(frozen=True, slots=True)
class Moment:
    """Hold a portfolio as it was shown at the end of a minute; `inputs` is None where they were not kept."""

    portfolio_id: UUID
    minute: datetime
    epoch: int
    seq: int
    version: int
    base_currency: str
    totals: ShownTotals
    stale_share: float
    inputs: Inputs | None

    @property
    def ended_at(self) -> datetime:
        """Return when the minute ended: the moment that it is the state of."""
        return self.minute + MINUTE


async def read_moment(connection: asyncpg.Connection, portfolio_id: UUID, at: datetime) -> Moment | None:
    """Return the newest minute that had ended by `at`, a month back at most, or None.

    For callers that have checked the viewer's right.
    """
    row = await connection.fetchrow(_MOMENT, portfolio_id, at - LOOK_BACK, at - MINUTE)
    if row is None:
        return None
    minute, epoch, seq, version, currency, *rest = row.values()
    return Moment(
        portfolio_id, minute, epoch, seq, version, currency, ShownTotals(*rest[:5]), rest[5], _inputs(*rest[6:])
    )


def _inputs(
    record: str | None,
    day_start: datetime | None,
    opened: list[int] | None,
    closes: list[float] | None,
    priced: list[int] | None,
    *columns: list[float] | list[int] | None,
) -> Inputs | None:
    if record is None or day_start is None or priced is None:
        return None
    prices = {number: ShownPrice(*row) for number, *row in zip(priced, *(one or () for one in columns), strict=True)}
    return Inputs(record.encode(), day_start, dict(zip(opened or (), closes or (), strict=True)), prices)
