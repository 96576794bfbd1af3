"""Write the audit trail, in the transaction of the change it tells of, and prove that it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import msgspec

_VERIFY = """
select count(*), coalesce(max(id), 0),
       coalesce((select hash from audit_events order by id desc limit 1), '\\x'::bytea),
       min(id) filter (where id <> place or previous <> before or hash <> expected)
  from (select e.id, e.previous, e.hash, audit_event_hash(e) as expected, row_number() over chain as place,
               coalesce(lag(e.hash) over chain, '\\x'::bytea) as before
          from audit_events e window chain as (order by e.id)) links
"""


@dataclass(frozen=True, slots=True)
class ChainState:
    """Say how the chain stands: `broken_at` is the first event that does not fit, None when all do.

    A chain cannot know of events cut off its end: keep `last_id` and `last_hash` elsewhere and compare.
    """

    events: int
    last_id: int
    last_hash: bytes
    broken_at: int | None


async def record(
    connection: asyncpg.Connection,
    actor: UUID | None,
    action: str,
    subject: str = "",
    detail: Mapping[str, object] | None = None,
    address: str | None = None,
) -> int:
    """Append an event and return its number; `actor` is None for the system, `address` the caller's IP address.

    Call it in the transaction of the change, last: events are written one after another until the commit.
    """
    number: int = await connection.fetchval(
        "insert into audit_events (actor_id, action, subject, detail, address) "
        "values ($1, $2, $3, $4::text::jsonb, $5::text::inet) returning id",
        actor,
        action,
        subject,
        msgspec.json.encode(detail or {}).decode(),
        address,
    )
    return number


async def verify_chain(connection: asyncpg.Connection) -> ChainState:
    """Recompute every event's hash and link, from the first to the last."""
    return ChainState(*(await connection.fetchrow(_VERIFY)).values())
