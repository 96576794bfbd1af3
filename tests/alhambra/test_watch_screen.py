"""The screen keeps its places while numbers change, adds up, and says when it is not of now."""

from __future__ import annotations

import io
import random
import re
from typing import Any

import pytest
from rich.console import Console

from alhambra.client import State, Update
from alhambra.watch_screen import Drawing, Link, WatchScreen

LINK = Link(State.LIVE, "https://bank.example", 1_200_000, 0.4)


def portfolio(seq: int, values: dict[str, tuple[int, int]], before: Update | None = None) -> Update:
    """Make an update from (value, day P&L) in cents."""
    rows: dict[str, dict[str, Any]] = {
        symbol: {
            "symbol": symbol,
            "name": f"{symbol} Inc.",
            "quantity": 10.0,
            "price": value / 1000,
            "value": value / 100,
            "weight": 0.1,
            "day_pnl": gain / 100,
            "day_pnl_pct": 1.5,
            "unrealised_pnl": 1.0,
        }
        for symbol, (value, gain) in values.items()
    }
    totals = {
        "name": "Growth",
        "base_currency": "EUR",
        "total_equity": sum(value for value, _ in values.values()) / 100,
        "day_pnl": sum(gain for _, gain in values.values()) / 100,
        "day_pnl_pct": 0.5,
        "cash": 7.0,
    }
    changed = {key for key, row in rows.items() if before is None or before.rows.get(key) != row}
    return Update("portfolio:x", 1, seq, 0, 0, 0, totals, rows, changed, set(), seq == 1, True, State.LIVE)


def floor(portfolios: int, shown: int) -> Update:
    """Make an update of a book in two currencies, of which a window is shown."""
    rows = {
        str(number): {
            "portfolio_id": str(number),
            "name": f"Portfolio {number}",
            "client": "Ana Alba",
            "base_currency": "JPY",
            "total_equity": 150_000.0,
            "day_pnl": 300.0,
            "day_pnl_pct": 0.2,
            "equity_reference": 1_000.0,
            "day_pnl_reference": 2.0,
        }
        for number in range(shown)
    }
    totals = {
        "reference_currency": "USD",
        "total_equity": portfolios * 1_000.0,
        "day_pnl": portfolios * 2.0,
        "day_pnl_pct": 0.2,
        "portfolios": portfolios,
        "view_rows": portfolios,
        "view_order": list(rows),
    }
    return Update("floor:x", 1, 1, 0, 0, 0, totals, rows, set(rows), set(), True, True, State.LIVE)


def draw(screen: WatchScreen, width: int, height: int, now: float = 0.0, link: Link = LINK) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width, height=height, force_terminal=False, color_system=None)
    console.print(Drawing(screen, now, link))
    return output.getvalue().splitlines()


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40), (100, 12), (200, 60)])
def test_it_fills_the_terminal_and_columns_stay_where_they_are(width: int, height: int) -> None:
    values = {f"S{index:02}": (random.Random(index).randrange(10**4, 10**8), index - 9) for index in range(18)}
    screen, update = WatchScreen("x"), portfolio(1, values)
    screen.take(update, 0.0)
    edges = set()
    for seq in range(2, 30):
        values = {symbol: (value + 1, gain) for symbol, (value, gain) in values.items()}
        update = portfolio(seq, values, update)
        screen.take(update, seq * 0.3)
        lines = draw(screen, width, height, seq * 0.3)
        assert len(lines) == height
        assert all(len(line) <= width for line in lines)
        header = next(index for index, line in enumerate(lines) if line.startswith(" Symbol"))
        edges.add((header, *(match.end() for match in re.finditer(r"\S+(?: \S+)*", lines[header]))))
        total = next(line for line in lines if line.startswith(" Total  "))
        assert total.rstrip().endswith("+0.50") or width >= 132
    assert len(edges) == 1


def test_the_rows_that_have_no_room_are_added_up() -> None:
    screen = WatchScreen("x")
    screen.take(portfolio(1, {f"S{index:02}": (index * 1_000 + 5, -index) for index in range(30)}), 0.0)
    lines = draw(screen, 80, 24)
    rest = next(index for index, line in enumerate(lines) if " more " in line)
    rows = [line.split() for line in lines if re.match(r" S\d\d ", line)]
    shown = sum(number(row[2]) for row in rows)
    more, total = lines[rest].split(), lines[rest + 1].split()
    assert int(more[0]) + len(rows) == 30
    assert shown + number(more[2]) == pytest.approx(number(total[1]))
    assert total[0] == "Total"


def test_an_order_stays_for_a_while_though_values_cross() -> None:
    screen = WatchScreen("x")
    screen.take(portfolio(1, {"AAA": (2_000, 1), "BBB": (1_999, 1)}), 0.0)
    screen.take(portfolio(2, {"AAA": (1_998, 1), "BBB": (1_999, 1)}), 1.0)
    first = [line[1:4] for line in draw(screen, 80, 24) if line.startswith((" AAA", " BBB"))]
    screen.take(portfolio(3, {"AAA": (1_997, 1), "BBB": (1_999, 1)}), 7.0)
    later = [line[1:4] for line in draw(screen, 80, 24) if line.startswith((" AAA", " BBB"))]
    assert (first, later) == (["AAA", "BBB"], ["BBB", "AAA"])


def test_a_book_shows_the_window_and_the_whole() -> None:
    screen = WatchScreen("The book")
    screen.take(floor(10_000, 100), 0.0)
    text = "\n".join(draw(screen, 80, 24))
    assert "10,000,000.00" in text
    assert re.search(r"9,99\d more", text)
    wide = "\n".join(draw(screen, 140, 24))
    assert "150,000 " in wide  # yen have no cents
    assert "Ana Alba" in wide


@pytest.mark.parametrize("state", State)
def test_it_says_how_the_connection_stands_before_there_is_anything_and_after(state: State) -> None:
    screen, link = WatchScreen("Growth"), Link(state, "https://bank.example")
    before = "\n".join(draw(screen, 80, 24, link=link))
    assert "Waiting for the first state from https://bank.example" in before
    assert str(state) in before
    screen.take(portfolio(1, {"AAA": (2_000, 1)}), 0.0)
    assert str(state) in draw(screen, 80, 24, link=link)[0]


def test_what_is_not_of_now_is_dimmed() -> None:
    screen = WatchScreen("Growth")
    screen.take(portfolio(1, {"AAA": (2_000, 1)}), 0.0)
    live = screen.lines(80, 24, 0.0, LINK)
    stale = screen.lines(80, 24, 0.0, Link(State.STALE, "x"))
    assert all(
        any(span.style == "dim" and len(line) <= span.end for span in line.spans) for line in stale[1:-1] if line
    )
    assert any(not any(span.style == "dim" for span in line.spans) for line in live[1:-1] if line)
