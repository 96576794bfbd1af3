"""Print an import for people: what is booked, what is not and why, and whether it adds up."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alhambra.statements.outcome import Outcome, ShownComparison

MANY, SHOWN = 40, 3  # kinds of refusals that are listed, and rows of each; --json has them all


def show(outcome: Outcome, console: Console) -> None:
    """Print an outcome."""
    console.print(f"[bold]{escape(outcome.source)}[/] ({escape(outcome.file)}) → {escape(_where(outcome))}")
    kinds = Counter(one.type for one in outcome.bookings)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    done = "booked" if outcome.applied else "would be booked"
    rows = f"{outcome.rows_booked} rows {done} as {len(outcome.bookings)} bookings: {listed}"
    console.print(rows if outcome.bookings else "nothing is new")
    if outcome.duplicates:
        console.print(f"{len(outcome.duplicates)} rows are booked already")
    for reason, count in outcome.skipped.items():
        console.print(f"{count} rows book nothing of their own: {reason}")
    for name, made in (("currencies", outcome.new_currencies), ("instruments", outcome.new_instruments)):
        if made:
            console.print(f"new {name}: {escape(', '.join(made))}")
    _show_rejected(outcome, console)
    _show_holdings(outcome, console)
    _show_reconciliation(outcome.reconciliation, console)
    for warning in outcome.warnings:
        console.print(f"[yellow]{escape(warning)}[/]")
    if not outcome.applied and outcome.bookings:
        console.print("This is a preview: nothing is booked without --apply.")


def _where(outcome: Outcome) -> str:
    identity = f" {outcome.portfolio}" if outcome.portfolio else " (new)"
    return f"{outcome.portfolio_name}{identity}, in {outcome.base_currency}"


def _show_rejected(outcome: Outcome, console: Console) -> None:
    if not outcome.rejected:
        return
    alike: dict[tuple[str, str], list[str]] = {}
    for one in outcome.rejected:
        alike.setdefault((one.reason, one.detail), []).append(one.place)
    table = Table(title=f"{len(outcome.rejected)} rows refused", title_justify="left")
    for name in ("where", "reason", "what"):
        table.add_column(name, overflow="fold")
    for (reason, detail), places in list(alike.items())[:MANY]:
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        table.add_row(escape("; ".join(places[:SHOWN])) + more, reason, escape(detail))
    console.print(table)
    if len(alike) > MANY:
        console.print(f"… and {len(alike) - MANY} more; --json lists them all")
    if not outcome.created and {"unknown_instrument", "unknown_currency"} & {reason for reason, _ in alike}:
        console.print("With --create-instruments the bank learns of them from the statement.")


def _show_holdings(outcome: Outcome, console: Console) -> None:
    table = Table(title="the portfolio then", title_justify="left")
    table.add_column("holding")
    for name in ("quantity", "cost", f"cost in {outcome.base_currency}"):
        table.add_column(name, justify="right")
    for one in outcome.positions:
        table.add_row(escape(one.symbol), f"{one.quantity:f}", f"{one.cost:,.2f}", f"{one.cost_base:,.2f}")
    for currency, amount in outcome.cash.items():
        table.add_row(f"cash {currency}", f"{amount:,.2f}", "", "")
    console.print(table)


def _show_reconciliation(lines: list[ShownComparison], console: Console) -> None:
    table = Table(title="against the statement itself", title_justify="left")
    for name in ("what", "statement", "booked", "difference"):
        table.add_column(name, justify="left" if name == "what" else "right")
    table.add_column("why")
    for one in lines:
        difference = "-" if one.agrees else f"{one.stated - one.booked:,.2f}"
        table.add_row(escape(one.what), f"{one.stated:,.2f}", f"{one.booked:,.2f}", difference, one.why)
    console.print(table)
