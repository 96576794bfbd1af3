"""A Flex statement becomes entries row by row: what cannot be read is refused by itself, with its place and reason."""

from decimal import Decimal
from xml.sax.saxutils import escape

import pytest
from fakes_statements import ACTION, CASH, TRADE, actions, cash, element, flex, plan, read_one, trades
from hypothesis import given
from hypothesis import strategies as st

from ingest.statements.errors import StatementUnreadable
from ingest.statements.flex import looks_like_flex, read_flex
from ingest.statements.model import Entry, Statement

SECTIONS = {
    "Trades": ("Trade", TRADE),
    "CashTransactions": ("CashTransaction", CASH),
    "CorporateActions": ("CorporateAction", ACTION | {"quantity": "30"}),
    "Transfers": ("Transfer", ACTION | {"quantity": "10", "positionAmount": "1900"}),
}
FOREX = {
    "assetCategory": "CASH",
    "symbol": "EUR.USD",
    "conid": "12087792",
    "isin": "",
    "quantity": "-1000",
    "buySell": "SELL",
    "tradePrice": "1.1",
    "proceeds": "1100",
    "ibCommission": "-2",
    "ibCommissionCurrency": "EUR",
    "netCash": "0",
}


def only(statement: Statement) -> Entry:
    (entry,) = statement.entries
    assert statement.rejections == ()
    return entry


def refusal(content: bytes) -> str:
    """Return why a file is refused as a whole, nothing where it is not."""
    try:
        read_flex(content)
    except StatementUnreadable as refused:
        return str(refused)
    return ""


def reason(content: bytes) -> str:
    statement = read_one(content)
    assert statement.entries == ()
    (rejection,) = statement.rejections
    return rejection.reason


def test_a_purchase_keeps_its_parts_and_the_time_of_new_york() -> None:
    entry = only(read_one(flex(Trades=trades({}))))
    assert (entry.gross, entry.commission, entry.quantity, entry.price) == (-1900, -1, 10, 190)
    assert entry.moment.isoformat() == "2024-01-02T10:00:00-05:00"
    assert (entry.reference, entry.instrument.key if entry.instrument else None) == ("trade:1000001", "265598")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"dateTime": "2024-01-02, 19:45:00"}, "2024-01-02T19:45:00-05:00"),
        ({"dateTime": "2024-07-02;19:45:00"}, "2024-07-02T19:45:00-04:00"),
        ({"dateTime": "2024-01-02 19:45:00 EST"}, "2024-01-02T19:45:00-05:00"),
        ({"dateTime": "", "tradeDate": "20240102", "tradeTime": "093406"}, "2024-01-02T09:34:06-05:00"),
        ({"dateTime": "", "tradeDate": "20240102"}, "2024-01-02T00:00:00-05:00"),
    ],
)
def test_dates_are_read_in_the_forms_that_statements_use(attributes: dict[str, str], expected: str) -> None:
    assert only(read_one(flex(Trades=trades(attributes)))).moment.isoformat() == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"tradePrice": "190,00"}, "unreadable_number"),
        ({"tradePrice": "NaN"}, "unreadable_number"),
        ({"quantity": "1E99"}, "unreadable_number"),
        ({"dateTime": "01/02/2024"}, "unreadable_date"),
        ({"dateTime": "20240230"}, "unreadable_date"),
        ({"dateTime": "00010101"}, "unreadable_date"),
        ({"isin": "US037833100"}, "invalid_isin"),
        ({"currency": "dollars"}, "unreadable_currency"),
        ({"quantity": ""}, "missing_field"),
        ({"quantity": "-10"}, "amounts_disagree"),
        ({"netCash": "-1900"}, "amounts_disagree"),
        ({"tradePrice": "191"}, "amounts_disagree"),
        ({"assetCategory": "OPT", "multiplier": "100"}, "unsupported_instrument"),
        ({"assetCategory": "FUT"}, "unsupported_instrument"),
    ],
)
def test_a_trade_that_does_not_hold_together_is_refused_with_a_reason(
    attributes: dict[str, str], expected: str
) -> None:
    assert reason(flex(Trades=trades(attributes))) == expected


