"""`alhambra feed decode`: quotes and trades as JSON lines, then counts; status 1 when something was not understood."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alhambra.errors import CannotStart
from alhambra.main import app

SESSIONS = Path(__file__).parents[1] / "data/sessions"
DECODED = sorted(SESSIONS.glob("*.decoded.jsonl"))


def decode(*arguments: str, content: bytes | None = None) -> tuple[int, list[Any], str]:
    """Run the command in this process, or where it reads standard input in one of its own."""
    if content is None:
        ran = CliRunner().invoke(app, ["feed", "decode", *arguments])
        assert ran.exception is None or isinstance(ran.exception, SystemExit | CannotStart)
        errors = str(ran.exception) if isinstance(ran.exception, CannotStart) else ran.stderr
        return ran.exit_code, [json.loads(line) for line in ran.stdout.splitlines()], errors
    command = [sys.executable, "-m", "alhambra.main", "feed", "decode", *arguments]
    done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr.decode()
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


@pytest.mark.parametrize("expected", DECODED, ids=lambda path: path.name)
def test_a_session_is_decoded_as_it_was(expected: Path) -> None:
    """Each `NAME.decoded.jsonl` is what `NAME.txt` says, and NAME begins with the venue."""
    name = expected.name.removesuffix(".decoded.jsonl")
    status, lines, errors = decode(name.split("_")[0], str(SESSIONS / f"{name}.txt"))
    assert lines == [json.loads(line) for line in expected.read_text().splitlines()]
    assert (status, errors) == (0, "")


@pytest.mark.parametrize(
    ("venue", "name", "counts"),
    [
        (
            "coinbase",
            "COINBASE.ws.head2500.txt.gz",
            {"lines": 2_500, "messages": 2_496, "quotes": 419, "trades": 30, "snapshots": 10},
        ),
        ("binance", "BINANCE.ws.txt.gz", {"lines": 266, "messages": 265, "quotes": 84, "trades": 2, "snapshots": 3}),
    ],
)
def test_a_real_session_is_understood_wholly(shared_data: Path, venue: str, name: str, counts: dict[str, int]) -> None:
    status, lines, errors = decode(venue, str(shared_data / "ws-recorded" / name))
    assert (status, errors) == (0, "")
    last = lines[-1]
    assert last["kind"] == "counts"
    assert {key: last[key] for key in counts} == counts
    assert (last["gaps"], last["refusals"], last["heartbeats"], last["complaints"]) == (0, 0, 0, 0)
    assert {line["kind"] for line in lines[:-1]} == {"quote", "trade"}
    assert sum(line["kind"] == "quote" for line in lines) == last["quotes"]
    assert all(line["bid"] < line["ask"] for line in lines if line["kind"] == "quote")


def test_what_is_not_understood_is_said_with_its_line_and_the_rest_is_decoded() -> None:
    session = b"\n".join(
        [
            b'1700000000: {"type":"ticker","product_id":"ABC-USD","price":"1","best_bid":"0.9","best_ask":"1.1"}',
            b"what is this",
            b'1700000001: {"type":"ticker","product_id":"ABC-USD","price":"one"}',
            b'1700000002: {"type":"ticker","product_id":"ABC-USD","price":"2","best_bid":"1.9","best_ask":"2.1"}',
        ]
    )
    status, lines, errors = decode("coinbase", "-", content=gzip.compress(session))
    assert status == 1
    assert [line.split(":")[0] for line in errors.splitlines()] == ["line 2", "line 3"]
    assert [line["kind"] for line in lines] == ["quote", "quote", "counts"]
    assert (lines[-1]["lines"], lines[-1]["messages"], lines[-1]["refusals"]) == (4, 3, 2)
    assert (lines[-1]["first"], lines[-1]["last"]) == (1_700_000_000.0, 1_700_000_002.0)


def test_a_venue_that_answers_requests_is_decoded_too() -> None:
    rates = b"<Cube currency='USD' rate='1.25'/><Cube currency='GBP' rate='0.5'/>"
    document = b"<Cube><Cube time='2026-10-30'>" + rates + b"</Cube></Cube>"
    line = b"https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml -> 1793376000: " + document
    status, lines, errors = decode("ecb?symbols=EUR/USD,GBP/USD", "-", content=line)
    assert (status, errors) == (0, "")
    assert [(one["symbol"], one["price"]) for one in lines[:-1]] == [("EUR/USD", 1.25), ("GBP/USD", 2.5)]


def test_an_absent_number_is_null() -> None:
    line = b'1700000000: {"u":7,"s":"ABCUSDT","b":"10.04","B":"1","a":"0","A":"0"}'
    _, lines, _ = decode("binance", "-", content=line)
    assert lines[0]["ask"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("nasdaq", "some.txt"),
        ("simulated", "some.txt"),
        ("ecb", "some.txt"),
        ("coinbase?colour=red", "some.txt"),
        ("coinbase", "no/such/file"),
    ],
)
def test_what_keeps_it_from_its_work_is_one_sentence(arguments: tuple[str, str]) -> None:
    status, lines, errors = decode(*arguments)
    assert (status, lines, len(errors.splitlines())) == (1, [], 1)


def test_who_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    session = tmp_path / "long.txt"
    tops = (f'{{"u":{number},"s":"A","b":"1.{number % 2}","B":"1","a":"2","A":"1"}}' for number in range(1, 20_000))
    session.write_text("".join(f"1700000000: {top}\n" for top in tops))
    command = [sys.executable, "-m", "alhambra.main", "feed", "decode", "binance", str(session)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=30) == 0
