"""A recorded file through the whole pipeline gives what a recomputation gives, and a difference is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alhambra.bank import ExtraInstrument
from alhambra.verify.replay import Verdict
from alhambra.verify.survey import NothingToVerify, Survey, extra_instruments, survey_file
from ingest.market.source import parse_feed

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests" / "data" / "quotes_with_faults.csv"
SHARED = Path(os.environ.get("ALHAMBRA_SHARED", ROOT.parent / "shared"))
REAL = SHARED / "data" / "taq-highfrequency" / "quotes_raw_XXX_2018-01-02_03.csv.gz"


def replay(*arguments: str) -> tuple[int, dict, str]:
    command = [sys.executable, "-m", "alhambra.main", "verify", "replay", *arguments, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    return ended.returncode, json.loads(ended.stdout or "{}"), ended.stderr


@pytest.mark.integration
def test_live_equals_batch_on_the_shipped_file() -> None:
    code, verdict, said = replay(str(SHIPPED), "--map", "time=time,bid=bid,ask=ask,last=last,symbol=symbol")
    assert code == 0, said
    assert verdict["largest_difference"] == 0.0
    assert verdict["portfolios"] == 84
    assert verdict["refused"], "the shipped file has faults, and each is counted"


@pytest.mark.integration
@pytest.mark.skipif(not REAL.exists(), reason="needs the real data of ../shared/data")
def test_live_equals_batch_on_two_days_of_real_nyse_quotes() -> None:
    code, verdict, said = replay(str(REAL), "--map", "time=ts_utc,bid=BID,ask=OFR,symbol=SYMBOL", "--portfolios", "20")
    assert code == 0, said
    assert (verdict["quotes"], verdict["refused"], verdict["moved"]) == (131_305, {"no_price": 96}, 20)
    assert verdict["largest_difference"] == 0.0


def test_a_file_without_a_usable_quote_proves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text("t,p\nnever,-1\n")
    code, verdict, said = replay(str(file), "--map", "time=t,last=p,symbol.*=AAPL")
    assert (code, verdict) == (1, {})
    assert "holds no quote" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("difference", "moved", "holds"), [(0.0, 3, True), (9e-10, 3, True), (1.1e-9, 3, False), (0.0, 0, False)]
)
def test_a_verdict_holds_only_within_the_tolerance_and_when_something_moved(difference, moved, holds) -> None:
    assert Verdict(10, {}, 1, 3, moved, difference, "p", 1.0).holds is holds


def test_the_survey_finds_the_first_good_mark_of_each_symbol(tmp_path: Path) -> None:
    file = tmp_path / "quotes.csv"
    file.write_text("t,s,b,a\n2026-01-02T10:00:00Z,A,0,2\n2026-01-02T10:00:01Z,A,1,2\n2026-01-02T10:00:02Z,B,3,5\n")
    feed = parse_feed(f"recorded:{file}?map=time=t,symbol=s,bid=b,ask=a,symbol.B=XOM")
    assert survey_file(feed).first_marks == {"A": 1.5, "XOM": 4.0}


def test_what_the_bank_lacks_is_added_and_moves_every_portfolio() -> None:
    survey = Survey({"AAPL": 100.0, "BTC/USDT": 39_433.0, "USD/JPY": 86.7})
    assert extra_instruments(survey, {"AAPL"}, "USD") == [
        ExtraInstrument("USD/JPY", "JPY", 86.7, "fx", "USD"),
        ExtraInstrument("BTC/USDT", "USD", 39_433.0),
        ExtraInstrument("JPY note", "JPY", 100.0, "bond"),
    ]


def test_a_cross_rate_is_refused_because_it_moves_nothing() -> None:
    with pytest.raises(NothingToVerify, match="EUR/GBP is a cross rate"):
        extra_instruments(Survey({"EUR/GBP": 0.85}), set(), "USD")
