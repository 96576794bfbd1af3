"""A plan books each row once, whatever statements it stands in; what it does not book it says, with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest
from fakes_statements import actions, bank_view, booked_by, cash, flex, held_by, plan, read_one, trades
from hypothesis import given
from hypothesis import strategies as st

from ingest.statements.derivation import Derivation, LedgerRow, derive, ledger_symbol
from ingest.statements.errors import ImportRefused
from ingest.statements.matching import BankInstrument
from ingest.statements.model import Statement
from ingest.statements.planning import ImportPlan

NOW = datetime(2026, 11, 22, tzinfo=UTC)
APPLE = BankInstrument(10, "AAPL", None, "USD", "equity", Decimal(1))
SELL = {"quantity": "-4", "proceeds": "800", "tradePrice": "200", "netCash": "799", "buySell": "SELL"}
FOREX = {
    "assetCategory": "CASH",
    "symbol": "EUR.USD",
    "isin": "",
    "tradeID": "1000009",
    "quantity": "-1000",
    "buySell": "SELL",
    "tradePrice": "1.1",
    "proceeds": "1100",
    "ibCommission": "-2",
    "ibCommissionCurrency": "EUR",
    "netCash": "0",
}


def reasons(done: ImportPlan) -> Counter[str]:
    return Counter(one.reason for one in done.rejections)


def derived(*plans: ImportPlan) -> Derivation:
    rows = [
        LedgerRow(
            one.reference,
            one.type,
            one.moment,
            ledger_symbol(one.instrument.id if one.instrument else None),
            one.quantity,
            one.amount,
            one.currency,
            one.rate_to_base,
        )
        for done in plans
        for one in done.bookings
    ]
    return derive(rows, NOW)


def test_the_commission_is_part_of_the_cost_and_the_tax_is_not() -> None:
    done = plan(read_one(flex(Trades=trades({"taxes": "-9.5", "netCash": "-1910.5"}))))
    assert [(one.type, one.amount, one.quantity) for one in done.bookings] == [
        ("buy", -1901, 10),
        ("tax", Decimal("-9.5"), None),
    ]


def test_an_exchange_is_worth_the_same_on_both_sides() -> None:
    done = plan(read_one(flex(Trades=trades(FOREX))))
    sides = {one.type: one for one in done.bookings}
    assert sides["fx_out"].amount * sides["fx_out"].rate_to_base == -1000
    assert abs(sides["fx_in"].amount * sides["fx_in"].rate_to_base - 1000) < Decimal("0.000001")
    assert (sides["fee"].amount, sides["fee"].currency) == (-2, "EUR")


def test_an_instrument_of_the_bank_is_found_by_isin_then_by_symbol_and_currency() -> None:
    statement = read_one(flex(Trades=trades({})))
    by_isin = BankInstrument(11, "XYZ", "US0378331005", "USD", "equity", Decimal(1))
    other = BankInstrument(12, "AAPL", "US5949181045", "USD", "equity", Decimal(1))
    for bank, expected in ((bank_view(APPLE), 10), (bank_view(APPLE, by_isin), 11), (bank_view(by_isin, other), 11)):
        done = plan(statement, bank, create=False)
        assert [one.instrument.id for one in done.bookings if one.instrument] == [expected]
    assert reasons(plan(statement, bank_view(other), create=False)) == {"unknown_instrument": 1}


def test_a_listing_in_another_currency_is_another_instrument() -> None:
    done = plan(read_one(flex(Trades=trades({"currency": "EUR", "ibCommissionCurrency": "EUR"}))), bank_view(APPLE))
    assert [(one.symbol, one.currency) for one in done.instruments] == [("AAPL.EUR", "EUR")]


def test_a_dividend_in_another_currency_than_the_listing_is_profit_of_the_cash() -> None:
    income = {"assetCategory": "STK", "symbol": "AAPL", "currency": "EUR", "type": "Dividends", "amount": "9"}
    (booking,) = plan(read_one(flex(CashTransactions=cash(income))), bank_view(APPLE)).bookings
    assert (booking.type, booking.instrument, booking.currency) == ("dividend", None, "EUR")


def test_what_the_bank_does_not_know_is_refused_or_made_as_asked() -> None:
    row = {"currency": "CAD", "ibCommissionCurrency": "CAD", "symbol": "GCM", "isin": "CA38501D5010", "closePrice": "7"}
    statement = read_one(flex(Trades=trades(row)))
    assert reasons(plan(statement, create=False)) == {"unknown_instrument": 1}
    made = plan(statement)
    assert [(one.symbol, one.asset_class, one.country) for one in made.instruments] == [
        ("CAD", "cash", "CA"),
        ("USD/CAD", "fx", "US"),
        ("GCM", "equity", "CA"),
    ]
    closes = {number: price for number, _, price in made.closes}
    rate, price = (closes[one.id] for one in made.instruments[1:])
    assert price == 7
    assert abs(rate - 1 / (Decimal("0.9") * Decimal("1.1"))) < Decimal("1e-7")  # 0.9 euros, at 1.1 dollars each


def test_a_base_currency_that_cannot_be_valued_is_refused() -> None:
    with pytest.raises(ImportRefused, match="XTS"):
        plan(replace(read_one(flex(CashTransactions=cash({}))), base_currency="XTS"))


def test_without_a_rate_nothing_is_booked() -> None:
    statement = read_one(flex(CashTransactions=cash({"currency": "USD", "fxRateToBase": ""})))
    assert reasons(plan(statement)) == {"no_rate": 1}


def test_a_row_that_is_booked_is_a_duplicate_and_one_that_differs_is_refused() -> None:
    first = plan(read_one(flex(Trades=trades({}))), bank_view(APPLE))
    again = plan(read_one(flex(Trades=trades({}))), bank_view(APPLE), booked_by(first))
    assert (again.bookings, again.duplicates) == ([], ["Trades row 1, line 1"])
    corrected = flex(Trades=trades({"ibCommission": "-2", "netCash": "-1902"}))
    assert reasons(plan(read_one(corrected), bank_view(APPLE), booked_by(first))) == {"differs_from_booked": 1}


def test_one_reference_for_two_rows_books_the_first_and_lists_the_other() -> None:
    done = plan(read_one(flex(CashTransactions=cash({}, {"amount": "600"}, {}))))
    assert ([one.amount for one in done.bookings], reasons(done)) == ([500], {"reference_repeated": 1})
    assert done.duplicates == ["CashTransactions row 3, line 1"]


def test_rows_that_say_the_same_without_a_reference_are_told_apart_by_their_number() -> None:
    same = {"transactionID": "", "type": "Other Fees", "amount": "-8.58"}
    two = plan(read_one(flex(CashTransactions=cash(same, same))))
    assert len({one.reference for one in two.bookings}) == 2
    one_more = plan(read_one(flex(CashTransactions=cash(same, same, same))), booked=booked_by(two))
    assert (len(one_more.bookings), len(one_more.duplicates)) == (1, 2)


def test_a_conversion_hands_the_cost_on_and_the_price_with_it() -> None:
    text = "AAPL(US0378331005) SPLIT 1 FOR 5"
    old = {"quantity": "-10", "description": f"{text} (AAPL.OLD, APPLE, US0378331005)", "symbol": "AAPL.OLD"}
    new = {
        "quantity": "2",
        "description": f"{text} (AAPL, APPLE, US5949181045)",
        "isin": "US5949181045",
        "conid": "9999",
    }
    done = plan(read_one(flex(Trades=trades({}), CorporateActions=actions(new, old))))
    number = {one.symbol: one.id for one in done.instruments}
    found = derived(done)
    lines = {line.symbol: line for line in found.lines}
    assert (lines[f"#{number['AAPL']}"].quantity, lines[f"#{number['AAPL']}"].cost_basis) == (2, 1901)
    assert f"#{number['AAPL.OLD']}" not in lines
    (carried,) = found.carried
    assert (carried.old, carried.new, carried.factor) == (number["AAPL.OLD"], number["AAPL"], 5)


def test_a_split_of_what_was_bought_before_the_statement_begins_waits_for_the_earlier_one() -> None:
    late = plan(read_one(flex(CorporateActions=actions({"quantity": "30"}))), bank_view(APPLE))
    (line,) = derived(late).lines
    assert (line.quantity, line.cost_basis) == (30, 0)
    assert derived(late).unheld == {10}
    early = plan(read_one(flex(Trades=trades({}))), bank_view(APPLE))
    both = derived(late, early)
    assert {line.symbol: (line.quantity, line.cost_basis) for line in both.lines}["#10"] == (40, 1901)
    assert ([one.factor for one in both.carried], both.unheld) == ([Decimal("0.25")], set())


def test_securities_transferred_in_are_a_deposit_of_their_value() -> None:
    moved = (
        "<Transfer assetCategory='STK' currency='USD' symbol='AAPL' conid='265598' multiplier='1' fxRateToBase='0.9' "
    )
    moved += "quantity='10' positionAmount='1900' date='20240105' transactionID='300001' description='APPLE INC' />"
    done = plan(read_one(flex(Transfers=[moved])), bank_view(APPLE))
    assert [(one.type, one.amount, one.quantity) for one in done.bookings] == [
        ("deposit", 1900, None),
        ("buy", -1900, 10),
    ]


def whole_statement() -> Statement:
    """Return a statement with all that makes order matter: rows alike, a split, an exchange, a conversion."""
    days = [f"202401{day:02}" for day in range(2, 12)]
    alike = {"transactionID": "", "type": "Other Fees", "amount": "-8.58"}
    text = "AAPL(US0378331005) SPLIT 1 FOR 5"
    return read_one(
        flex(
            Trades=trades(
                *({"tradeID": f"{1000 + n}", "dateTime": f"{day};100000"} for n, day in enumerate(days[:5])),
                *({**SELL, "tradeID": f"{2000 + n}", "dateTime": f"{day};110000"} for n, day in enumerate(days[3:7])),
                {**FOREX, "dateTime": f"{days[2]};120000"},
            ),
            CashTransactions=cash(
                *({**alike, "dateTime": day} for day in days[1:8] for _ in range(2)),
                *({"transactionID": f"{3000 + n}", "dateTime": day} for n, day in enumerate(days)),
            ),
            CorporateActions=actions(
                {"dateTime": f"{days[3]};202500", "quantity": "116"},
                {
                    "dateTime": f"{days[9]};202500",
                    "quantity": "-20",
                    "description": f"{text} (AAPL, APPLE, US0378331005)",
                },
                {
                    "dateTime": f"{days[9]};202500",
                    "quantity": "4",
                    "isin": "US5949181045",
                    "conid": "272093",
                    "symbol": "MSFT",
                    "description": f"{text} (MSFT, MICROSOFT, US5949181045)",
                },
            ),
        )
    )


WHOLE = whole_statement()
MOMENTS = sorted({entry.moment for entry in WHOLE.entries})
BANK = bank_view(APPLE, BankInstrument(11, "MSFT", None, "USD", "equity", Decimal(1)))
EXPECTED = plan(WHOLE, BANK, create=False)


@given(
    cuts=st.lists(st.integers(1, len(MOMENTS) - 1), max_size=4, unique=True),
    overlap=st.integers(0, len(MOMENTS)),
    shuffled=st.randoms(use_true_random=False),
)
def test_parts_that_overlap_make_the_same_ledger_in_any_order(cuts: list[int], overlap: int, shuffled: Random) -> None:
    edges = [0, *sorted(cuts), len(MOMENTS)]
    parts = [
        replace(
            WHOLE, entries=tuple(one for one in WHOLE.entries if first <= MOMENTS.index(one.moment) < last + overlap)
        )
        for first, last in pairwise(edges)
    ]
    shuffled.shuffle(parts)
    done: list[ImportPlan] = []
    for part in parts:
        done.append(plan(part, BANK, booked_by(*done), create=False))
    assert [reasons(one) for one in done] == [Counter()] * len(done)
    assert booked_by(*done) == booked_by(EXPECTED)
    assert held_by(*done) == held_by(EXPECTED)
    assert derived(*done) == derived(EXPECTED)


def test_the_whole_of_it_is_what_it_says() -> None:
    assert EXPECTED.rejections == []
    assert held_by(EXPECTED) == {
        "USD": 5 * -1901 + 4 * 799 + 1100,
        "EUR": 10 * 500 - 14 * Decimal("8.58") - 1002,
        "AAPL": 5 * 10 - 4 * 4 + 116 - 20,
        "MSFT": 4,
    }
