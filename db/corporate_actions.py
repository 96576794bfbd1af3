"""Keep what companies do to their shares: splits, by version, as they are announced.

Raw quantities, prices and closes stay as they were booked and quoted. Whoever reads them over a split asks here, and
puts both into the same shares (`analytics.splits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import asyncpg

_NEWEST = """
select instrument_id, ex_date, effective_at, ratio from (
    select distinct on (source, reference) * from corporate_actions
     where kind = 'split' and received_at <= coalesce($1::timestamptz, 'infinity')
     order by source, reference, version desc) newest
 where ratio <> 1 order by effective_at, instrument_id
"""


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """Hold an action, unique by (source, reference, version); see the comments on table `corporate_actions`."""

    source: str
    reference: str
    version: int
    instrument_id: int
    kind: str
    ex_date: date
    effective_at: datetime
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class KnownSplit:
    """Hold a split in its newest version; `ratio` is new shares for one old."""

    instrument: int
    ex_date: date
    effective_at: datetime
    ratio: Decimal


async def insert_actions(connection: asyncpg.Connection, actions: Sequence[CorporateAction]) -> int:
    """Write actions; those that are there already stay as they are. Return how many were new.

    Raises `asyncpg.IntegrityConstraintViolationError` for an unknown instrument or a ratio that cannot be.
    """
    rows = await connection.fetch(
        "insert into corporate_actions (source, reference, version, instrument_id, kind, ex_date, effective_at, ratio) "
        "select * from unnest($1::text[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::date[], "
        "$7::timestamptz[], $8::numeric[]) as a (source, reference, version, instrument, kind, ex_date, effective_at, "
        "ratio) order by source, reference, version on conflict do nothing returning version",
        [one.source for one in actions],
        [one.reference for one in actions],
        [one.version for one in actions],
        [one.instrument_id for one in actions],
        [one.kind for one in actions],
        [one.ex_date for one in actions],
        [one.effective_at for one in actions],
        [one.ratio for one in actions],
    )
    return len(rows)


async def splits(connection: asyncpg.Connection, known_at: datetime | None = None) -> list[KnownSplit]:
    """Return all splits in the order in which they take effect, announced ones among them.

    With `known_at` they are as they were known then.
    """
    return [KnownSplit(*row.values()) for row in await connection.fetch(_NEWEST, known_at)]
