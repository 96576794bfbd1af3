"""Read and write the rules by which users are alerted; whose they are and what they may be about is in the queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from db.portfolios import Viewer

RULES_PER_USER = 100

_RULES = """
select r.id, r.kind, s.subject, case when may.see then s.title else '' end, s.currency, r.direction, r.threshold,
       r.repeat, r.active, r.armed, may.see, r.created_at, r.raised_at
  from users u join alert_rules r on r.user_id = u.id
  join alert_subjects s on s.rule_id = r.id
 cross join lateral (select may_be_told(u, r.portfolio_id) as see) may
 where u.id = $1 and r.deleted_at is null and ($2::uuid is null or r.id = $2)
 order by r.created_at desc, r.id
"""
_CREATE = """
insert into alert_rules (user_id, kind, instrument_id, portfolio_id, direction, threshold, repeat)
select u.id, $3, i.id, w.portfolio_id, $6, $7, $8
  from users u cross join (select $5::uuid as portfolio_id) w
  left join instruments i on i.symbol = $4 and i.asset_class <> 'cash'
 where u.id = $1 and u.role = $2 and (i.id is null) <> (w.portfolio_id is null) and may_be_told(u, w.portfolio_id)
returning id
"""
# What is set anew begins armed; a change of `repeat` alone leaves the state as it is.
_CHANGE = """
update alert_rules set direction = coalesce($3, direction), threshold = coalesce($4, threshold),
       repeat = coalesce($5, repeat), active = coalesce($6, active),
       armed = armed or $3 is not null or $4 is not null or $6 is not null
 where id = $2 and user_id = $1 and deleted_at is null returning id
"""
_CHANGED = """
select id, version, kind, instrument_id, portfolio_id, direction, threshold, repeat, armed,
       active and deleted_at is null
  from alert_rules where version > $1 and ($1 > 0 or (active and deleted_at is null)) order by version
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """Hold a rule that a user wants: on an instrument, by its symbol, or on a portfolio; the other one is None."""

    kind: str
    symbol: str | None
    portfolio_id: UUID | None
    direction: str
    threshold: Decimal
    repeat: str


@dataclass(frozen=True, slots=True)
class Change:
    """Hold what is to be changed of a rule; None leaves it as it is."""

    direction: str | None = None
    threshold: Decimal | None = None
    repeat: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Hold a rule as its user sees it.

    `subject` is the name of the stream that shows it, `title` the name of the instrument or portfolio. Where the
    user may no longer see the portfolio, `allowed` is False, `title` empty, and nothing is raised.
    """

    id: UUID
    kind: str
    subject: str
    title: str
    currency: str
    direction: str
    threshold: Decimal
    repeat: str
    active: bool
    armed: bool
    allowed: bool
    created_at: datetime
    raised_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChangedRule:
    """Hold a rule as a stream worker needs it; where `active` is False it is to be forgotten."""

    id: UUID
    version: int
    kind: str
    instrument_id: int | None
    portfolio_id: UUID | None
    direction: str
    threshold: Decimal
    repeat: str
    armed: bool
    active: bool


class TooManyRules(ValueError):
    """Say that a user has as many rules as anybody may have."""


async def rules(connection: asyncpg.Connection, user_id: UUID, rule_id: UUID | None = None) -> list[AlertRule]:
    """Return the user's rules, or the one named, newest first."""
    return [AlertRule(*row.values()) for row in await connection.fetch(_RULES, user_id, rule_id)]


async def create_rule(connection: asyncpg.Connection, viewer: Viewer, wish: Wish) -> UUID | None:
    """Write a rule and return its id; None where there is no such instrument, or no portfolio the user may see.

    To be called in a transaction: the user's row is locked, so that no two requests together pass the limit.
    Raises `TooManyRules`.
    """
    await connection.execute("select from users where id = $1 for no key update", viewer.user_id)
    held = await connection.fetchval(
        "select count(*) from alert_rules where user_id = $1 and deleted_at is null", viewer.user_id
    )
    if held >= RULES_PER_USER:
        raise TooManyRules(f"there are {RULES_PER_USER} rules already, and nobody may have more")
    created: UUID | None = await connection.fetchval(
        _CREATE,
        viewer.user_id,
        viewer.role,
        wish.kind,
        wish.symbol,
        wish.portfolio_id,
        wish.direction,
        wish.threshold,
        wish.repeat,
    )
    return created


async def change_rule(connection: asyncpg.Connection, user_id: UUID, rule_id: UUID, change: Change) -> bool:
    """Change a rule of the user's; says whether there is one. It is armed anew unless only `repeat` changes."""
    changed = await connection.fetchval(
        _CHANGE, user_id, rule_id, change.direction, change.threshold, change.repeat, change.active
    )
    return changed is not None


async def delete_rule(connection: asyncpg.Connection, user_id: UUID, rule_id: UUID) -> bool:
    """Delete a rule of the user's; says whether there was one. Alerts that it raised stay."""
    gone = await connection.fetchval(
        "update alert_rules set deleted_at = now() where id = $2 and user_id = $1 and deleted_at is null returning id",
        user_id,
        rule_id,
    )
    return gone is not None


async def changed_rules(connection: asyncpg.Connection, version: int) -> list[ChangedRule]:
    """Return the rules of all users that were changed after `version`, in that order; from 0 on, those that are active.

    None is missed: versions are given under a lock that is held until the commit.
    """
    return [ChangedRule(*row.values()) for row in await connection.fetch(_CHANGED, version)]


async def rearm(connection: asyncpg.Connection, versions: Mapping[UUID, int]) -> None:
    """Arm rules (id → version) again that repeat; those that their users have changed since are left as they are."""
    await connection.execute(
        "update alert_rules r set armed = true from unnest($1::uuid[], $2::bigint[]) as g (id, version) "
        "where r.id = g.id and r.version = g.version and not r.armed and r.repeat = 'each_time'",
        list(versions),
        list(versions.values()),
    )
