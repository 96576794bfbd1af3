"""Parse the answers of IBOSS into records: pure, tolerant of form and strict about content.

Namespaces, prefixes, nil elements, exponents and the order of fields do not matter. A value that is absent,
not finite, out of range or of the wrong form does: it refuses its booking, or its account's whole positions,
because a portfolio without one of its lines would show a total that is wrong. The rest of the page goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeVar

from lxml import etree

from ingest.iboss.envelope import envelope_headers, local_name
from ingest.iboss.errors import UnreadableAnswer
from ingest.iboss.records import (
    AccountBooking,
    AccountPositions,
    AccountsPage,
    AccountVersion,
    ActionsPage,
    AnnouncedAction,
    IbossSession,
    PositionLine,
    PositionsPage,
    Refused,
    TokenPlace,
    TransactionsPage,
)

UNREADABLE = "unreadable"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
CURRENCY = re.compile(r"[A-Z]{3}")
TOKEN = re.compile(r"[a-z][a-z_]{0,31}")
LARGEST = Decimal(10) ** 12  # what the narrowest numeric column of the ledger holds
SMALLEST_RATIO = Decimal("0.000001")  # of a reverse split, and the largest of a split the other way round
LONGEST_TEXT = 200
LONGEST_TOKEN = 4096
LONGEST_DESCRIPTION = 2000
LARGEST_INTEGER = 2**31 - 1
LARGEST_LONG = 2**63 - 1
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

R = TypeVar("R")


class UnreadableValue(ValueError):
    """Say which value of a line cannot be read."""


class Fields:
    """Read the child elements of one element by local name, as typed values."""

    def __init__(self, element: etree._Element) -> None:
        self.element = element
        self._texts = {local_name(one): _text(one) for one in element}

    @property
    def identity(self) -> str:
        """Name the element by what it says of itself, as far as that can be read."""
        named = (self._texts.get(name) for name in ("AccountId", "Reference", "Version", "PositionsVersion"))
        return "/".join(one or "?" for one in named)

    def text(self, name: str, longest: int = LONGEST_TEXT) -> str:
        """Return a text that must be there and not be empty."""
        found = self._texts.get(name)
        if not found:
            raise UnreadableValue(f"{name} is absent")
        if len(found) > longest:
            raise UnreadableValue(f"{name} is longer than {longest} characters")
        return found

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None where it is absent, nil or empty."""
        return self.text(name) if self._texts.get(name) else None

    def description(self) -> str:
        """Return the description, cut where it is longer than a line for people should be."""
        return (self._texts.get("Description") or "")[:LONGEST_DESCRIPTION]

    def form(self, name: str, form: re.Pattern[str]) -> str:
        """Return a text that must have a form, such as a currency's three letters."""
        found = self.text(name)
        if not form.fullmatch(found):
            raise UnreadableValue(f"{name} is {found!r}")
        return found

    def integer(self, name: str, largest: int) -> int:
        """Return an integer between 0 and `largest`."""
        found = self.text(name)
        if not (found.isascii() and found.isdigit()) or not 0 <= int(found) <= largest:
            raise UnreadableValue(f"{name} is {found!r}, not an integer up to {largest}")
        return int(found)

    def number(self, name: str) -> Decimal:
        """Return a finite decimal number; an exponent is understood."""
        found = self.text(name)
        if not NUMBER.fullmatch(found) or abs(value := Decimal(found)) >= LARGEST:
            raise UnreadableValue(f"{name} is {found!r}, not a number below {LARGEST:.0E}")
        return value

    def optional_number(self, name: str) -> Decimal | None:
        """Return a number, or None where it is absent, nil or empty."""
        return self.number(name) if self._texts.get(name) else None

    def day(self, name: str) -> date:
        """Return a calendar date; a zone behind it says nothing more."""
        found = self.text(name)
        try:
            return date.fromisoformat(found[:10])
        except ValueError:
            raise UnreadableValue(f"{name} is {found!r}, not a date") from None

    def moment_ns(self, name: str) -> int:
        """Return a date and time in nanoseconds since the epoch; one without a zone is UTC, as IBOSS books."""
        found = self.text(name)
        try:
            moment = datetime.fromisoformat(found)
        except ValueError:
            raise UnreadableValue(f"{name} is {found!r}, not a date and time") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if not EARLIEST <= moment < LATEST:
            raise UnreadableValue(f"{name} is {found!r}, outside 1970 to 2200")
        elapsed = moment - EARLIEST
        return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000_000 + elapsed.microseconds * 1_000


def parse_session(answer: etree._Element, place: TokenPlace) -> IbossSession:
    """Read the answer of Authenticate, whose token stands at `place`; raises `UnreadableAnswer`."""
    home = [answer] if place.header is None else envelope_headers(answer)
    found = (one for root in home for one in root.iter() if local_name(one) == place.name)
    token = next(filter(None, map(_text, found)), "")
    if not token or len(token) > LONGEST_TOKEN:
        raise UnreadableAnswer(f"{place.name} is absent, or longer than {LONGEST_TOKEN} characters")
    return IbossSession(token, _required(lambda: _expiry_s(Fields(answer))))


def parse_accounts(answer: etree._Element) -> AccountsPage:
    """Read a page of GetAccounts, setting aside accounts that cannot be read."""
    accounts, refused = _each(answer, "Account", "GetAccounts", _account)
    return AccountsPage(accounts, refused, _required(lambda: Fields(answer).optional_text("Next")))


def parse_positions(answer: etree._Element) -> PositionsPage:
    """Read the answer of GetPositions, or of GetCashBalances, setting aside accounts with an unreadable line."""
    portfolios, refused = _each(answer, "Portfolio", "GetPositions", _positions)
    return PositionsPage(portfolios, refused)


