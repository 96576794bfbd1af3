"""Read what an IBKR Flex statement reports beside what happened: balances, positions, rates. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal

from ingest.statements.fields import parse_currency, parse_date
from ingest.statements.flex_row import FlexRow
from ingest.statements.model import ZERO, Close, ReportedCash, ReportedPosition

HEADING_OF_FIELD = {
    "netTradesSales": "sales",
    "netTradesPurchases": "purchases",
    "commissions": "commission",
    "depositWithdrawals": "flow",
    "accountTransfers": "flow",
    "dividends": "dividend",
    "paymentInLieu": "dividend",
    "withholdingTax": "tax",
    "withholding871m": "tax",
    "transactionTax": "tax",
    "brokerInterest": "interest",
    "bondInterest": "coupon",
    "otherFees": "fee",
    "brokerFees": "fee",
    "clientFees": "fee",
    "advisorFees": "fee",
}
BALANCES = ("startingCash", "endingCash", "endingSettledCash")
# Names of the row, and what is counted in another field already.
NO_HEADINGS = frozenset({"accountId", "acctAlias", "model", "currency", "levelOfDetail", "fromDate", "toDate"}) | {
    "deposits",
    "withdrawals",
    "billableCommissions",
}
PARTS = ("Sec", "Com", "MTD", "YTD")  # of the field before it: securities, commodities, month, year


def parse_cash_reports(rows: Iterable[FlexRow]) -> Iterator[ReportedCash]:
    """Yield the balances of each currency; the summary in base currency is left out."""
    for row in rows:
        if len(row.text("currency")) == 3 and row.text("levelOfDetail") in ("", "Currency"):
            yield ReportedCash(row.currency(), row.number("startingCash"), row.number("endingCash"), _headings(row))


def parse_open_positions(rows: Iterable[FlexRow]) -> Iterator[tuple[ReportedPosition, Close | None]]:
    """Yield what is held at the end, with its price; single lots and what we do not value are left out."""
    for row in rows:
        if row.text("levelOfDetail") == "LOT" or not row.has_supported_instrument():
            continue
        instrument, price = row.instrument(row.description()), row.number("markPrice")
        day = row.text("reportDate")
        close = Close(instrument, parse_date("reportDate", day), price) if price > ZERO and day else None
        yield ReportedPosition(instrument, row.required("position")), close


def parse_rates(rows: Iterable[FlexRow], base: str | None) -> Mapping[tuple[str, date], Decimal]:
    """Return units of base currency for one of another, by currency and date."""
    found = {}
    for row in rows:
        if base is not None and row.text("toCurrency") == base:
            rate = row.number("rate")
            if rate > ZERO and len(row.text("fromCurrency")) == 3:
                day = parse_date("reportDate", row.text("reportDate"))
                found[parse_currency("fromCurrency", row.text("fromCurrency")), day] = rate
    return found


def find_base_currency(account: FlexRow | None, sections: Mapping[str, list[FlexRow]]) -> str | None:
    """Return the account's base currency by the best word the statement has for it, None where it has none.

    That is the account's own row; what all rates or tax lots convert into; the one currency whose rate is 1.
    """
    said = account.text("currency") if account else ""
    if said:
        return said
    for section, field in (("FxTransactions", "functionalCurrency"), ("ConversionRates", "toCurrency")):
        found = {row.text(field) for row in sections.get(section, ())} - {""}
        if len(found) == 1:
            return found.pop()
    at_one = {
        row.text("currency")
        for section in ("Trades", "CashTransactions", "CorporateActions")
        for row in sections.get(section, ())
        if row.text("fxRateToBase") in ("1", "1.0")
    } - {""}
    return at_one.pop() if len(at_one) == 1 else None


def _headings(row: FlexRow) -> Mapping[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for name, heading in HEADING_OF_FIELD.items():
        found[heading] += row.number(name)
    for name in row.names():
        known = name in HEADING_OF_FIELD or name in BALANCES or name in NO_HEADINGS
        if not known and not name.endswith(PARTS) and not name.startswith("slb"):
            found[name] += row.number(name)
    return {heading: amount for heading, amount in found.items() if amount}