def test_a_refused_row_says_where_it_stands_and_what_it_would_have_done() -> None:
    statement = read_one(flex(Trades=trades({}, {"tradeID": "1000002", "tradePrice": "191"})))
    (rejection,) = statement.rejections
    assert rejection.place == "Trades row 2, line 1"
    assert [(one.heading, one.amount) for one in rejection.movements] == [("purchases", -1900), ("commission", -1)]
    assert len(statement.entries) == 1


def test_a_price_that_is_rounded_is_no_contradiction() -> None:
    rounded = {"quantity": "3", "tradePrice": "455.5054", "proceeds": "-1366.52", "netCash": "-1367.52"}
    assert only(read_one(flex(Trades=trades(rounded)))).gross == Decimal("-1366.52")


def test_an_isin_whose_check_digit_is_wrong_names_nothing() -> None:
    entry = only(read_one(flex(Trades=trades({"isin": "US0378331004"}))))
    assert entry.instrument is not None
    assert (entry.instrument.isin, entry.instrument.contract) == (None, "265598")


def test_a_bond_is_quoted_in_percent() -> None:
    bond = {"assetCategory": "BOND", "quantity": "10000", "tradePrice": "98.5", "proceeds": "-9850", "netCash": "-9851"}
    entry = only(read_one(flex(Trades=trades(bond))))
    assert entry.instrument is not None
    assert (entry.instrument.asset_class, entry.instrument.price_factor) == ("bond", Decimal("0.01"))


def test_an_exchange_has_two_sides_and_its_commission_in_its_own_currency() -> None:
    entry = only(read_one(flex(Trades=trades(FOREX))))
    assert entry.counterpart is not None
    assert (entry.gross, entry.currency) == (1100, "USD")
    assert (entry.counterpart.amount, entry.counterpart.currency) == (-1000, "EUR")
    assert (entry.commission, entry.commission_currency) == (-2, "EUR")


def test_a_cancelled_trade_is_booked_the_other_way() -> None:
    cancelled = {
        "transactionType": "TradeCancel",
        "quantity": "-10",
        "proceeds": "1900",
        "ibCommission": "0",
        "netCash": "1900",
        "buySell": "BUY (Ca.)",
    }
    entry = only(read_one(flex(Trades=trades(cancelled))))
    assert (entry.quantity, entry.gross) == (-10, 1900)


def test_orders_count_where_executions_are_not_listed_and_else_are_summaries() -> None:
    order = element("Order", TRADE | {"tradeID": "", "levelOfDetail": "ORDER"})
    assert len(read_one(flex(Trades=[order])).entries) == 1
    both = read_one(flex(Trades=[order, *trades({})]))
    assert (len(both.entries), [one.reason for one in both.skipped]) == (1, ["summary"])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Dividends", "dividend"),
        ("Payment In Lieu Of Dividends", "dividend"),
        ("Withholding Tax", "tax"),
        ("Broker Interest Paid", "interest"),
        ("Bond Interest Received", "coupon"),
        ("Other Fees", "fee"),
        ("Commission Adjustments", "fee"),
        ("Deposits & Withdrawals", "flow"),
    ],
)
def test_cash_is_income_charge_or_flow_by_its_type(kind: str, expected: str) -> None:
    named = kind.replace("&", "&amp;")
    assert only(read_one(flex(CashTransactions=cash({"type": named})))).kind == expected


def test_cash_of_an_unknown_type_is_refused_and_not_guessed() -> None:
    assert reason(flex(CashTransactions=cash({"type": "Lottery"}))) == "unknown_type"


def test_a_summary_of_rows_that_are_listed_is_passed_over() -> None:
    rows = cash({"levelOfDetail": "SUMMARY", "transactionID": ""}, {"levelOfDetail": "DETAIL"})
    statement = read_one(flex(CashTransactions=rows))
    assert (len(statement.entries), len(statement.skipped)) == (1, 1)
    alone = read_one(flex(CashTransactions=rows[:1]))
    assert len(alone.entries) == 1


def test_an_identifier_that_was_made_unreadable_identifies_nothing() -> None:
    assert only(read_one(flex(CashTransactions=cash({"transactionID": "REDACTED"})))).reference is None


