"""Answer the operations of IBOSS from the ledger."""

from __future__ import annotations

import time
from datetime import datetime

from lxml import etree

from alhambra.bank.model import BankBooking, BankSplit
from alhambra.iboss_sim.controls import Controls
from alhambra.iboss_sim.faults import IbossFault
from alhambra.iboss_sim.ledger import Ledger, SimulatedAccount
from alhambra.iboss_sim.sessions import Session, Sessions
from alhambra.iboss_sim.soap import SoapRequest, Value, add
from alhambra.iboss_sim.splits import SplitDesk
from analytics.positions import DerivedPosition

MAX_ACCOUNTS = 50
MAX_PAGE = 1000
DEFAULT_PAGE = 200


class IbossService:
    """Answer requests one at a time."""

    def __init__(self, ledger: Ledger, sessions: Sessions, controls: Controls, splits: SplitDesk) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._controls = controls
        self._splits = splits
        self._now = splits.now
        self._cash_symbols = ledger.cash_symbols()

    def answer(self, request: SoapRequest) -> etree._Element:
        """Return the answer of a request; raises `IbossFault`."""
        answer = etree.Element(f"{request.operation}Response")
        if request.operation == "Authenticate":
            self._authenticate(request, answer)
            return answer
        session = self._sessions.find(request.token, time.monotonic())
        self._splits.book_due()
        match request.operation:
            case "GetAccounts":
                self._accounts(request, session, answer)
            case "GetPositions":
                self._positions(request, session, answer, cash_only=False)
            case "GetCashBalances":
                self._positions(request, session, answer, cash_only=True)
            case "GetTransactions":
                self._transactions(request, session, answer)
            case "GetCorporateActions":
                self._corporate_actions(request, answer)
            case "Logout":
                self._sessions.end(request.token)
        return answer

    def _authenticate(self, request: SoapRequest, answer: etree._Element) -> None:
        username = request.first("Username") or ""
        accounts = self._ledger.user_accounts(username, request.first("Password") or "")
        lifetime_s = self._controls.session_seconds
        etree.SubElement(answer, "SessionToken").text = self._sessions.open(
            username, accounts, time.monotonic(), lifetime_s
        )
        etree.SubElement(answer, "ExpiresInSeconds").text = str(int(lifetime_s))

    def _accounts(self, request: SoapRequest, session: Session, answer: etree._Element) -> None:
        limit = max(1, request.integer("Limit", DEFAULT_PAGE, MAX_PAGE))
        changed_after = request.integer("ChangedAfter", 0, 2**63 - 1)
        found = self._visible_accounts(session, request.first("After") or "", changed_after, limit + 1)
        for one in found[:limit]:
            add(answer, "Account", _account_fields(one))
        if len(found) > limit:
            etree.SubElement(answer, "Next").text = found[limit - 1].id

    def _visible_accounts(self, session: Session, after: str, changed_after: int, limit: int) -> list[SimulatedAccount]:
        now = self._now()
        if session.accounts is None:
            return self._ledger.accounts(after, changed_after, limit, now)
        visible = (self._ledger.account(one, now) for one in sorted(session.accounts) if one > after)
        return [one for one in visible if one.version > changed_after][:limit]

    def _positions(self, request: SoapRequest, session: Session, answer: etree._Element, *, cash_only: bool) -> None:
        accounts, now = request.values["AccountId"], self._now()
        if len(accounts) > MAX_ACCOUNTS:
            raise IbossFault("InvalidRequest", f"at most {MAX_ACCOUNTS} accounts in a call")
        for one in accounts:
            session.require(one)
            account = self._ledger.account(one, now)
            portfolio = add(answer, "Portfolio", _portfolio_fields(account, now))
            lines = self._ledger.positions(account)
            for line in () if cash_only else lines:
                if line.symbol not in self._cash_symbols:
                    add(portfolio, "Position", _position_fields(line))
            for line in lines:
                if line.symbol in self._cash_symbols:
                    add(portfolio, "Cash", _cash_fields(line))

    def _transactions(self, request: SoapRequest, session: Session, answer: etree._Element) -> None:
        limit = max(1, request.integer("Limit", DEFAULT_PAGE, MAX_PAGE))
        after = _parse_cursor(request.first("Cursor"))
        found = self._ledger.bookings(session.accounts, after, limit + 1)
        for booking in found[:limit]:
            add(answer, "Transaction", _booking_fields(booking))
        last = found[:limit][-1].sequence if found else after
        etree.SubElement(answer, "NextCursor").text = f"s{last}"
        etree.SubElement(answer, "More").text = "true" if len(found) > limit else "false"

    def _corporate_actions(self, request: SoapRequest, answer: etree._Element) -> None:
        limit = max(1, request.integer("Limit", DEFAULT_PAGE, MAX_PAGE))
        after = request.integer("ChangedAfter", 0, 2**63 - 1)
        found = self._ledger.splits(after, limit + 1)
        for _, reference, split in found[:limit]:
            add(answer, "CorporateAction", _split_fields(reference, split))
        etree.SubElement(answer, "NextChangedAfter").text = str(found[:limit][-1][0] if found else after)
        etree.SubElement(answer, "More").text = "true" if len(found) > limit else "false"


