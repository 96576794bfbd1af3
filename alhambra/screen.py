"""Show a run to people: sentences as things happen, and on a terminal one line that stays and says how it goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alhambra.child import State
from alhambra.running import Address
from db.live import HealthReport

COLOURS = {
    State.WAITING: "dim",
    State.STARTING: "yellow",
    State.READY: "green",
    State.RESTARTING: "red",
    State.STOPPED: "dim",
}


class Screen:
    """Write for people, to standard error when standard output is for programs. Enter it before use."""

    def __init__(self, ready_json: bool) -> None:
        self._ready_json = ready_json
        self._console = Console(stderr=ready_json, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._newest = ""
        self._stack = ExitStack()

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live = self._stack.enter_context(live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def say(self, sentence: str) -> None:
        """Say one sentence."""
        self._console.print(Text(sentence))

    def warn(self, sentence: str) -> None:
        """Say a sentence about a process, and keep it in the line that stays."""
        self._newest = f"{datetime.now().astimezone():%H:%M:%S} {sentence}"
        self._console.print(Text(self._newest))

    def say_ready(self, address: Address) -> None:
        """Say where the page is and who may sign in; for programs, also print one line of JSON."""
        if self._ready_json:
            sys.stdout.write(_json_line(address))
            sys.stdout.flush()
        self._console.print(Text.assemble("\nAlhambra is live at ", (address.url, "bold cyan"), "\n"))
        if self._console.is_terminal:
            self._console.print(_login_table(address))
        else:
            for login in address.logins:
                self.say(f"sign in as {login['role']}: {login['email']}  {login['password']}")
        self._console.print(Text("Ctrl-C ends it."))

    def show(self, states: Mapping[str, State], health: Mapping[str, HealthReport]) -> None:
        """Renew the line that stays; where there is no terminal, nothing."""
        if self._live is not None:
            line = status_line(states, health, self._newest)
            self._live.update(line, refresh=True)


def status_line(states: Mapping[str, State], health: Mapping[str, HealthReport], newest: str) -> Text:
    """Return one line: a dot a process, the names of those that are not ready, the rates, the newest trouble."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for state in states.values():
        line.append("●", COLOURS[state])
    for name, state in states.items():
        if state is not State.READY:
            line.append(f" {name} {state.value}", COLOURS[state])
    for report in sorted(health.values(), key=lambda one: one.component):
        rates = report.component.startswith("market:") or report.component == "stream"
        if rates or not report.ok:
            line.append(f" │ {report.component} ", "dim").append(report.detail, "" if report.ok else "red")
    if newest:
        line.append(f" │ {newest}", "yellow")
    return line


def _json_line(address: Address) -> str:
    return msgspec.json.encode(address).decode() + "\n"


def _login_table(address: Address) -> Table:
    table = Table(title="Demonstration logins", title_justify="left")
    columns = ("role", "email", "password")
    for column in columns:
        table.add_column(column, overflow="fold")  # never cut: they are to be copied
    for login in address.logins:
        table.add_row(*(login[column] for column in columns))
    return table