def test_a_split_changes_the_quantity_alone() -> None:
    entry = only(read_one(flex(CorporateActions=actions({"quantity": "30"}))))
    assert (entry.kind, entry.quantity, entry.gross) == ("split", 30, 0)


def test_two_rows_of_one_action_convert_one_instrument_into_another() -> None:
    text = "OLD(US0378331005) MERGED INTO US5949181045 1 FOR 2"
    old = {"symbol": "OLD", "quantity": "-10", "description": f"{text} (OLD, OLD CO, US0378331005)"}
    new = {
        "symbol": "NEW",
        "conid": "272093",
        "isin": "US5949181045",
        "quantity": "5",
        "description": f"{text} (NEW, NEW CO, INC, US5949181045)",
    }
    entry = only(read_one(flex(CorporateActions=actions(new, old))))
    assert (entry.kind, entry.quantity) == ("conversion", -10)
    assert entry.counterpart is not None
    assert entry.counterpart.amount == 5
    assert entry.counterpart.instrument is not None
    assert entry.counterpart.instrument.name == "NEW CO, INC"


@pytest.mark.parametrize(
    ("attributes", "kind", "gross"),
    [
        ({"type": "TC", "quantity": "-10", "proceeds": "286"}, "trade", "286"),
        ({"type": "SO", "quantity": "3", "description": "A spin-off"}, "delivery", "0"),
        ({"type": "DW", "quantity": "-10", "description": "Worthless"}, "delivery", "0"),
        ({"type": "CD", "quantity": "0", "proceeds": "12", "description": "Cash"}, "dividend", "12"),
    ],
)
def test_one_row_of_an_action_is_what_its_type_says(attributes: dict[str, str], kind: str, gross: str) -> None:
    entry = only(read_one(flex(CorporateActions=actions(attributes))))
    assert (entry.kind, entry.gross) == (kind, Decimal(gross))


@pytest.mark.parametrize(
    "rows",
    [
        [{"type": "XX", "quantity": "3", "description": "Who knows"}],
        [{"quantity": "-10"}, {"quantity": "-5"}],
        [{"quantity": "-10", "proceeds": "3"}, {"quantity": "5"}],
        [{"quantity": "-10"}, {"quantity": "5"}, {"quantity": "5"}],
        [{"quantity": "-10"}, {"quantity": "5", "currency": "EUR"}],
        [{"quantity": "0"}],
    ],
)
def test_an_action_that_is_not_understood_is_refused_whole(rows: list[dict[str, str]]) -> None:
    assert reason(flex(CorporateActions=actions(*rows))) == "unclear_action"


def test_rows_of_an_action_are_matched_by_its_number_first() -> None:
    first = {"actionID": "55501", "quantity": "-10", "description": "one way to say it"}
    second = {"actionID": "55501", "quantity": "5", "conid": "272093", "description": "another"}
    assert only(read_one(flex(CorporateActions=actions(first, second)))).kind == "conversion"


def test_securities_that_come_from_another_broker_come_at_their_value() -> None:
    moved = {
        **ACTION,
        "direction": "IN",
        "quantity": "10",
        "positionAmount": "1900",
        "transactionID": "3000001",
        "dateTime": "20240105",
    }
    entry = only(read_one(flex(Transfers=[element("Transfer", moved)])))
    assert (entry.kind, entry.gross, entry.price) == ("transfer", -1900, 190)
    money = element("Transfer", CASH | {"cashTransfer": "250", "assetCategory": "CASH"})
    assert only(read_one(flex(Transfers=[money]))).gross == 250


def test_rows_of_a_section_that_nobody_knows_are_listed() -> None:
    statement = read_one(flex(Novelties=["<Novelty amount='3' />"]))
    assert [one.reason for one in statement.rejections] == ["unknown_section"]
    told_again = read_one(flex(FxTransactions=["<FxTransaction />"], NetStockPositionSummary=["<Row />"]))
    assert [one.reason for one in told_again.skipped] == ["tax_lot", "figures"]


