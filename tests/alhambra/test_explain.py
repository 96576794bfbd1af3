"""The command prints what the API says, whole, and never hides that a figure does not match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alhambra.errors import CannotStart
from alhambra.explain import Question, ask, show

ROW: dict[str, Any] = {
    "symbol": "AAPL",
    "currency": "USD",
    "quantity": "10",
    "factor": "1",
    "price": {"value": "150.125", "at": "2026-11-20T15:00:00Z", "ageMs": 4100, "state": "live", "source": "simulated"},
    "priorClose": {
        "value": "148",
        "date": "2026-11-19",
        "splits": [{"exDate": "2026-11-20", "effectiveAt": "2026-11-20T08:00:00.000+00:00", "ratio": "1:25"}],
    },
    "rate": {"now": 1.0, "atClose": 1.0},
    "openingQuantity": "8",
    "traded": {
        "local": "298",
        "base": "298",
        "bookings": [
            {
                "reference": "b7", "type": "buy", "at": "2026-11-20T14:00:00+00:00", "symbol": "AAPL", "quantity": "2",
                "price": "149", "amount": "-298", "currency": "USD", "rateToBase": None,
            }
        ],
    },
    "cost": {
        "lotsAddUp": False,
        "local": "1200", "base": "1200", "average": "120",
        "lots": [{"reference": "b1", "openedAt": "2026-01-02", "quantity": "8", "cost": "902", "costBase": "902"}],
    },
    "terms": {
        "value": {"beforeRounding": "1501.25", "rounded": "1501.25"},
        "opening": {"beforeRounding": "1184", "rounded": "1184"},
        "traded": {"beforeRounding": "298", "rounded": "298"},
    },
}  # fmt: skip
TERMS = [
    {"name": "value", "symbols": "[q p x]", "words": "", "sign": 1},
    {"name": "opening", "symbols": "[q0 c y]", "words": "", "sign": -1},
    {"name": "traded", "symbols": "[t]", "words": "", "sign": -1},
]


def answer(matches: bool = True, symbol: str | None = "AAPL") -> dict[str, Any]:
    """Return what the API says of the day P&L of 19.25."""
    return {
        "field": "day_pnl",
        "symbol": symbol,
        "formula": {
            "symbols": "g = [q p x] - [q0 c y] - [t]",
            "words": "Value now, less value at the prior close.",
            "kind": "amount",
            "terms": TERMS,
        },
        "portfolios": [
            {
                "portfolio": {"id": "1", "name": "Growth", "baseCurrency": "USD"},
                "valuation": {
                    "epoch": 3, "seq": 41, "computedAt": "now", "positionsVersion": 7, "positionsAt": "then",
                    "dayBegan": "midnight",
                },
                "shown": 19.25,
                "recomputed": "19.25" if matches else "19.24",
                "matches": matches,
                "terms": [{**term, **ROW["terms"][term["name"]]} for term in TERMS],
                "rows": [ROW],
                "rates": [{"currency": "CHF", "now": 1.25, "atClose": 1.2, "quotes": []}],
            }
        ],
        "together": None,
    }  # fmt: skip


def printed(content: dict[str, Any]) -> tuple[str, bool]:
    console = Console(record=True, width=200, quiet=False)
    with console.capture() as capture:
        matches = show(content, console)
    return capture.get(), matches


def test_the_tree_names_formula_inputs_bookings_and_lots() -> None:
    text, matches = printed(answer())
    assert matches
    for part in (
        "day_pnl of AAPL in Growth (USD): 19.25",
        "recomputed to the same",
        "g = [q p x] - [q0 c y] - [t]",
        "valuation 3/41",
        "+ 1501.25 - 1184 - 298 = 19.25",
        "150.125 (live, 4.1 s old, from simulated)",
        "prior close 148 of 2026-11-19, adjusted for the split 1:25 of 2026-11-20",
        "buy b7",
        "lot b1",
        "bookings are missing",
        "1 CHF = 1.25 now",
    ):
        assert part in text


def test_a_figure_that_does_not_match_cannot_be_overlooked() -> None:
    text, matches = printed(answer(matches=False))
    assert not matches
    assert "RECOMPUTED 19.24" in text


def test_of_a_total_each_row_is_one_line() -> None:
    text, _ = printed(answer(symbol=None))
    assert "+ 1501.25 - 1184 - 298 = 19.25" in text
    assert "lot b1" not in text


async def test_without_a_platform_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="alhambra up"):
        await ask(Question("day_pnl", data=tmp_path / "nothing"))


async def test_without_a_login_it_asks_for_a_token() -> None:
    with pytest.raises(CannotStart, match="--token"):
        await ask(Question("day_pnl", url="http://127.0.0.1:9"))


async def test_an_address_that_does_not_answer_is_named() -> None:
    with pytest.raises(CannotStart, match="does not answer"):
        await ask(Question("day_pnl", url="http://127.0.0.1:9", token="anything"))
