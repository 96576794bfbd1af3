"""Answers become records: tolerant of form, strict about content, one bad line costs only itself."""

from __future__ import annotations

from decimal import Decimal

import pytest
from fakes_iboss import envelope, transaction, transactions
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from ingest.iboss.envelope import open_envelope
from ingest.iboss.errors import UnreadableAnswer
from ingest.iboss.parsing import parse_accounts, parse_positions, parse_session, parse_transactions
from ingest.iboss.records import PositionsPage, TokenPlace, TransactionsPage

XML_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="<&\ufffe\uffff")
LINE = (
    "<Position><Symbol>IBM</Symbol><Quantity>{quantity}</Quantity><CostBasis>1000</CostBasis>"
    "<CostBasisBase>900.5</CostBasisBase><OpeningQuantity>8</OpeningQuantity><DayTraded>200</DayTraded></Position>"
)
CASH = (
    "<Cash><Currency>USD</Currency><Amount>-5.25</Amount><CostBasis>-5.25</CostBasis>"
    "<CostBasisBase>-5</CostBasisBase><OpeningAmount>0</OpeningAmount><DayMoved>-5.25</DayMoved></Cash>"
)


def portfolio(*lines: str, account: str = "IB1") -> str:
    head = f"<AccountId>{account}</AccountId><BaseCurrency>USD</BaseCurrency><Version>7</Version>"
    return f"<Portfolio>{head}<AsOf>2026-03-02T15:30:00Z</AsOf>{''.join(lines)}</Portfolio>"


def read_positions(*portfolios: str) -> PositionsPage:
    body = f"<GetPositionsResponse>{''.join(portfolios)}</GetPositionsResponse>"
    return parse_positions(open_envelope(envelope(body), "GetPositions"))


def read_transactions(content: bytes) -> TransactionsPage:
    return parse_transactions(open_envelope(content, "GetTransactions"))


def test_a_booking_is_read_with_its_exact_amounts_and_its_moment() -> None:
    page = read_transactions(transactions(transaction(amount="-1000.10", Description="Bought")))
    (booking,) = page.bookings
    assert (booking.reference, booking.amount, booking.quantity) == ("R1", Decimal("-1000.10"), Decimal(10))
    assert booking.booked_ns == 1_772_465_400_500_000_000
    assert (page.cursor, page.more, page.refused) == ("s9", False, ())


def test_what_iboss_need_not_say_is_none_where_it_does_not() -> None:
    said, silent = read_transactions(
        transactions(transaction(RateToBase="0.8125"), transaction(RateToBase=""))
    ).bookings
    assert (said.rate_to_base, silent.rate_to_base) == (Decimal("0.8125"), None)
    line = LINE.format(quantity=1)
    full = line.replace("</Position>", "<DayTradedBase>180.55</DayTradedBase></Position>")
    cash = CASH.replace("</Cash>", "<DayMovedBase>-4.75</DayMovedBase></Cash>")
    zone = "<TimeZone>Asia/Dubai</TimeZone>"
    said, silent = read_positions(portfolio(full, cash, zone), portfolio(line, CASH, account="IB2")).portfolios
    assert [one.day_traded_base for one in said.lines] == [Decimal("180.55"), Decimal("-4.75")]
    assert [one.day_traded_base for one in silent.lines] == [None, None]
    assert (said.time_zone, silent.time_zone) == ("Asia/Dubai", None)


def test_exponents_prefixes_nil_and_the_order_of_elements_do_not_matter() -> None:
    content = """<x:GetTransactionsResponse xmlns:x="urn:x" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
      <x:More>1</x:More><x:NextCursor> s10 </x:NextCursor>
      <x:Transaction><!-- note --><x:Amount> 1.5E+3 </x:Amount><x:Reference>R2</x:Reference><x:Type>dividend</x:Type>
        <x:AccountId>IB1</x:AccountId><x:Version>2</x:Version><x:Currency>USD</x:Currency><x:Symbol i:nil="true"/>
        <x:Quantity i:nil="1">7</x:Quantity><x:Price></x:Price>
        <x:BookedAt>2026-03-02T16:30:00+01:00</x:BookedAt></x:Transaction></x:GetTransactionsResponse>"""
    page = read_transactions(envelope(content))
    (booking,) = page.bookings
    assert booking.amount == 1500
    assert (booking.symbol, booking.quantity, booking.price) == (None, None, None)
    assert booking.booked_ns == 1_772_465_400_000_000_000
    assert (page.cursor, page.more) == ("s10", True)


