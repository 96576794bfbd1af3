"""Write the closes that a venue tells of days that are over: final, and one history of one source for an instrument."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

import asyncpg

_ANOTHERS = """
select history_source <> $2 and history_source = any($3::text[])
       and exists (select from daily_prices where instrument_id = $1 and date = $4)
  from instruments where id = $1
"""
_BEGIN = """
with taken as (
    update instruments set history_source = $2 where id = $1 and history_source <> $2 returning id
)
delete from daily_prices using taken where instrument_id = taken.id and date < $3
"""
_WRITE = """
with written as (
    insert into daily_prices (instrument_id, date, close, final)
    select $1, date, close, true from unnest($2::date[], $3::double precision[]) as c (date, close) order by date
    on conflict (instrument_id, date) do update set close = excluded.close, final = true
     where (daily_prices.close, daily_prices.final) is distinct from (excluded.close, true)
    returning date
)
select count(*) from written
"""


async def write_closes(
    connection: asyncpg.Connection,
    instrument: int,
    source: str,
    closes: Mapping[date, float],
    today: date,
    others: Collection[str] = (),
) -> int:
    """Make the closes of a source those of an instrument before `today`; return how many days are new or changed.

    The first time, everything from before `today` goes: returns are never computed across a jump from an invented or
    another history into this one, so a history that is short stays short. Later, days are added, and a close that the
    source has mended is. Where one of the `others` keeps this instrument's closes up to yesterday, nothing is written.
    Closes are positive and of days before `today`; raises `asyncpg.CheckViolationError` for others that are not.
    """
    ended = {day: close for day, close in sorted(closes.items()) if day < today}
    if not ended:
        return 0
    async with connection.transaction():
        await connection.execute("select from instruments where id = $1 for update", instrument)
        if await connection.fetchval(_ANOTHERS, instrument, source, list(others), today - timedelta(days=1)):
            return 0
        await connection.execute(_BEGIN, instrument, source, today)
        return int(await connection.fetchval(_WRITE, instrument, list(ended), list(ended.values())))
