"""Watch a portfolio, a book or the public demonstration in the terminal, live, by the client that programs use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.live import Live

from alhambra.client import Client, ClientError, Refused, Sort, Unreachable, Update, View
from alhambra.errors import CannotStart
from alhambra.running import Address, read_running
from alhambra.watch_columns import currency_of
from alhambra.watch_figures import amount, minor_units
from alhambra.watch_screen import Drawing, Link, WatchScreen

FRAME_S = 0.25  # between two drawings
NAMES_SAID = 8
TERMINATED = 128 + signal.SIGTERM
WINDOW = View(sort=(Sort("equity_reference", descending=True),), count=100, reorder_s=5.0)


class WatchSettings(BaseSettings):
    """Read the password from the environment, where it is there; else it is asked for."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    alhambra_password: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """Hold what is to be watched, where, and as whom; None: found out from what runs in the data folder."""

    portfolio: str | None = None
    url: str | None = None
    email: str | None = None
    demo: bool = False
    plain: bool = False
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what will be watched."""

    title: str
    updates: AsyncGenerator[Update, None]


def watch(wish: Wish) -> None:
    """Watch until Ctrl-C. Raises `CannotStart` with what keeps it from that."""
    try:
        asyncio.run(run_watch(wish, Console()))
    except asyncio.CancelledError as end:  # by SIGTERM
        raise typer.Exit(TERMINATED) from end
    except BrokenPipeError:  # who reads our lines has had enough; nothing is left to be written at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def run_watch(wish: Wish, console: Console) -> None:
    """Watch until the task is cancelled. Raises `CannotStart` with what keeps it from that."""
    _cancel_when_ended()
    running = None if wish.data is None else read_running(wish.data)
    url = wish.url or (running.url if running else None)
    if url is None:
        raise CannotStart(f"Nothing runs in {wish.data}: start it with alhambra up, or give --url.")
    try:
        for client in _clients(wish, url, running):
            async with client:
                found = await _find(client, wish)
                if found is not None:
                    async with aclosing(found.updates):
                        await _show(client, found, console, plain=wish.plain or not console.is_terminal)
                    return
    except (ClientError, ValueError) as error:
        raise CannotStart(_sentence(error, url)) from error
    raise CannotStart(f"No portfolio of the demonstration's people has {wish.portfolio!r} in its name.")


def _clients(wish: Wish, url: str, running: Address | None) -> list[Client]:
    """Return the clients to try in turn: of who was named, or of those who may sign in to the demonstration."""
    if wish.demo:
        return [Client(url, guest=True)]
    if wish.email is not None:
        password = WatchSettings().alhambra_password
        text = typer.prompt("Password", hide_input=True, err=True) if password is None else password.get_secret_value()
        return [Client(url, email=wish.email, password=text)]
    if running is None or running.url != url:
        raise CannotStart("Say who you are with --email, or watch the public demonstration with --demo.")
    roles = (
        ("client",) if wish.portfolio is None else ("compliance",) if _is_id(wish.portfolio) else ("client", "advisor")
    )
    logins = [one for role in roles for one in running.logins if one["role"] == role]
    if not logins:
        raise CannotStart("There is no demonstration login: say who you are with --email.")
    chosen = logins[:1] if wish.portfolio is None else logins
    return [Client(url, email=one["email"], password=one["password"]) for one in chosen]


async def _find(client: Client, wish: Wish) -> Found | None:
    """Return what is wished for, or None where somebody of the demonstration has nothing of that name."""
    wanted = wish.portfolio
    if wish.demo:
        return Found("Demonstration", client.demo())
    if wanted is not None and _is_id(wanted):
        return Found(wanted, client.portfolio(UUID(wanted)))
    names = await _names(client)
    if wanted is None:
        return await _everything(client, names)
    matches = {one: name for one, name in names.items() if wanted.casefold() in name.casefold()}
    exact = {one: name for one, name in matches.items() if name.casefold() == wanted.casefold()}
    chosen = exact or matches
    if len(chosen) == 1:
        portfolio, name = next(iter(chosen.items()))
        return Found(name, client.portfolio(portfolio))
    if chosen or wish.email is not None:
        raise CannotStart(_choice(wanted, chosen or names, several=bool(chosen)))
    return None


