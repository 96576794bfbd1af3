"""Import the public statements: every row is booked or listed with a reason, and cash adds up to the cent.

The files are twelve anonymised Flex statements and two exports of a broker (see their SOURCES.md). What a file is
expected to make was counted and added up apart, from its rows.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from fakes_statements import bank_view, booked_by, held_by, plan
from lxml import etree

from alhambra.statements.statement_file import load_mapping, read_statement_file
from ingest.statements.model import Statement
from ingest.statements.planning import ImportPlan
from ingest.statements.reconciliation import compare_cash

# File: rows booked; refused, by reason; rows that book nothing of their own, by reason; cash by currency of what is
# booked, to the ledger's four places.
FLEX: dict[str, tuple[int, dict[str, int], dict[str, int], dict[str, str]]] = {
    "01.xml": (
        23,
        {"unsupported_instrument": 1},  # an option
        {"tax_lot": 15},
        {"CAD": "-912.14", "CHF": "-19.49", "USD": "-2.07"},
    ),
    "02.xml": (
        8,
        {"unsupported_instrument": 4, "amounts_disagree": 1},  # an exercise whose net leaves its commission out
        {},
        {"EUR": "-22257.6801", "USD": "16.15"},
    ),
    "03.xml": (1, {}, {"summary": 1}, {"USD": "0.02"}),
    "05.xml": (4, {}, {}, {"EUR": "-1275.25", "USD": "-2850.98"}),
    "07.xml": (1, {}, {}, {"EUR": "-726"}),
    "09.xml": (2, {}, {}, {"EUR": "-2.4444"}),  # a trade and its cancellation, without the commission
    "11.xml": (1, {}, {}, {"USD": "-350.175"}),
    "14.xml.gz": (10, {}, {}, {"CHF": "5.3537", "USD": "32.509"}),
    "20.xml": (3, {}, {"accrual": 4, "summary": 3}, {"USD": "-2995.205"}),
    "23.xml": (3, {}, {}, {"USD": "475.5249"}),
    "25.xml.gz": (3, {"invalid_isin": 1}, {}, {"EUR": "13.51", "GBP": "4.4662", "USD": "4.4662"}),
    "27.xml": (1, {}, {}, {"GBP": "-1369.52"}),
}
CSV: dict[str, tuple[int, dict[str, int], dict[str, int], dict[str, str]]] = {
    # knock-outs and a private fund are not valued; the rows that take a redeemed bond out are those of its cash
    "01.csv": (330, {"unsupported_instrument": 5}, {"counterpart": 4}, {"EUR": "-646.93"}),
    "02.csv": (9, {}, {}, {"EUR": "11.92"}),
}
CURRENCIES = ("AUD", "CAD", "CHF", "EUR", "GBP", "USD")
SECTIONS = ("Trades", "CashTransactions", "CorporateActions", "Transfers", "FxTransactions")


def flex_path(shared_data: Path, name: str) -> Path:
    return shared_data / "ibkr-flex" / f"testIBFlexStatementFile{name}"


def read_flex_file(shared_data: Path, name: str) -> Statement:
    return read_statement_file(flex_path(shared_data, name), None, None, None).statement


def read_csv_file(shared_data: Path, name: str) -> Statement:
    path = shared_data / "traderepublic-export" / f"TransactionExport{name}"
    return read_statement_file(path, "trade_republic", None, None).statement


def places(done: ImportPlan) -> list[str]:
    """Return the place of every row that is accounted for; an action has two."""
    named = [entry.place for entry in done.statement.entries]
    refused_later = {one.place for one in done.rejections} & set(named)
    listed = [one.place for one in done.rejections if one.place not in refused_later]
    return [place for one in [*named, *listed, *(one.place for one in done.skipped)] for place in one.split(" and ")]


def rows_of_flex(path: Path) -> int:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    sections = [section for one in etree.fromstring(content).iter("FlexStatement") for section in one]
    accruals = [one for one in sections if str(one.tag).endswith("Accruals")]
    return sum(len(one) for one in [*(one for one in sections if one.tag in SECTIONS), *accruals])


def check(done: ImportPlan, expected: tuple[int, dict[str, int], dict[str, int], dict[str, str]]) -> None:
    entries, refused, skipped, money = expected
    assert done.entries == entries
    assert Counter(one.reason for one in done.rejections) == refused
    assert all(one.detail for one in done.rejections)
    assert Counter(one.reason for one in done.skipped) == skipped
    held = held_by(done)
    assert {code: amount for code, amount in held.items() if code in CURRENCIES} == {
        code: Decimal(amount) for code, amount in money.items()
    }


@pytest.mark.parametrize("name", FLEX)
def test_a_flex_statement_is_booked_but_for_what_is_listed(shared_data: Path, name: str) -> None:
    done = plan(read_flex_file(shared_data, name))
    check(done, FLEX[name])
    accounted = places(done)
    assert len(accounted) == len(set(accounted)) == rows_of_flex(flex_path(shared_data, name))


@pytest.mark.parametrize("name", CSV)
def test_an_export_is_booked_but_for_what_is_listed(shared_data: Path, name: str) -> None:
    done = plan(read_csv_file(shared_data, name))
    check(done, CSV[name])
    text = (shared_data / "traderepublic-export" / f"TransactionExport{name}").read_text(encoding="utf-8")
    accounted = places(done)
    assert len(accounted) == len(set(accounted)) == len(text.splitlines()) - 1


@pytest.mark.parametrize("name", [*FLEX, *CSV])
def test_a_statement_that_is_imported_again_changes_nothing(shared_data: Path, name: str) -> None:
    statement = read_csv_file(shared_data, name) if name in CSV else read_flex_file(shared_data, name)
    first = plan(statement)
    again = plan(statement, booked=booked_by(first))
    assert again.bookings == []
    assert (len(again.duplicates), len(again.rejections)) == (first.entries, len(first.rejections))


def test_every_difference_from_what_a_statement_says_itself_has_a_reason(shared_data: Path) -> None:
    for name in [*FLEX, *CSV]:
        statement = read_csv_file(shared_data, name) if name in CSV else read_flex_file(shared_data, name)
        lines = compare_cash(plan(statement))
        assert lines
        assert all(line.agrees == (not line.why) for line in lines)
        refused = any(line.refused for line in lines)
        if name not in ("20.xml",) and not refused:
            assert [line for line in lines if not line.agrees] == []


def test_the_report_of_cash_of_file_14_agrees_in_every_heading(shared_data: Path) -> None:
    lines = compare_cash(plan(read_flex_file(shared_data, "14.xml.gz")))
    assert {(line.currency, line.heading): line.difference for line in lines} == dict.fromkeys(
        [
            *(("CHF", heading) for heading in ("commission", "flow", "purchases", "balance")),
            *(("USD", heading) for heading in ("commission", "purchases", "sales", "balance")),
        ],
        Decimal(0),
    )


def test_the_report_of_cash_of_file_20_agrees_where_it_lists_its_rows(shared_data: Path) -> None:
    lines = {(one.currency, one.heading): one for one in compare_cash(plan(read_flex_file(shared_data, "20.xml")))}
    assert lines["USD", "purchases"].agrees
    assert lines["USD", "commission"].agrees
    missing = {key for key, one in lines.items() if not one.agrees}
    assert missing == {(code, heading) for code in ("CAD", "USD") for heading in ("dividend", "tax", "balance")}


def test_the_reverse_split_and_the_tender_of_file_01_keep_the_cost(shared_data: Path) -> None:
    done = plan(read_flex_file(shared_data, "01.xml"))
    assert {name: held_by(done)[name] for name in ("GCM",)} == {"GCM": 480}
    assert not {"GCM.OLD", "UUU", "UUU.TEN2"} & held_by(done).keys()


def test_a_bank_without_these_instruments_books_the_money_alone(shared_data: Path) -> None:
    done = plan(read_flex_file(shared_data, "14.xml.gz"), bank_view(), create=False)
    assert Counter(one.reason for one in done.rejections) == {"unknown_instrument": 6}
    assert {one.type for one in done.bookings} == {"deposit", "fx_in", "fx_out", "fee"}


def test_the_shipped_mapping_knows_every_kind_of_row_in_both_exports(shared_data: Path) -> None:
    _, mapping = load_mapping("trade_republic")
    for name, delimiter in (("01.csv", ";"), ("02.csv", ",")):
        path = shared_data / "traderepublic-export" / f"TransactionExport{name}"
        with path.open(encoding="utf-8", newline="") as file:
            kinds = {f"{row['category']}/{row['type']}" for row in csv.DictReader(file, delimiter=delimiter)}
        assert kinds <= mapping.kinds.keys()