@pytest.mark.parametrize(
    "bad",
    [
        {"amount": "NaN"},
        {"amount": "Infinity"},
        {"amount": "1,000"},
        {"amount": "1_000"},
        {"amount": "1e12"},
        {"amount": ""},
        {"amount": "１２"},
        {"Version": "-1"},
        {"Version": "99999999999"},
        {"Currency": "usd"},
        {"Type": "DROP TABLE"},
        {"BookedAt": "yesterday"},
        {"BookedAt": "1066-10-14T09:00:00Z"},
        {"BookedAt": "9999-12-31T23:59:59-12:00"},
        {"Reference": "R" * 201},
        {"Symbol": ""},
        {"RateToBase": "about 1"},
    ],
    ids=str,
)
def test_an_unreadable_booking_is_set_aside_and_the_rest_of_the_page_goes_on(bad: dict[str, str]) -> None:
    page = read_transactions(transactions(transaction("good"), transaction(**bad), transaction("after")))
    assert [one.reference for one in page.bookings] == ["good", "after"]
    (refused,) = page.refused
    assert refused.reason == "unreadable"
    assert etree.fromstring(refused.payload).tag == "Transaction"


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="<&\ufffe\uffff"), max_size=30)
)
def test_whatever_an_amount_says_it_is_either_a_finite_number_or_refused(text: str) -> None:
    page = read_transactions(transactions(transaction(amount=text)))
    assert len(page.bookings) + len(page.refused) == 1
    assert all(one.amount.is_finite() for one in page.bookings)


def test_without_a_cursor_nothing_of_the_page_is_used() -> None:
    with pytest.raises(UnreadableAnswer, match="NextCursor"):
        read_transactions(transactions(transaction(), cursor=""))


def test_positions_and_cash_are_lines_of_one_set() -> None:
    page = read_positions(portfolio(LINE.format(quantity="1.0E1"), CASH))
    (found,) = page.portfolios
    assert [(line.symbol, line.quantity) for line in found.lines] == [("IBM", 10), ("USD", Decimal("-5.25"))]
    assert found.lines[0].cost_basis_base == Decimal("900.5")
    assert found.version == 7


@pytest.mark.parametrize("lines", [[LINE.format(quantity="many")], [LINE.format(quantity=1)] * 2, ["<Cash/>"]])
def test_one_unreadable_line_refuses_its_portfolio_and_no_other(lines: list[str]) -> None:
    page = read_positions(portfolio(CASH, account="IB1"), portfolio(*lines, account="IB2"))
    assert [one.account_id for one in page.portfolios] == ["IB1"]
    assert [one.identity.split("/")[0] for one in page.refused] == ["IB2"]


def test_accounts_carry_their_versions_and_where_the_next_page_begins() -> None:
    head = "<AccountId>{}</AccountId><Name>N</Name><BaseCurrency>EUR</BaseCurrency>"
    account = f"<Account>{head}<PositionsVersion>{{}}</PositionsVersion></Account>"
    body = account.format("IB1", 41) + account.format("IB2", "x") + "<Next>IB2</Next>"
    page = parse_accounts(open_envelope(envelope(f"<GetAccountsResponse>{body}</GetAccountsResponse>"), "GetAccounts"))
    assert [(one.account_id, one.version) for one in page.accounts] == [("IB1", 41)]
    assert (page.next, len(page.refused)) == ("IB2", 1)


@pytest.mark.parametrize("nothing", ["", "<Account/>", "<a:Other xmlns:a='urn:a'/>"], ids=["none", "hollow", "foreign"])
def test_an_empty_list_is_a_list_and_a_hollow_element_is_refused(nothing: str) -> None:
    content = envelope(f"<GetAccountsResponse>{nothing}</GetAccountsResponse>")
    page = parse_accounts(open_envelope(content, "GetAccounts"))
    assert (page.accounts, page.next, len(page.refused)) == ((), None, nothing == "<Account/>")
    assert parse_positions(open_envelope(envelope("<GetPositionsResponse/>"), "GetPositions")).portfolios == ()
    assert read_transactions(transactions()).bookings == ()


@pytest.mark.parametrize("token", ["", " ", "x" * 5000])
def test_a_session_without_a_token_that_can_be_is_unreadable(token: str) -> None:
    answer = envelope(f"<AuthenticateResponse><SessionToken>{token}</SessionToken></AuthenticateResponse>")
    with pytest.raises(UnreadableAnswer, match="SessionToken"):
        parse_session(open_envelope(answer, "Authenticate"), TokenPlace("SessionToken"))


def test_a_session_keeps_its_token_out_of_its_repr() -> None:
    body = "<SessionToken>geheim</SessionToken><ExpiresInSeconds>60</ExpiresInSeconds>"
    answer = envelope(f"<AuthenticateResponse>{body}</AuthenticateResponse>")
    session = parse_session(open_envelope(answer, "Authenticate"), TokenPlace("SessionToken"))
    assert session.token == "geheim"
    assert "geheim" not in repr(session)