def parse_transactions(answer: etree._Element) -> TransactionsPage:
    """Read a page of GetTransactions, setting aside bookings that cannot be read.

    Raises `UnreadableAnswer` without a cursor: then nothing may be kept, since what follows is unknown.
    """
    bookings, refused = _each(answer, "Transaction", "GetTransactions", _booking)
    fields = Fields(answer)
    cursor = _required(lambda: fields.text("NextCursor"))
    more = _required(lambda: fields.form("More", re.compile("true|false|1|0")))
    return TransactionsPage(bookings, refused, cursor, more in ("true", "1"))


def parse_actions(answer: etree._Element) -> ActionsPage:
    """Read a page of GetCorporateActions, setting aside actions that cannot be read, or are of a kind unknown here.

    Raises `UnreadableAnswer` where it does not say how to continue.
    """
    actions, refused = _each(answer, "CorporateAction", "GetCorporateActions", _action)
    fields = Fields(answer)
    changed_after = _required(lambda: fields.integer("NextChangedAfter", LARGEST_LONG))
    more = _required(lambda: fields.form("More", re.compile("true|false|1|0")))
    return ActionsPage(actions, refused, changed_after, more in ("true", "1"))


def _action(fields: Fields) -> AnnouncedAction:
    ratio = fields.number("Ratio")
    if not SMALLEST_RATIO <= ratio <= 1 / SMALLEST_RATIO:
        raise UnreadableValue(f"Ratio is {ratio}, not between {SMALLEST_RATIO} and {1 / SMALLEST_RATIO:f}")
    return AnnouncedAction(
        fields.text("Reference"),
        fields.integer("Version", LARGEST_INTEGER),
        fields.text("Symbol"),
        fields.form("Kind", re.compile("split")),  # the others change prices in ways that we do not follow
        fields.day("ExDate"),
        fields.moment_ns("EffectiveAt"),
        ratio,
        etree.tostring(fields.element, with_tail=False),
    )


def _account(fields: Fields) -> AccountVersion:
    return AccountVersion(
        fields.text("AccountId"),
        fields.text("Name"),
        fields.form("BaseCurrency", CURRENCY),
        fields.integer("PositionsVersion", LARGEST_LONG),
    )


def _positions(fields: Fields) -> AccountPositions:
    children = [(local_name(one), one) for one in fields.element]
    lines = [_line(Fields(one)) for name, one in children if name == "Position"]
    lines += [_cash(Fields(one)) for name, one in children if name == "Cash"]
    if len({line.symbol for line in lines}) < len(lines):
        raise UnreadableValue("a symbol stands in more than one line")
    return AccountPositions(
        fields.text("AccountId"),
        fields.form("BaseCurrency", CURRENCY),
        fields.integer("Version", LARGEST_LONG),
        fields.moment_ns("AsOf"),
        tuple(lines),
        etree.tostring(fields.element, with_tail=False),
        fields.optional_text("TimeZone"),
    )


def _line(fields: Fields) -> PositionLine:
    return PositionLine(
        fields.text("Symbol"),
        fields.number("Quantity"),
        fields.number("CostBasis"),
        fields.number("CostBasisBase"),
        fields.number("OpeningQuantity"),
        fields.number("DayTraded"),
        fields.optional_number("RealisedToday") or Decimal(0),
        fields.optional_number("DayTradedBase"),
    )


def _cash(fields: Fields) -> PositionLine:
    return PositionLine(
        fields.form("Currency", CURRENCY),
        fields.number("Amount"),
        fields.number("CostBasis"),
        fields.number("CostBasisBase"),
        fields.number("OpeningAmount"),
        fields.number("DayMoved"),
        day_traded_base=fields.optional_number("DayMovedBase"),
    )


def _booking(fields: Fields) -> AccountBooking:
    symbol, quantity = fields.optional_text("Symbol"), fields.optional_number("Quantity")
    if quantity is not None and symbol is None:
        raise UnreadableValue("Quantity without Symbol")
    return AccountBooking(
        fields.text("AccountId"),
        fields.text("Reference"),
        fields.integer("Version", LARGEST_INTEGER),
        fields.form("Type", TOKEN),
        fields.moment_ns("BookedAt"),
        symbol,
        quantity,
        fields.optional_number("Price"),
        fields.number("Amount"),
        fields.form("Currency", CURRENCY),
        fields.description(),
        etree.tostring(fields.element, with_tail=False),
        fields.optional_number("RateToBase"),
    )


def _each(
    answer: etree._Element, name: str, operation: str, parse: Callable[[Fields], R]
) -> tuple[tuple[R, ...], tuple[Refused, ...]]:
    found, refused = [], []
    for element in answer:
        if local_name(element) != name:
            continue
        fields = Fields(element)
        try:
            found.append(parse(fields))
        except UnreadableValue as error:
            raw = etree.tostring(element, with_tail=False)
            refused.append(Refused(operation, fields.identity, UNREADABLE, str(error), raw))
    return tuple(found), tuple(refused)


def _expiry_s(fields: Fields) -> int | None:
    name = "ExpiresInSeconds"
    return fields.integer(name, LARGEST_INTEGER) if fields.optional_text(name) else None


def _required(read: Callable[[], R]) -> R:
    try:
        return read()
    except UnreadableValue as error:
        raise UnreadableAnswer(str(error)) from error


def _text(element: etree._Element) -> str | None:
    if element.get(NIL) in ("true", "1"):
        return None
    text: str | None = element.text
    return text.strip() if text else None
