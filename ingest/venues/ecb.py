"""Read the euro reference rates of the European Central Bank: one document a day, and its history.

The rates are found at 14:15 and published at about 16:00 Central European time on days on which TARGET is open. The
document does not say when, so the event time is 16:00 in Berlin on the day that it names. They are for reference and
nobody deals at them: a rate of exchange is a `Trade` without a size. Other rates than those of the euro are crosses
through it, in decimal arithmetic, and float64 at the very end. The dirham is not in the list.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from ingest.strict_xml import NotStrictXml, parse_xml
from ingest.venues.errors import DocumentUnreadable
from ingest.venues.events import Event, Refused, Trade
from ingest.venues.options import check_address, check_options, take_seconds
from ingest.venues.refusal import refuse
from ingest.venues.venue import Budget, Keys, Listed, Request

ADDRESS = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml"
EVERY_S = 600.0
PUBLISHED = time(16, 0, tzinfo=ZoneInfo("Europe/Berlin"))
# As published in 2026; the lev left the list when Bulgaria took the euro.
_PUBLISHED = (
    "EUR USD JPY CZK DKK GBP HUF PLN RON SEK CHF ISK NOK TRY AUD BRL CAD CNY HKD IDR ILS INR KRW MXN MYR NZD PHP SGD "
    "THB ZAR"
)
PUBLISHED_CURRENCIES = frozenset(_PUBLISHED.split())
HISTORY_BYTES = 16 << 20
_PAIR = re.compile(r"[A-Z]{3}/[A-Z]{3}")
_RATE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def create(options: Mapping[str, str], keys: Keys) -> Ecb:  # noqa: ARG001 - it is open to everybody
    """Make the venue; options are `every` (seconds, 600) and `url`. Raises `VenueUnclear` on others."""
    check_options("ecb", options, ("every", "url"))
    address = check_address("ecb", options.get("url", ADDRESS), ("http", "https"))
    return Ecb(address, Budget(take_seconds("ecb", options, "every", EVERY_S, 60.0), calls_a_minute=2))


class Ecb:
    """Describe the reference rates: one small document for all of them."""

    name = "ecb"

    def __init__(self, address: str, budget: Budget) -> None:
        self.address = address
        self.budget = budget

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return the symbol of a rate of exchange itself where both its currencies are published."""
        pair = parse_pair(instrument.symbol) if instrument.asset_class == "fx" else None
        return instrument.symbol if pair is not None and PUBLISHED_CURRENCIES.issuperset(pair) else None

    def requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return the one document."""
        return (Request(self.address, tuple(symbols)),) if symbols else ()

    def decode(self, request: Request, body: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002 - it is dated
        """Return the rates that were asked for, at the newest day of the document."""
        try:
            days = parse_days(body)
        except DocumentUnreadable as error:
            return [refuse(error)]
        if not days:
            return [Refused("unreadable", "the document names no day with rates")]
        newest = max(days)
        event_ns = int(datetime.combine(newest, PUBLISHED).timestamp()) * 10**9
        return [_read_rate(symbol, days[newest], event_ns) for symbol in request.symbols]


def parse_days(body: bytes) -> dict[date, dict[str, Decimal]]:
    """Return by day what one euro costs in each currency, out of the XML; raises `DocumentUnreadable`."""
    try:
        root = parse_xml(body)
        days = [node for node in root.iter("{*}Cube") if "time" in node.attrib]
        return {
            date.fromisoformat(day.attrib["time"]): {
                rate.attrib["currency"]: _parse_rate(rate.attrib["rate"])
                for rate in day.iter("{*}Cube")
                if "currency" in rate.attrib and "rate" in rate.attrib
            }
            for day in days
        }
    except (NotStrictXml, ValueError) as error:
        raise DocumentUnreadable(f"the reference rates cannot be read: {error}") from error


def parse_history(body: bytes) -> Iterator[tuple[date, dict[str, Decimal]]]:
    """Yield each day of the history with what one euro cost, newest first: CSV, or a zip with one in it.

    Raises `DocumentUnreadable` at the first line that cannot be read.
    """
    rows = csv.reader(io.StringIO(_unpack(body).decode("utf-8-sig", errors="replace")))
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if header[:1] != ["Date"]:
            raise DocumentUnreadable("the history of rates does not begin with a column Date")
        for row in rows:
            cells = dict(zip(header[1:], (cell.strip() for cell in row[1:]), strict=False))
            yield (
                date.fromisoformat(row[0]),
                {name: _parse_rate(cell) for name, cell in cells.items() if name and cell and cell != "N/A"},
            )
    except (ValueError, IndexError, csv.Error) as error:
        raise DocumentUnreadable(f"line {rows.line_num} of the history of rates cannot be read: {error}") from error


def cross_rate(symbol: str, euro: Mapping[str, Decimal]) -> float | None:
    """Return units of the second currency for one of the first, None where one of them is not in the list."""
    pair = parse_pair(symbol)
    if pair is None:
        return None
    base, quoted = (Decimal(1) if one == "EUR" else euro.get(one) for one in pair)
    return None if base is None or quoted is None else float(quoted / base)


def parse_pair(symbol: str) -> tuple[str, str] | None:
    """Return the two currencies of a symbol such as `GBP/USD`, None where it is none."""
    return (symbol[:3], symbol[4:]) if _PAIR.fullmatch(symbol) else None


def _read_rate(symbol: str, euro: Mapping[str, Decimal], event_ns: int) -> Event:
    price = cross_rate(symbol, euro)
    if price is None:
        return Refused("not_quoted", f"the reference rates of the ECB do not say what {symbol} is", symbol)
    return Trade(symbol, price, event_ns=event_ns)


def _parse_rate(text: str) -> Decimal:
    if not _RATE.fullmatch(text) or not (rate := Decimal(text)):
        raise ValueError(f"{text[:40]!r} is not a rate")
    return rate


def _unpack(body: bytes) -> bytes:
    """Return the CSV itself, of a bounded size."""
    if not body.startswith(b"PK"):
        return body
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise DocumentUnreadable(f"the archive of rates holds {len(names)} files of the kind, not one")
            with archive.open(names[0]) as file:
                content = file.read(HISTORY_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError) as error:
        raise DocumentUnreadable(f"the archive of rates cannot be opened: {error}") from error
    if len(content) > HISTORY_BYTES:
        raise DocumentUnreadable(f"the history of rates is larger than {HISTORY_BYTES >> 20} MiB")
    return content
