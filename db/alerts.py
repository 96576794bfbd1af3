"""Raise alerts, each once, and read and acknowledge them: numbered by user, without gaps and in order of commit.

Numbers are counted in the user's row, in the transaction that writes the alert. So whoever has read up to a number
never finds a smaller one later, as would happen with a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

PAGE = 100  # alerts in one answer

_NEWEST = """
select * from visible_alerts where user_id = $1 and seq < $2 and (acknowledged_at is null or not $3)
 order by seq desc limit $4
"""
_AFTER = """
select w.after, n.* from unnest($1::uuid[], $2::bigint[]) as w (user_id, after) cross join lateral (
    select * from visible_alerts a
     where a.user_id = w.user_id and a.seq > w.after and a.acknowledged_at is null order by a.seq limit $3) n
 order by n.user_id, n.seq
"""
_LOCK_OWNERS = """
select from users where id in (select user_id from alert_rules where id = any($1::uuid[])) order by id
   for no key update
"""
_RAISE = """
with tripped as (
    update alert_rules r set armed = false, raised_at = g.raised_at
      from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::text[], $5::bigint[], $6::timestamptz[])
           with ordinality as g (rule_id, version, value, price_source, price_ns, raised_at, place),
           users u
     where r.id = g.rule_id and r.version = g.version and r.armed and r.active and r.deleted_at is null
       and u.id = r.user_id and may_be_told(u, r.portfolio_id)
    returning r.id, r.user_id, r.direction, r.threshold, g.value, g.price_source, g.price_ns, g.raised_at, g.place
), counted as (
    update users u set alert_seq = u.alert_seq + t.raised
      from (select user_id, count(*) as raised from tripped group by user_id) t
     where u.id = t.user_id returning u.id, u.alert_seq - t.raised as before
)
insert into alerts (user_id, seq, rule_id, direction, threshold, value, price_source, price_ns, raised_at)
select t.user_id, c.before + row_number() over (partition by t.user_id order by t.place), t.id, t.direction,
       t.threshold, t.value, t.price_source, t.price_ns, t.raised_at
  from tripped t join counted c on c.id = t.user_id
returning rule_id, user_id
"""
# Up to the first that is not acknowledged; where there is none, up to the newest.
_REACHED = """
select coalesce((select min(a.seq) - 1 from alerts a where a.user_id = u.id and a.acknowledged_at is null), u.alert_seq)
  from users u where u.id = $1
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """Hold an alert: number `seq` of its user. `value` is what crossed `threshold`, by the price made at `price_ns`."""

    user_id: UUID
    seq: int
    id: UUID
    rule_id: UUID
    kind: str
    subject: str
    title: str
    currency: str
    direction: str
    threshold: Decimal
    value: float
    price_source: str
    price_ns: int
    raised_at: datetime
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True)
class Crossing:
    """Hold what a worker saw: the value of a rule of this version crossed, by which price, and when."""

    rule_id: UUID
    version: int
    value: float
    price_source: str
    price_ns: int
    raised_at: datetime


async def newest_alerts(
    connection: asyncpg.Connection, user_id: UUID, before: int, limit: int, *, unacknowledged: bool
) -> list[Alert]:
    """Return the user's newest alerts with numbers below `before`, newest first, `limit` at most."""
    rows = await connection.fetch(_NEWEST, user_id, before, unacknowledged, limit)
    return [Alert(*row.values()) for row in rows]


async def alerts_after(
    connection: asyncpg.Connection, positions: Sequence[tuple[UUID, int]]
) -> Mapping[tuple[UUID, int], list[Alert]]:
    """Return what each of `positions` (user, number) has not seen: unacknowledged, greater numbers, in order.

    One query whatever the number of positions, and `PAGE` alerts at most for each.
    """
    found: dict[tuple[UUID, int], list[Alert]] = {position: [] for position in positions}
    users, numbers = [user for user, _ in found], [number for _, number in found]
    for row in await connection.fetch(_AFTER, users, numbers, PAGE):
        after, *values = row.values()
        found[values[0], after].append(Alert(*values))
    return found


async def acknowledge(connection: asyncpg.Connection, user_id: UUID, seq: int) -> int:
    """Acknowledge the user's alerts up to and including `seq`; return up to where all are acknowledged now."""
    await connection.execute(
        "update alerts set acknowledged_at = now() where user_id = $1 and seq <= $2 and acknowledged_at is null",
        user_id,
        seq,
    )
    reached: int = await connection.fetchval(_REACHED, user_id)
    return reached


async def raise_alerts(connection: asyncpg.Connection, seen: Sequence[Crossing]) -> dict[UUID, UUID]:
    """Write an alert for each rule that is still armed and as it was judged; return them: rule → user.

    To be called in a transaction. Nothing is written where the user is not active or may no longer see the
    portfolio. The users' rows are locked first and in order, so that no two workers wait for each other.
    """
    rules = [one.rule_id for one in seen]
    await connection.execute(_LOCK_OWNERS, rules)
    rows = await connection.fetch(
        _RAISE,
        rules,
        [one.version for one in seen],
        [one.value for one in seen],
        [one.price_source for one in seen],
        [one.price_ns for one in seen],
        [one.raised_at for one in seen],
    )
    return {row[0]: row[1] for row in rows}
