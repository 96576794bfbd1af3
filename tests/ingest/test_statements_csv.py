"""A CSV export becomes entries by a mapping; what the mapping does not say is refused and never guessed."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.statements.errors import MappingUnclear, StatementUnreadable
from ingest.statements.mapped_csv import read_csv
from ingest.statements.mapping import Mapping, parse_mapping
from ingest.statements.model import Entry, Statement

MAPPING = """
title = "house bank export"
decimal = ","
amounts = "net"
charges = "positive"
price_in_percent = ["bond"]
delimiters = [";", ","]

[columns]
kind = ["what"]
moment = "day"
amount = "amount"
currency = "currency"
asset_class = "class"
symbol = "symbol"
isin = "isin"
quantity = "pieces"
price = "price"
commission = "fee"
tax = "tax"
reference = "number"
description = "text"

[classes]
share = "equity"
bond = "bond"

[kinds]
bought = { kind = "trade", side = "buy", accrued = ["bond"] }
sold = { kind = "trade", side = "sell" }
dividend = { kind = "dividend" }
interest = { kind = "interest", of_instrument = "coupon" }
money = { kind = "flow" }
removed = { kind = "counterpart", of = "sold" }
split = { kind = "split" }
"""
HEADER = "what;day;amount;currency;class;symbol;isin;pieces;price;fee;tax;number;text"


def mapping(text: str = MAPPING) -> Mapping:
    return parse_mapping(text.encode())


def read(*rows: str, header: str = HEADER) -> Statement:
    return read_csv("\n".join([header, *rows]).encode(), mapping(), "house", "42", "EUR")


def only(*rows: str) -> Entry:
    statement = read(*rows)
    assert statement.rejections == ()
    return statement.entries[0]


def refusal(content: bytes) -> str:
    """Return why a file is refused as a whole, nothing where it is not."""
    try:
        read_csv(content, mapping(), "house", "42", "EUR")
    except StatementUnreadable as refused:
        return str(refused)
    return ""


def reason(*rows: str) -> str:
    statement = read(*rows)
    assert statement.entries == ()
    return statement.rejections[0].reason


def test_a_net_amount_is_taken_apart_by_the_charges() -> None:
    entry = only("bought;2024-01-02;-1002,50;EUR;share;SIE;DE0007236101;10;100;2,50;;7;x")
    assert (entry.gross, entry.commission, entry.quantity) == (-1000, Decimal("-2.50"), 10)
    assert (entry.reference, entry.place) == ("row:7", "line 2")


def test_a_sale_takes_pieces_out_whatever_sign_the_column_has() -> None:
    assert only("sold;2024-01-02;1000;EUR;share;SIE;DE0007236101;10;100;;;8;x").quantity == -10


def test_accrued_interest_is_what_a_bond_cost_beyond_its_price() -> None:
    entry = only("bought;2024-01-02;-9950;EUR;bond;BUND;DE0001102440;10000;98,5;;;9;x")
    assert (entry.gross, entry.accrued) == (-9950, -100)


def test_income_of_an_instrument_is_told_from_that_of_cash() -> None:
    assert only("interest;2024-01-02;5;EUR;;;;;;;;1;x").kind == "interest"
    assert only("interest;2024-01-02;5;EUR;bond;BUND;DE0001102440;;;;;1;x").kind == "coupon"


def test_the_tax_withheld_from_a_dividend_is_added_to_what_was_paid() -> None:
    entry = only("dividend;2024-01-02;75;EUR;share;SIE;DE0007236101;10;;;25;1;x")
    assert (entry.gross, entry.tax) == (100, -25)


def test_a_row_whose_booking_another_row_makes_needs_that_row() -> None:
    sold = "sold;2024-01-02;1000;EUR;share;SIE;DE0007236101;10;100;;;8;x"
    removed = "removed;2024-01-03;;EUR;share;SIE;DE0007236101;-10;;;;9;x"
    together = read(sold, removed)
    assert (len(together.entries), [one.reason for one in together.skipped]) == (1, ["counterpart"])
    assert reason(removed) == "no_counterpart"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("gift;2024-01-02;5;EUR;;;;;;;;1;x", "unknown_type"),
        ("money;2024-01-02;5", "wrong_columns"),
        ("money;02.01.2024;5;EUR;;;;;;;;1;x", "unreadable_date"),
        ("money;2024-01-02;1.000,50;EUR;;;;;;;;1;x", "unreadable_number"),
        ("money;2024-01-02;5;;;;;;;;;1;x", "missing_field"),
        ("money;2024-01-02;0;EUR;;;;;;;;1;x", "missing_field"),
        ("bought;2024-01-02;-1000;EUR;share;SIE;DE0007236101;;100;;;1;x", "missing_field"),
        ("bought;2024-01-02;1000;EUR;share;SIE;DE0007236101;10;100;;;1;x", "amounts_disagree"),
        ("bought;2024-01-02;-1100;EUR;share;SIE;DE0007236101;10;100;;;1;x", "amounts_disagree"),
        ("bought;2024-01-02;-15000;EUR;bond;BUND;DE0001102440;10000;98,5;;;1;x", "amounts_disagree"),
        ("bought;2024-01-02;-100;EUR;warrant;W;;10;10;;;1;x", "unsupported_instrument"),
        ("bought;2024-01-02;-1000;EUR;share;SIE;DE000723610;10;100;;;1;x", "invalid_isin"),
    ],
)
def test_a_row_that_cannot_be_booked_says_why(row: str, expected: str) -> None:
    assert reason(row) == expected


def test_income_of_what_we_do_not_value_is_money_all_the_same() -> None:
    assert only("dividend;2024-01-02;75;EUR;warrant;W;;;;;;1;x").instrument is None


def test_the_delimiter_is_the_one_with_which_the_columns_are_there() -> None:
    row = 'money,2024-01-02,"5,5",EUR,,,,,,,,1,"a, b"'
    statement = read(row, header=HEADER.replace(";", ","))
    assert [one.gross for one in statement.entries] == [Decimal("5.5")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"what;day\n", "no house bank export: it has no column"),
        (HEADER.encode() + b"\nmoney;\xff\xfe", "not UTF-8"),
        (HEADER.encode("utf-16"), "not UTF-8"),
        (HEADER.encode() + b"\nmoney;\0", "zero bytes"),
        (";".join(f"c{n}" for n in range(1_000)).encode(), "more than 200 columns"),
        (";".join("c" for _ in range(1_000_000)).encode(), "longer than 64 KiB"),
        (HEADER.encode() + b'\nmoney;"2024', "no CSV"),
        (HEADER.encode() + b"\nmoney;2024-01-02;5;EUR;;;;;;;;1;=HYPERLINK(1)", "formula as its description"),
        (b"", "no house bank export"),
    ],
)
def test_what_is_no_such_export_is_refused_in_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(StatementUnreadable, match=said) as refused:
        read_csv(content, mapping(), "house", "42", "EUR")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('title = "house bank export"', "", "title"),
        ('kind = "flow"', 'kind = "theft"', "theft"),
        ('of = "sold"', 'of = "nothing"', "nothing"),
        ('share = "equity"', 'share = "option"', "option"),
        ('delimiters = [";", ","]', 'delimiters = [";;"]', "single characters"),
        ('decimal = ","', 'decimal = ","\ntime_zone = "Mars/Olympus"', "Mars"),
        ('moment = "day"', 'moment = "day"\nmood = "x"', "mood"),
        ('quantity = "pieces"', "", "columns for symbol and quantity"),
        ("[kinds]", "[kinds", "cannot be read"),
    ],
)
def test_a_mapping_that_is_unclear_says_where(before: str, after: str, said: str) -> None:
    assert before in MAPPING
    with pytest.raises(MappingUnclear, match=said):
        mapping(MAPPING.replace(before, after))


CELLS = st.one_of(
    st.text(max_size=8).filter(lambda text: text.isprintable() and not text.lstrip().startswith("=")),
    st.sampled_from(["bought", "sold", "dividend", "money", "removed", "split", "2024-01-02", "EUR", "share", "bond"]),
    st.decimals(allow_nan=True, allow_infinity=True).map(lambda number: str(number).replace(".", ",")),
)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=15), max_size=5))
def test_whatever_stands_in_the_cells_each_row_is_read_or_refused(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows(rows)
    statement = read(*text.getvalue().splitlines())
    assert len(statement.entries) + len(statement.rejections) + len(statement.skipped) == len(rows)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_sentence(content: bytes) -> None:
    assert "\n" not in refusal(HEADER.encode() + b"\n" + content)