def _parse_cursor(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not (cursor.startswith("s") and cursor[1:].isascii() and cursor[1:].isdigit() and len(cursor) < 20):
        raise IbossFault("InvalidRequest", "not a cursor of ours")
    return int(cursor[1:])


def _account_fields(account: SimulatedAccount) -> tuple[tuple[str, Value], ...]:
    return (
        ("AccountId", account.id),
        ("Name", account.name),
        ("AccountType", account.type),
        ("BaseCurrency", account.base_currency),
        ("TimeZone", account.time_zone),
        ("PositionsVersion", account.version),
    )


def _portfolio_fields(account: SimulatedAccount, now: datetime) -> tuple[tuple[str, Value], ...]:
    return (
        ("AccountId", account.id),
        ("BaseCurrency", account.base_currency),
        ("Version", account.version),
        ("AsOf", now),
        ("TimeZone", account.time_zone),
    )


def _position_fields(line: DerivedPosition) -> tuple[tuple[str, Value], ...]:
    return (
        ("Symbol", line.symbol),
        ("Quantity", line.quantity),
        ("CostBasis", line.cost_basis),
        ("CostBasisBase", line.cost_basis_base),
        ("OpeningQuantity", line.opening_quantity),
        ("DayTraded", line.day_traded),
        ("DayTradedBase", line.day_traded_base),
        ("RealisedToday", line.realised_today),
    )


def _cash_fields(line: DerivedPosition) -> tuple[tuple[str, Value], ...]:
    return (
        ("Currency", line.symbol),
        ("Amount", line.quantity),
        ("CostBasis", line.cost_basis),
        ("CostBasisBase", line.cost_basis_base),
        ("OpeningAmount", line.opening_quantity),
        ("DayMoved", line.day_traded),
        ("DayMovedBase", line.day_traded_base),
    )


def _split_fields(reference: str, split: BankSplit) -> tuple[tuple[str, Value], ...]:
    return (
        ("Reference", reference),
        ("Version", 1),
        ("Symbol", split.symbol),
        ("Kind", "split"),
        ("ExDate", split.ex_date),
        ("EffectiveAt", split.effective_at),
        ("Ratio", split.ratio),
    )


def _booking_fields(booking: BankBooking) -> tuple[tuple[str, Value], ...]:
    return (
        ("AccountId", booking.iboss_account_id),
        ("Reference", booking.reference),
        ("Version", booking.version),
        ("Type", booking.type),
        ("BookedAt", booking.booked_at),
        ("Symbol", booking.symbol),
        ("Quantity", booking.quantity),
        ("Price", booking.price),
        ("Amount", booking.amount),
        ("Currency", booking.currency),
        ("RateToBase", booking.rate_to_base),
        ("Description", booking.description or None),
    )
