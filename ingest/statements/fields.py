"""Read the values of a row strictly: numbers, dates and ISINs, each bounded. Raises `RowRefused`."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from ingest.statements.errors import RowRefused

LARGEST = Decimal(10) ** 15  # beyond what the ledger's columns hold
LONGEST_TEXT = 1000
EARLIEST, LATEST = 1900, 2100
LONGEST_CODE = 64

_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?")
_MOMENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[;,T ] ?(\d\d):?(\d\d):?(\d\d)(\.\d{1,9})?)?(Z|[ ]?E[SD]T|[+-]\d\d:\d\d)?"
)
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}\d")
_CURRENCY = re.compile(r"[A-Z]{3}")


def parse_number(name: str, text: str) -> Decimal:
    """Return a decimal number; exponents are fine, thousands separators are not."""
    if not _NUMBER.fullmatch(text):
        raise RowRefused("unreadable_number", f"{name} is {shown(text)}, which is no number")
    number = Decimal(text)
    if abs(number) >= LARGEST:
        raise RowRefused("unreadable_number", f"{name} is {shown(text)}, which is beyond any amount")
    return number


def parse_moment(name: str, text: str, zone: ZoneInfo) -> datetime:
    """Return a timezone-aware moment; where the text names no zone it is in `zone`, without a time at its midnight.

    Year, month and day in this order only: of `01/02/2023` nobody can know which is the month.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise RowRefused("unreadable_date", f"{name} is {shown(text)}, which is no date as year, month, day")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    micros = int(f"{(fraction or '.0')[1:7]:0<6}")
    try:
        if not EARLIEST <= int(year) <= LATEST:
            raise ValueError("no statement is of that year")  # noqa: TRY301  refused below, as what is no date
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), micros, zone
        )
        named = offset is not None and not offset.endswith("T")
        return local.replace(tzinfo=datetime.strptime(offset, "%z").tzinfo) if named else local
    except ValueError as error:
        raise RowRefused("unreadable_date", f"{name} is {shown(text)}: {error}") from error


def parse_date(name: str, text: str) -> date:
    """Return the date of a text, with or without a time."""
    return parse_moment(name, text, ZoneInfo("UTC")).date()


def parse_isin(text: str) -> str | None:
    """Return an ISIN, or None where there is none or its check digit says that a broker made it up for itself."""
    if not text:
        return None
    if not _ISIN.fullmatch(text):
        raise RowRefused("invalid_isin", f"{shown(text)} is no ISIN")
    return text if _check_digit_holds(text) else None


def parse_currency(name: str, text: str) -> str:
    """Return a currency's code of three capital letters."""
    if not _CURRENCY.fullmatch(text):
        raise RowRefused("unreadable_currency", f"{name} is {shown(text)}, which is no currency's code")
    return text


def parse_code(name: str, text: str) -> str:
    """Return a short text without control characters, such as a symbol."""
    if not text or len(text) > LONGEST_CODE or not text.isprintable():
        raise RowRefused("missing_field", f"{name} is {shown(text)}")
    return " ".join(text.split())


def plain_text(text: str) -> str:
    """Return a description as one line of printable characters, cut at a bound."""
    return " ".join("".join(one if one.isprintable() else " " for one in text[:LONGEST_TEXT]).split())


def shown(text: str) -> str:
    """Return a value as it may stand in a message: short, in quotes, without control characters."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…") if text else "empty"


def _check_digit_holds(isin: str) -> bool:
    """Say whether the last digit is right by ISO 6166: letters as two digits, every second digit doubled."""
    digits = "".join(str(int(one, 36)) for one in isin)
    doubled = (int(one) * (2 if place % 2 else 1) for place, one in enumerate(reversed(digits)))
    return sum(sum(divmod(one, 10)) for one in doubled) % 10 == 0
