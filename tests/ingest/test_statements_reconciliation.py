"""What is booked is held against the statement's own word, and a difference says where it is from."""

from __future__ import annotations

from decimal import Decimal

from fakes_statements import ACTION, bank_view, cash, element, flex, plan, read_one, trades

from ingest.statements.matching import BankInstrument
from ingest.statements.reconciliation import Comparison, compare_cash, compare_positions

APPLE = BankInstrument(10, "AAPL", None, "USD", "equity", Decimal(1))
OPTION = {"tradeID": "1000002", "assetCategory": "OPT", "multiplier": "100"}
NO_ROWS, REFUSED = "the statement does not list the rows that its sum is of", "rows that are refused"


def report(**values: str) -> str:
    return element("CashReportCurrency", {"currency": "USD", "levelOfDetail": "Currency", **values})


def compared(content: bytes) -> dict[str, Comparison]:
    return {line.heading: line for line in compare_cash(plan(read_one(content), bank_view(APPLE)))}


def test_a_report_that_agrees_agrees_in_every_heading() -> None:
    said = report(startingCash="2000", endingCash="99", netTradesPurchases="-1900", commissions="-1")
    lines = compared(flex(CashReport=[said], Trades=trades({})))
    assert {heading: line.agrees for heading, line in lines.items()} == {
        "purchases": True,
        "commission": True,
        "balance": True,
    }


def test_what_refused_rows_would_add_explains_a_difference() -> None:
    said = report(startingCash="0", endingCash="-3802", netTradesPurchases="-3800", commissions="-2")
    lines = compared(flex(CashReport=[said], Trades=trades({}, OPTION)))
    assert {line.why for line in lines.values()} == {REFUSED}
    assert {line.difference for line in lines.values()} == {-1900, -1, -1901}


def test_a_refused_row_without_a_clear_heading_explains_one_too() -> None:
    said = report(startingCash="0", endingCash="-3801", netTradesPurchases="-3800", commissions="-1")
    lines = compared(flex(CashReport=[said], Trades=trades({}, OPTION | {"netCash": "-1900"})))
    assert (lines["purchases"].why, lines["commission"].why, lines["balance"].why) == (REFUSED, "", REFUSED)


def test_a_sum_without_its_rows_is_said_to_be_one() -> None:
    said = report(startingCash="0", endingCash="-1891", netTradesPurchases="-1900", commissions="-1", dividends="10")
    lines = compared(flex(CashReport=[said], Trades=trades({})))
    assert (lines["dividend"].why, lines["balance"].why, lines["purchases"].why) == (NO_ROWS, NO_ROWS, "")


def test_a_heading_that_nobody_knows_is_compared_all_the_same() -> None:
    said = report(startingCash="0", endingCash="-1908", netTradesPurchases="-1900", commissions="-1", salesTax="-7")
    assert compared(flex(CashReport=[said], Trades=trades({})))["salesTax"].why == NO_ROWS


def test_without_a_report_the_rows_themselves_are_the_measure() -> None:
    lines = compare_cash(plan(read_one(flex(Trades=trades({}, OPTION), CashTransactions=cash({}))), bank_view(APPLE)))
    assert [(line.currency, line.stated, line.booked, line.why) for line in lines] == [
        ("EUR", 500, 500, ""),
        ("USD", -3802, -1901, REFUSED),
    ]


def test_what_the_broker_says_is_held_is_held_against_what_is() -> None:
    held = element("OpenPosition", ACTION | {"position": "10"})
    unknown = element("OpenPosition", ACTION | {"position": "3", "conid": "1234", "isin": "", "symbol": "XYZ"})
    done = plan(read_one(flex(Trades=trades({}), OpenPositions=[held, unknown])), bank_view(APPLE))
    apple, other = compare_positions(done, {10: Decimal(10)})
    assert (apple.agrees, apple.why) == (True, "")
    assert (other.stated, other.derived, other.agrees) == (3, 0, False)
    assert "earlier statements" in other.why
