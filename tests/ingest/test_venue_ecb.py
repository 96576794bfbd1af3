"""The ECB's reference rates: crosses are exact, days are read as written, and nothing in a document can hurt."""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from fakes_listings import Listing
from hypothesis import given
from hypothesis import strategies as st

from ingest.venues.ecb import create, cross_rate, parse_history
from ingest.venues.errors import DocumentUnreadable, VenueUnclear
from ingest.venues.events import Event, Refused, Trade
from ingest.venues.venue import Keys, Request

RATES = {"USD": "1.1172", "GBP": "0.83380", "CHF": "0.9194"}
ECB = create({}, Keys())


def document(days: dict[str, dict[str, str]], head: str = "") -> bytes:
    cubes = ""
    for day, rates in days.items():
        told = (f"<Cube currency={name!r} rate={rate!r}/>" for name, rate in rates.items())
        cubes += f"<Cube time={day!r}>{''.join(told)}</Cube>"
    return (
        f"<?xml version='1.0' encoding='UTF-8'?>{head}<gesmes:Envelope "
        "xmlns:gesmes='http://www.gesmes.org/xml/2002-08-01' xmlns='http://www.ecb.int/vocabulary/2002-08-01/eurofxref'>"
        f"<gesmes:subject>Reference rates</gesmes:subject><Cube>{cubes}</Cube></gesmes:Envelope>"
    ).encode()


def decode(body: bytes, *symbols: str) -> list[Event]:
    return list(ECB.decode(Request("https://example.com", symbols), body, 0))


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_rates_through_the_euro_are_those_of_decimal_arithmetic_at_the_hour_of_publication() -> None:
    told = decode(document({"2026-10-30": RATES}), "EUR/USD", "GBP/USD", "USD/CHF")
    at = ns("2026-10-30T15:00:00")  # 16:00 in Berlin in winter
    assert told == [
        Trade("EUR/USD", 1.1172, event_ns=at),
        Trade("GBP/USD", float(Decimal("1.1172") / Decimal("0.83380")), event_ns=at),
        Trade("USD/CHF", float(Decimal("0.9194") / Decimal("1.1172")), event_ns=at),
    ]
    (summer,) = decode(document({"2026-07-30": RATES}), "EUR/USD")
    assert isinstance(summer, Trade)
    assert summer.event_ns == ns("2026-07-30T14:00:00")


def test_of_several_days_the_newest_counts() -> None:
    (told,) = decode(document({"2026-10-29": {"USD": "9.9"}, "2026-10-30": RATES, "2026-10-28": {}}), "EUR/USD")
    assert isinstance(told, Trade)
    assert told.price == 1.1172


def test_a_currency_that_is_not_in_the_list_is_refused_by_name() -> None:
    (told,) = decode(document({"2026-10-30": RATES}), "USD/AED")
    assert isinstance(told, Refused)
    assert (told.reason, told.symbol) == ("not_quoted", "USD/AED")


@given(st.decimals("0.0001", "99999", places=5), st.decimals("0.0001", "99999", places=5))
def test_a_cross_and_its_inverse_agree_to_the_last_bits(one: Decimal, other: Decimal) -> None:
    euro = {"AAA": one, "BBB": other}
    there, back = cross_rate("AAA/BBB", euro), cross_rate("BBB/AAA", euro)
    assert there is not None
    assert back is not None
    assert there * back == pytest.approx(1.0, rel=4e-16)


BOMB = "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c SYSTEM 'file:///etc/passwd'>]>"
BROKEN = {
    "empty": b"",
    "not xml": b"<html><p>Service unavailable",
    "cut": document({"2026-10-30": RATES})[:-30],
    "a DTD": document({"2026-10-30": RATES}, BOMB),
    "no day": document({}),
    "a bad day": document({"30.10.2026": RATES}),
    "a bad rate": document({"2026-10-30": {"USD": "1,1172"}}),
    "a rate of nothing": document({"2026-10-30": {"USD": "0.0"}}),
    "not a number": document({"2026-10-30": {"USD": "NaN"}}),
    "wrong encoding": document({"2026-10-30": RATES}).replace(b"Reference", b"R\xff\xfe"),
    "deep": b"<a>" * 100_000,
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_refused_and_never_raises(body: bytes) -> None:
    (told,) = decode(body, "EUR/USD")
    assert isinstance(told, Refused)
    assert told.reason == "unreadable"


@given(st.binary())
def test_no_document_whatsoever_raises(body: bytes) -> None:
    decode(body, "EUR/USD")


def test_the_whole_history_is_read(shared_data: Path) -> None:
    body = gzip.decompress((shared_data / "fx-ecb" / "eurofxref-hist.csv.gz").read_bytes())
    days = list(parse_history(body))
    assert len(days) > 7_000
    assert days[-1][0] == date(1999, 1, 4)
    assert cross_rate("EUR/USD", days[-1][1]) == 1.1789
    assert cross_rate("USD/AED", days[0][1]) is None
    assert cross_rate("EUR/BGN", days[0][1]) is None  # N/A since the lev has gone
    assert [day for day, _ in days] == sorted((day for day, _ in days), reverse=True)


def test_the_history_is_read_out_of_its_archive_too() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("eurofxref-hist.csv", "Date,USD,CHF,\n2026-10-30,1.1172,0.9194,\n2026-10-29,1.1130,N/A,\n")
    (newest, before) = islice(parse_history(packed.getvalue()), 2)
    assert newest == (date(2026, 10, 30), {"USD": Decimal("1.1172"), "CHF": Decimal("0.9194")})
    assert before == (date(2026, 10, 29), {"USD": Decimal("1.1130")})


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("eurofxref-hist.csv", b"Date,USD\n" + b" " * (17 << 20))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "column Date"),
        (b"<html>", "column Date"),
        (b"Date,USD\n2026-10-30,1.1\nyesterday,1.2\n", "line 3"),
        (b"Date,USD\n2026-10-30,much\n", "line 2"),
        (b"PK\x03\x04nothing", "archive"),
        (bomb(), "larger than"),
    ],
    ids=["empty", "html", "bad day", "bad rate", "bad archive", "bomb"],
)
def test_a_history_that_cannot_be_read_says_where(body: bytes, why: str) -> None:
    with pytest.raises(DocumentUnreadable, match=why):
        list(parse_history(body))


def test_rates_of_published_currencies_are_named_as_we_do() -> None:
    assert ECB.venue_symbol(Listing("USD/CHF", "fx", "CHF", "24/5")) == "USD/CHF"
    for other in (
        Listing("USD/AED", "fx", "AED"),
        Listing("BTC/USD", "crypto"),
        Listing("AAPL"),
        Listing("EURUSD", "fx"),
    ):
        assert ECB.venue_symbol(other) is None


def test_one_document_tells_all_and_none_is_fetched_for_nothing() -> None:
    (request,) = ECB.requests(["EUR/USD", "USD/CHF"])
    assert request.url == "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml"
    assert list(ECB.requests([])) == []
    assert ECB.budget.every_s == 600.0


@pytest.mark.parametrize("options", [{"every": "1"}, {"every": "soon"}, {"url": "ftp://example.com"}, {"day": "today"}])
def test_what_is_unclear_is_said(options: dict[str, str]) -> None:
    with pytest.raises(VenueUnclear, match="ecb"):
        create(options, Keys())
