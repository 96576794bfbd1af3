"""Make small statements and a bank to plan them against."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from ingest.statements.flex import read_flex
from ingest.statements.matching import BankInstrument, BankView
from ingest.statements.model import Statement
from ingest.statements.planning import Booked, ImportPlan, plan_import

CURRENCIES = ("USD", "EUR", "GBP", "CHF", "AED")
DOLLARS = {"USD": "1", "EUR": "1.1", "GBP": "1.3", "CHF": "1.13", "AED": "0.2723"}
TRADE = {
    "assetCategory": "STK",
    "currency": "USD",
    "fxRateToBase": "0.9",
    "symbol": "AAPL",
    "description": "APPLE INC",
    "conid": "265598",
    "isin": "US0378331005",
    "multiplier": "1",
    "tradeID": "1000001",
    "dateTime": "20240102;100000",
    "transactionType": "ExchTrade",
    "quantity": "10",
    "tradePrice": "190",
    "proceeds": "-1900",
    "taxes": "0",
    "ibCommission": "-1",
    "ibCommissionCurrency": "USD",
    "netCash": "-1901",
    "buySell": "BUY",
}
CASH = {
    "currency": "EUR",
    "fxRateToBase": "1",
    "dateTime": "20240103",
    "amount": "500",
    "type": "Deposits/Withdrawals",
    "transactionID": "2000001",
    "description": "CASH RECEIPTS",
}
ACTION = {
    "assetCategory": "STK",
    "currency": "USD",
    "fxRateToBase": "0.9",
    "symbol": "AAPL",
    "conid": "265598",
    "isin": "US0378331005",
    "multiplier": "1",
    "dateTime": "20240104;202500",
    "proceeds": "0",
    "description": "AAPL(US0378331005) SPLIT 4 FOR 1 (AAPL, APPLE INC, US0378331005)",
}


def element(tag: str, values: Mapping[str, str]) -> str:
    said = " ".join(f'{name}="{value}"' for name, value in values.items())
    return f"<{tag} {said} />"


def flex(account: str = "U1234567", currency: str = "EUR", **sections: list[str]) -> bytes:
    """Return a Flex statement of these sections, each a list of elements."""
    inner = "".join(f"<{name}>{''.join(rows)}</{name}>" for name, rows in sections.items())
    return (
        f'<FlexQueryResponse type="AF"><FlexStatements><FlexStatement accountId="{account}">'
        f'<AccountInformation accountId="{account}" currency="{currency}" />{inner}'
        "</FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


def trades(*changes: Mapping[str, str]) -> list[str]:
    return [element("Trade", TRADE | dict(change)) for change in changes]


def cash(*changes: Mapping[str, str]) -> list[str]:
    return [element("CashTransaction", CASH | dict(change)) for change in changes]


def actions(*changes: Mapping[str, str]) -> list[str]:
    return [element("CorporateAction", ACTION | dict(change)) for change in changes]


def read_one(content: bytes) -> Statement:
    (statement,) = read_flex(content)
    return statement


def bank_view(*instruments: BankInstrument, aliases: Mapping[str, int] | None = None) -> BankView:
    """Return a bank with cash and rates of five currencies, and these instruments."""
    money = tuple(
        BankInstrument(number, code, None, code, "cash", Decimal(1)) for number, code in enumerate(CURRENCIES, 1)
    )
    rates = {code: Decimal(rate) for code, rate in DOLLARS.items()}
    return BankView(money + instruments, aliases or {}, frozenset(CURRENCIES), frozenset(CURRENCIES), rates)


def plan(
    statement: Statement, bank: BankView | None = None, booked: Mapping[str, Booked] | None = None, create: bool = True
) -> ImportPlan:
    base = statement.base_currency
    assert base is not None
    return plan_import(statement, base, bank or bank_view(), booked or {}, create)


def booked_by(*plans: ImportPlan) -> dict[str, Booked]:
    """Return what the ledger has once these plans are written."""
    return {
        one.reference: Booked(one.type, one.amount, one.currency, one.quantity)
        for done in plans
        for one in done.bookings
    }


def held_by(*plans: ImportPlan) -> dict[str, Decimal]:
    """Return what is held once these plans are written, by symbol, cash by currency."""
    held: dict[str, Decimal] = {}
    for done in plans:
        for one in done.bookings:
            held[one.currency] = held.get(one.currency, Decimal(0)) + one.amount
            if one.instrument is not None and one.quantity is not None:
                held[one.instrument.symbol] = held.get(one.instrument.symbol, Decimal(0)) + one.quantity
    return {name: amount for name, amount in held.items() if amount}
