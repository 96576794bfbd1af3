"""Sessions with faults in them, decoded from their files: the good is told, the bad is refused, nothing is invented."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from alhambra.main import app

SESSIONS = Path(__file__).parents[1] / "data" / "sessions"


def decode(venue: str) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    ran = CliRunner().invoke(app, ["feed", "decode", venue, str(SESSIONS / f"{venue}_faults.txt")])
    assert ran.exit_code == 1, "something could not be understood"
    *told, counts = (json.loads(line) for line in ran.stdout.splitlines())
    return told, counts, ran.stderr.splitlines()


def test_coinbase_tells_the_top_only_of_a_book_that_is_whole() -> None:
    told, counts, refused = decode("coinbase")
    assert [(one["bid"], one["ask"]) for one in told] == [
        (10.00, 10.02),  # the snapshot; a change before it said nothing
        (10.01, 10.02),
        (10.00, 10.02),
        (10.00, 10.02),  # whole again after records that could not be read
        (10.00, 10.03),
        (10.10, 10.12),  # whole again after a change was missing and the book crossed
        (10.10, 10.11),
        (10.20, 10.25),  # another connection: nothing of the last one holds
    ]
    wanted = {"quotes": 8, "snapshots": 4, "refusals": 7, "complaints": 1, "heartbeats": 1}
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["gaps"] >= 2
    assert [line.split(":")[0] for line in refused] == [f"line {number}" for number in (9, 10, 13, 14, 15, 16, 18)]


def test_binance_tells_no_top_twice_none_that_was_overtaken_and_counts_lost_deals() -> None:
    told, counts, refused = decode("binance")
    assert [(one["bid"], one["ask"]) for one in told if one["kind"] == "quote"] == [
        (10.00, 10.02),
        (10.01, 10.02),
        (10.05, 10.06),
        (10.07, 10.08),  # another connection, whose numbers begin anew
    ]
    assert [one["price"] for one in told if one["kind"] == "trade"] == [10.02, 10.01, 10.01]
    wanted = {"quotes": 4, "trades": 3, "gaps": 1, "refusals": 7, "complaints": 1}
    assert {name: counts[name] for name in wanted} == wanted
    assert len(refused) == 7
