"""Read an IBKR Flex statement (XML, also gzipped) into entries, row by row. Pure.

Every attribute may be absent, because whoever sets a Flex query up chooses them, and what is unknown is passed over:
a row that cannot be read is refused by itself, with its place. Why not by a library: docs/decisions/0016-imports.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial

from lxml import etree

from ingest.statements.checks import CENT
from ingest.statements.errors import RowRefused, StatementUnreadable
from ingest.statements.fields import LONGEST_CODE
from ingest.statements.flex_actions import action_place, group_actions, parse_action
from ingest.statements.flex_cash import KIND_OF_TYPE, parse_cash_transaction, parse_transfer
from ingest.statements.flex_reports import find_base_currency, parse_cash_reports, parse_open_positions, parse_rates
from ingest.statements.flex_row import FlexRow
from ingest.statements.flex_trades import parse_close, parse_trade
from ingest.statements.model import (
    REFUSED,
    TRADE,
    Close,
    Entry,
    Movement,
    Rejection,
    ReportedCash,
    ReportedPosition,
    Skipped,
    Statement,
    heading_of,
)
from ingest.strict_xml import NotStrictXml, parse_xml

MAX_ROWS = 300_000
PREFIX = "ibkr"
# Sections that tell of the same things again, or of what has not happened yet.
REPEATED = {
    "FxTransactions": "tax_lot",
    "FxPositions": "tax_lot",
    "FxLots": "tax_lot",
    "ChangeInDividendAccruals": "accrual",
    "OpenDividendAccruals": "accrual",
    "InterestAccruals": "accrual",
    "TierInterestDetails": "accrual",
    "StmtFunds": "repeated",
    "UnbundledCommissionDetails": "repeated",
    "TransactionTaxes": "repeated",
    "OptionEAE": "repeated",
    "TradeConfirms": "repeated",
}
REPORTS = frozenset({"CashReport", "OpenPositions", "ConversionRates", "AccountInformation"})
FIGURES = ("Summary", "SummaryInBase", "Details", "Info", "Positions", "ChangeInNAV", "Summaries")


@dataclass(slots=True)
class _Found:
    """Collect what the rows of a statement become."""

    entries: list[Entry] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)

    def take(self, rows: Sequence[FlexRow], parse: Callable[[], Entry]) -> Entry | None:
        """Take the entry that rows make, or their refusal."""
        try:
            entry = parse()
        except RowRefused as refused:
            movements = tuple(one for row in rows for one in _stated(row) if one.amount)
            self.rejections.append(Rejection(action_place(rows), refused.reason, str(refused), movements))
            return None
        self.entries.append(entry)
        return entry


def looks_like_flex(content: bytes) -> bool:
    """Say whether a file is XML at all, by its first character."""
    return content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def read_flex(content: bytes) -> list[Statement]:
    """Return the statement of each account in a file, in order of account; several of one account are put together.

    Raises `StatementUnreadable` for what is no Flex statement, carries a DTD, or is beyond any account's size.
    """
    try:
        text = content.decode("utf-8-sig")  # no other encoding, in which the next look would see nothing
    except UnicodeDecodeError as error:
        raise StatementUnreadable(f"The file is not UTF-8 text (byte {error.start:,}): export it anew.") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # before libxml2 expands anything
        raise StatementUnreadable("The file declares a document type or entities, which no statement does.")
    try:
        root = parse_xml(content)
    except NotStrictXml as error:
        raise StatementUnreadable(f"The file is {' '.join(str(error).split())}.") from error
    nodes = list(root.iter("FlexStatement"))
    if root.tag != "FlexQueryResponse" or not nodes:
        raise StatementUnreadable(f"The file is XML, but no Flex statement: its root is {str(root.tag)[:40]}.")
    by_account: dict[str, dict[str, list[FlexRow]]] = {}
    for node in nodes:
        account = (node.get("accountId") or "").strip()
        if not account or len(account) > LONGEST_CODE or not (account.isascii() and account.isalnum()):
            raise StatementUnreadable("A statement in the file does not say of which account it is.")
        _collect(node, by_account.setdefault(account, {}))
    return [_read_account(account, sections) for account, sections in sorted(by_account.items())]


def _collect(node: etree._Element, sections: dict[str, list[FlexRow]]) -> None:
    """Add the rows of one statement by section; a section without rows of its own is a row itself."""
    for section in node:
        name = str(section.tag)[:LONGEST_CODE]
        rows = sections.setdefault(name, [])
        for row in section if len(section) else ((section,) if name == "AccountInformation" else ()):
            place = f"{name} row {len(rows) + 1}, line {row.sourceline}"
            rows.append(FlexRow(str(row.tag), place, {str(key): str(value) for key, value in row.attrib.items()}))
            if len(rows) > MAX_ROWS:
                raise StatementUnreadable(f"{name} has more than {MAX_ROWS:,} rows: export a shorter period.")


def _read_account(account: str, sections: Mapping[str, list[FlexRow]]) -> Statement:
    found = _Found()
    information = next(iter(sections.get("AccountInformation", ())), None)
    base = find_base_currency(information, sections)
    _read_trades(sections.get("Trades", ()), found)
    for row in _listed_singly(sections.get("CashTransactions", ()), found):
        found.take([row], partial(parse_cash_transaction, row))
    for row in sections.get("Transfers", ()):
        found.take([row], partial(parse_transfer, row))
    for rows in group_actions(sections.get("CorporateActions", ())):
        found.take(rows, partial(parse_action, rows))
    _read_rest(sections, found)
    cash, positions, rates = _read_reports(sections, base, found)
    return Statement(
        source=f"{PREFIX}:{account}",
        account=account,
        base_currency=base,
        entries=tuple(found.entries),
        rejections=tuple(found.rejections),
        skipped=tuple(found.skipped),
        cash=cash,
        positions=positions,
        rates=rates,
        closes=tuple(found.closes),
    )


def _read_trades(rows: Iterable[FlexRow], found: _Found) -> None:
    """Read executions; where a statement lists orders only, those; what sums them up is passed over."""
    rows = list(rows)
    wanted = "Trade" if any(row.tag == "Trade" for row in rows) else "Order"
    for row in rows:
        if row.tag != wanted:
            found.skipped.append(Skipped(row.place, "summary"))
            continue
        entry = found.take([row], partial(parse_trade, row))
        close = parse_close(row, entry) if entry else None
        if close:
            found.closes.append(close)


def _listed_singly(rows: Iterable[FlexRow], found: _Found) -> list[FlexRow]:
    """Return the rows without the summaries of those that are listed singly too."""
    rows = list(rows)
    if not any(row.text("levelOfDetail") == "DETAIL" for row in rows):
        return rows
    for row in rows:
        if row.text("levelOfDetail") == "SUMMARY":
            found.skipped.append(Skipped(row.place, "summary"))
    return [row for row in rows if row.text("levelOfDetail") != "SUMMARY"]


def _read_rest(sections: Mapping[str, list[FlexRow]], found: _Found) -> None:
    for name, rows in sections.items():
        if name in REPORTS or name in ("Trades", "CashTransactions", "CorporateActions", "Transfers"):
            continue
        reason = REPEATED.get(name) or ("figures" if name.endswith(FIGURES) else None)
        for row in rows:
            if reason:
                found.skipped.append(Skipped(row.place, reason))
            else:
                detail = f"rows of section {name[:40]} are not known here"
                found.rejections.append(Rejection(row.place, "unknown_section", detail))


def _read_reports(
    sections: Mapping[str, list[FlexRow]], base: str | None, found: _Found
) -> tuple[tuple[ReportedCash, ...], tuple[ReportedPosition, ...], Mapping[tuple[str, date], Decimal]]:
    try:
        cash = tuple(parse_cash_reports(sections.get("CashReport", ())))
        held = list(parse_open_positions(sections.get("OpenPositions", ())))
        rates = parse_rates(sections.get("ConversionRates", ()), base)
    except RowRefused as refused:
        raise StatementUnreadable(
            f"What the statement reports of balances or rates cannot be read: {refused}."
        ) from refused
    repeated = Counter(one.currency for one in cash)
    found.closes += [close for _, close in held if close is not None]
    # several statements of one account put together: balances of different periods cannot be compared with the rows
    return tuple(one for one in cash if repeated[one.currency] == 1), tuple(one for one, _ in held), rates


def _stated(row: FlexRow) -> list[Movement]:
    """Return what a refused row would have done to cash, as far as it can be read, under headings where it is clear."""
    try:
        currency = row.currency()
        if row.tag == "CashTransaction":
            return [Movement(currency, KIND_OF_TYPE.get(row.text("type"), REFUSED), row.number("amount"))]
        dealt, net = row.number("proceeds"), row.number_or_none("netCash")
        parts = [
            Movement(currency, heading_of(TRADE, dealt), dealt),
            Movement(currency, "commission", row.number("ibCommission")),
            Movement(currency, "tax", row.number("taxes")),
        ]
        if net is None or abs(net - sum(one.amount for one in parts)) < CENT:
            return parts
        return [Movement(currency, REFUSED, net)]
    except RowRefused:
        return []