def test_what_the_broker_reports_is_kept_for_the_reconciliation() -> None:
    report = element(
        "CashReportCurrency",
        {
            "accountId": "U1",
            "acctAlias": "12",
            "currency": "EUR",
            "levelOfDetail": "Currency",
            "startingCash": "1",
            "endingCash": "499",
            "deposits": "500",
            "depositWithdrawals": "500",
            "commissions": "-2",
            "commissionsMTD": "-2",
            "salesTax": "0",
        },
    )
    held = element("OpenPosition", ACTION | {"position": "10", "markPrice": "195", "reportDate": "20240131"})
    statement = read_one(flex(CashReport=[report], OpenPositions=[held]))
    (reported,) = statement.cash
    assert (reported.starting, reported.ending) == (1, 499)
    assert reported.headings == {"flow": Decimal(500), "commission": Decimal(-2)}
    assert [one.quantity for one in statement.positions] == [10]
    assert [(one.date.isoformat(), one.price) for one in statement.closes] == [("2024-01-31", Decimal(195))]


def test_statements_of_several_accounts_are_kept_apart_and_those_of_one_put_together() -> None:
    def inner(account: str, number: str) -> str:
        (row,) = cash({"transactionID": number})
        return f'<FlexStatement accountId="{account}"><CashTransactions>{row}</CashTransactions></FlexStatement>'

    content = f"<FlexQueryResponse>{inner('U2', '4001')}{inner('U1', '4002')}{inner('U2', '4003')}</FlexQueryResponse>"
    found = read_flex(content.encode())
    assert [(one.source, len(one.entries)) for one in found] == [("ibkr:U1", 1), ("ibkr:U2", 2)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html><body>Please sign in</body></html>", "no Flex statement"),
        (b"<FlexQueryResponse><FlexStatements/></FlexQueryResponse>", "no Flex statement"),
        (b"<FlexQueryResponse><FlexStatement", "not XML"),
        (flex().replace(b"accountId", b"owner"), "of which account"),
        (b"<!DOCTYPE a [<!ENTITY b 'bbbb'>]>" + flex(), "document type"),
        (flex(CashTransactions=cash({"description": "caf\u00e9"})).decode().encode("latin-1"), "not UTF-8"),
        (flex().decode().encode("utf-16"), "not UTF-8"),
        (b"<a>" * 100_000, "not XML"),
    ],
)
def test_what_is_no_statement_is_refused_in_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(StatementUnreadable, match=said) as refused:
        read_flex(content)
    assert "\n" not in str(refused.value)


def test_xml_is_told_from_everything_else_by_its_first_character() -> None:
    assert looks_like_flex(b"\xef\xbb\xbf\n <FlexQueryResponse/>")
    assert not looks_like_flex(b"date;amount\n")


VALUES = st.one_of(
    st.text(max_size=12).filter(lambda text: text.isprintable()),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.sampled_from(["", "-", "--", "0", "-1", "1E5", "20240230", "20240102;250000", "STK", "CASH", "BOND", "EUR.USD"]),
)
NAMES = st.sampled_from(
    sorted({*TRADE, *CASH, *ACTION, "levelOfDetail", "tradeTime", "cashTransfer", "positionAmount"})
)
ROWS = st.lists(st.tuples(st.sampled_from(sorted(SECTIONS)), st.dictionaries(NAMES, VALUES, max_size=4)), max_size=6)


@given(ROWS)
def test_whatever_stands_in_the_rows_each_is_read_or_refused(changed: list[tuple[str, dict[str, str]]]) -> None:
    sections: dict[str, list[str]] = {}
    for name, change in changed:
        tag, values = SECTIONS[name]
        said = {key: escape(value, {'"': "&quot;"}) for key, value in (values | change).items()}
        sections.setdefault(name, []).append(element(tag, said))
    statement = read_one(flex(**sections))
    named = [*statement.entries, *statement.rejections, *statement.skipped]
    assert sum(len(one.place.split(" and ")) for one in named) == len(changed)
    done = plan(statement)
    accounted = [*done.duplicates, *(one.place for one in done.rejections), *(one.place for one in done.skipped)]
    assert done.entries + len(accounted) == len(named)


@given(st.data())
def test_a_file_with_any_bytes_changed_is_read_or_refused_in_one_sentence(data: st.DataObject) -> None:
    content = bytearray(flex(Trades=trades({}), CashTransactions=cash({}), CorporateActions=actions({"quantity": "3"})))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert "\n" not in refusal(bytes(content))
