"""Lease a source to one process at a time. The clock of the database decides, and the epoch fences who was before.

A lease ends by itself. Whoever takes it next has a higher epoch, and what shows an older one is refused in the
transaction in which it writes (`require_lease`). An epoch is the moment of the takeover in milliseconds, so that it is
higher than those before it in a database that was restored or made anew, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

# How long a transaction may hold an epoch and do nothing: less than a lease lasts, so that a leader that was stopped in
# the middle of a transaction holds up nobody who takes over.
IDLE_MS = 3000


class LeaseLost(RuntimeError):
    """Say that another process works the source now; nothing of the transaction was written."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Hold what a leader shows when it writes: its source, and the epoch in which it took it."""

    source: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Say who has a lease, as it named itself, and in which epoch; the lease may be over."""

    owner: str
    epoch: int


async def claim_lease(
    connection: asyncpg.Connection, source: str, owner: str, seconds: float, over: int | None = None
) -> int | None:
    """Take a source for so many seconds and return the epoch; None while another has it.

    `over` is the epoch of a holder that is known to be dead: its lease is taken before it ends. Never waits: a source
    whose leader is in the middle of a transaction is not free yet.
    """
    epoch: int | None = await connection.fetchval(_CLAIM, source, owner, seconds, over)
    return epoch


async def lease_holder(connection: asyncpg.Connection, source: str) -> Holder | None:
    """Return who took a source last, or None where nobody ever did."""
    row = await connection.fetchrow("select owner, epoch from leases where source = $1", source)
    return None if row is None else Holder(*row)


async def renew_lease(connection: asyncpg.Connection, fence: Fence, seconds: float) -> bool:
    """Keep a lease for so many seconds from now, also one that ended unnoticed; False when another has taken it."""
    renewed = await connection.fetchval(
        "update leases set expires_at = clock_timestamp() + make_interval(secs => $3) "
        "where source = $1 and epoch = $2 returning true",
        fence.source,
        fence.epoch,
        seconds,
    )
    return renewed is not None


async def release_lease(connection: asyncpg.Connection, fence: Fence) -> None:
    """Give a source up, so that it is free at once; nothing happens where another has it."""
    await connection.execute(
        "update leases set expires_at = clock_timestamp() where source = $1 and epoch = $2", fence.source, fence.epoch
    )


async def require_lease(connection: asyncpg.Connection, fence: Fence) -> None:
    """Raise `LeaseLost` where another has taken the source; until the transaction ends, nobody can.

    To be called inside the transaction that writes. Should the process be stopped in it, the server ends it after
    three seconds.
    """
    held = await connection.fetchval(
        "select set_config('idle_in_transaction_session_timeout', $3, true) from leases "
        "where source = $1 and epoch = $2 for key share",
        fence.source,
        fence.epoch,
        str(IDLE_MS),
    )
    if held is None:
        raise LeaseLost(f"another process works {fence.source} since epoch {fence.epoch}: nothing was written")


_CLAIM = """
with taken as (
    update leases l
       set owner = $2,
           epoch = greatest(l.epoch + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint),
           expires_at = clock_timestamp() + make_interval(secs => $3)
      from (select source from leases
             where source = $1 and (expires_at <= clock_timestamp() or epoch = $4)
               for update skip locked) free
     where l.source = free.source
 returning l.epoch),
made as (
    insert into leases (source, owner, epoch, expires_at)
    select $1, $2, (extract(epoch from clock_timestamp()) * 1000)::bigint,
           clock_timestamp() + make_interval(secs => $3)
     where not exists (select from leases where source = $1)
        on conflict do nothing
 returning epoch)
select epoch from taken union all select epoch from made
"""