async def _everything(client: Client, names: dict[str, str]) -> Found:
    """Return the one portfolio there is, all of a client together, or an advisor's book."""
    if client.role == "advisor":
        return Found("The book", client.floor(view=WINDOW))
    if not names:
        raise CannotStart(f"As {client.role} there is nothing of your own to watch: name a portfolio by its id.")
    if len(names) == 1:
        portfolio, name = next(iter(names.items()))
        return Found(name, client.portfolio(portfolio))
    return Found("All portfolios", client.client())


async def _names(client: Client) -> dict[str, str]:
    """Return the portfolios of who is signed in, id and name."""
    if client.role == "client":
        overview: dict[str, Any] = await client.get("/api/portfolio/overview")
        return {one["id"]: one["name"] for one in overview["portfolios"]}
    if client.role == "advisor":
        async with aclosing(client.floor()) as updates:
            async for update in updates:
                return {key: f"{row['name']} of {row['client']}" for key, row in update.rows.items()}
    return {}


async def _show(client: Client, found: Found, console: Console, *, plain: bool) -> None:
    if plain:
        async for update in found.updates:
            console.file.write(f"{_line(update)}\n")
            console.file.flush()
        return
    screen = WatchScreen(found.title)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        reading = asyncio.create_task(_read(found.updates, screen), name="read updates")
        try:
            while not reading.done():
                live.update(Drawing(screen, time.monotonic(), _link(client, screen)), refresh=True)
                await asyncio.wait({reading}, timeout=FRAME_S)
            reading.result()
        finally:
            reading.cancel()
            await asyncio.wait({reading})


async def _read(updates: AsyncGenerator[Update, None], screen: WatchScreen) -> None:
    async for update in updates:
        screen.take(update, time.monotonic())


def _link(client: Client, screen: WatchScreen) -> Link:
    update = screen.update
    age_s = None if update is None else (client.clock.server_now_ns() - update.event_ns) / 1e9
    state = client.state if update is None else update.state
    return Link(state, client.url, client.clock.round_trip_ns, age_s)


def _line(update: Update) -> str:
    """Write an update as one line."""
    totals = update.totals
    digits = minor_units(currency_of(totals))
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = [now, str(update.state)]
    parts += [f"{update.epoch}/{update.seq}", str(totals.get("name", update.stream))]
    if "total_equity" in totals:
        parts.append(f"{currency_of(totals) or ''} {amount(totals['total_equity'], digits)}".strip())
        parts.append(f"day {amount(totals['day_pnl'], digits, signed=True)}")
        parts.append(f"{amount(totals['day_pnl_pct'], 2, signed=True)} %")
    news = "whole" if update.resynced else f"{len(update.changed)} changed"
    return "  ".join([*parts, news, f"{max(0, update.delay_ns) / 1e6:.1f} ms"])


def _cancel_when_ended() -> None:
    """Have SIGTERM end the task as Ctrl-C does, so that the terminal is left as it was."""
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError):  # Windows has none
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _choice(wanted: str, names: dict[str, str], *, several: bool) -> str:
    said = sorted(names.values())
    more = f" and {len(said) - NAMES_SAID} more" if len(said) > NAMES_SAID else ""
    there = ", ".join(said[:NAMES_SAID]) + more
    if several:
        return f"Several portfolios have {wanted!r} in their name: {there}."
    return f"No portfolio has {wanted!r} in its name; there are: {there or 'none'}."


def _sentence(error: Exception, url: str) -> str:
    if isinstance(error, Refused):
        return f"{url} refuses: {error}."
    if isinstance(error, Unreachable):
        return f"{error}."
    return f"{str(error)[:1].upper()}{str(error)[1:]}."
