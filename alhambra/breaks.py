"""List for operations what does not agree with the back office, with what to do, and look again on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import asyncpg
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from alhambra.errors import CannotStart
from alhambra.running import read_running
from alhambra.settings import DoorSettings, revealed
from db.breaks import KeptBreak, breaks
from db.postgres import DATABASE_AWAY, acquire, open_pool
from ingest.iboss.reconciliation import Outcome, Reconciler

ADVICE = {
    "quantity": "See `alhambra topics tail dead.letters.v1 --from-beginning` for a booking that was refused; if there "
    "is none, ask IBOSS for the account's bookings of this instrument.",
    "cash": "As for a quantity; a fee or a tax that IBOSS took without booking it shows here too.",
    "cost_basis": "Ask IBOSS how it took the cost: we take the average; profit and loss follow what IBOSS says.",
    "cost_basis_base": "Compare the rates of the account's bookings with those IBOSS took.",
    "bookings_contradict": "The log of ingest says which; ask IBOSS to correct them. A split may have come twice.",
    "positions_missing": "The portfolio shows nothing: see the dead letters of GetPositions for why it was refused.",
    "account_missing": "IBOSS no longer lists it, or our user may not see it: close it here, or ask for access.",
    "account_unknown": "Open a portfolio with this iboss_account_id, or have the account taken from our user at IBOSS.",
}

T = TypeVar("T")


def list_breaks(data: Path, *, resolved: bool = False, as_json: bool = False) -> bool:
    """List where positions, bookings and accounts do not agree, and what to do; return whether none is open."""
    found = asyncio.run(_with_pool(data, lambda pool: _read(pool, resolved=resolved)))
    if as_json:
        typer.echo(msgspec.json.encode([{**_shape(one), "advice": ADVICE[one.what]} for one in found]))
    else:
        show(found, Console())
    return all(one.resolved_at is not None for one in found)


def reconcile(data: Path) -> bool:
    """Hold every portfolio against its bookings now, and list the breaks; return whether none is open."""
    outcome = asyncio.run(_with_pool(data, lambda pool: Reconciler(pool).reconcile()))
    Console().print(say(outcome))
    return list_breaks(data)


def say(outcome: Outcome) -> str:
    """Say in a sentence what a look on demand saw."""
    under_way = outcome.outcomes["unsettled"]
    later = f" {under_way:,} are left for later: something came for them within the last minute." if under_way else ""
    return f"{outcome.outcomes['compared']:,} portfolios were held against their bookings.{later}"


def show(found: Sequence[KeptBreak], console: Console) -> None:
    """Print the breaks as a table, and what to do about each kind of them."""
    if not found:
        console.print("There are no breaks: positions, bookings and accounts agree.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("account", "portfolio", "what", "instrument"):
        table.add_column(heading, overflow="fold")
    for heading in ("booked", "held"):
        table.add_column(heading, justify="right")
    for heading in ("since", "last seen", "resolved"):
        table.add_column(heading)
    for one in found:
        amounts = (_amount(one.expected), _amount(one.found))
        times = (_time(one.first_seen), _time(one.last_seen), _time(one.resolved_at))
        table.add_row(one.account, one.portfolio_name or "", one.what, one.symbol or "", *amounts, *times)
    console.print(table)
    for what in dict.fromkeys(one.what for one in found if one.resolved_at is None):
        console.print(f"{what}: {ADVICE[what]}", highlight=False)


async def _read(pool: asyncpg.Pool, *, resolved: bool) -> list[KeptBreak]:
    async with acquire(pool) as connection:
        return await breaks(connection, resolved=resolved)


async def _with_pool(data: Path, use: Callable[[asyncpg.Pool], Awaitable[T]]) -> T:
    running = read_running(data)
    url = revealed(DoorSettings().database_url) or (running.database if running else None)
    if url is None:
        raise CannotStart(f"Nothing runs in {data}: start it with alhambra up, or set DATABASE_URL.")
    try:
        async with open_pool(url, "alhambra-breaks", size=2) as pool:
            return await use(pool)
    except asyncpg.UndefinedTableError as error:
        raise CannotStart("The database has an older schema: run `alhambra migrate`.") from error
    except DATABASE_AWAY as error:
        raise CannotStart(f"PostgreSQL does not answer: {error or type(error).__name__}") from error


def _shape(one: KeptBreak) -> dict[str, object]:
    return {name: getattr(one, name) for name in KeptBreak.__slots__}


def _amount(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():,f}"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
