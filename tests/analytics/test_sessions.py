"""Sessions are those the exchanges announce, and a day begins when clocks at the portfolio's place say so."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.sessions import Session, UnknownExchange, day_start, find_sessions, trading_day

THANKSGIVING = date(2026, 11, 26)  # nyse.com/markets/hours-calendars: closed, and until 13:00 on the day after


def utc(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def test_a_holiday_has_no_session_and_a_half_day_a_short_one() -> None:
    before, after = THANKSGIVING - timedelta(days=1), THANKSGIVING + timedelta(days=1)
    assert find_sessions(["XNYS"], before, after + timedelta(days=2)) == [
        Session("XNYS", before, utc(before, 14, 30), utc(before, 21)),
        Session("XNYS", after, utc(after, 14, 30), utc(after, 18)),
    ]


def test_an_opening_moves_in_utc_when_clocks_change() -> None:
    summer, winter = date(2026, 10, 23), date(2026, 10, 26)  # Europe's clocks go back on the 25th
    assert [one.opens_at for one in find_sessions(["XSWX"], summer, winter)] == [utc(summer, 7), utc(winter, 8)]


def test_several_exchanges_come_in_order_each_once() -> None:
    found = find_sessions(["XNYS", "24/5", "XNAS", "XNYS"], date(2026, 11, 19), date(2026, 11, 20))
    assert [(one.exchange, one.date.day) for one in found] == [
        ("24/5", 19),
        ("24/5", 20),
        ("XNAS", 19),
        ("XNAS", 20),
        ("XNYS", 19),
        ("XNYS", 20),
    ]


def test_a_weekend_has_no_sessions_and_that_is_no_error() -> None:
    assert find_sessions(["XETR", "24/5"], date(2026, 11, 21), date(2026, 11, 22)) == []
    assert [one.date.day for one in find_sessions(["24/7"], date(2026, 11, 21), date(2026, 11, 22))] == [21, 22]


def test_beyond_what_an_exchange_has_announced_there_are_none() -> None:
    """Mumbai announces a year at a time; asked for thirty years, the calendar goes as far as it goes."""
    assert find_sessions(["XBOM"], date(2025, 12, 1), date(2055, 12, 1))[-1].date < date(2050, 1, 1)


def test_an_unknown_exchange_is_named() -> None:
    with pytest.raises(UnknownExchange, match="XDFM"):
        find_sessions(["XNYS", "XDFM"], date(2026, 11, 19), date(2026, 11, 20))


def test_who_only_asks_for_a_day_does_not_import_pandas() -> None:
    asked = (
        "import sys, datetime, analytics.sessions as s; s.day_start(datetime.date(2026, 1, 1), 'Asia/Dubai'); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", asked], timeout=30, check=False).returncode == 0


def test_on_a_weekend_the_trading_day_before_goes_on() -> None:
    friday, monday = date(2026, 11, 20), date(2026, 11, 23)
    assert trading_day(date(2026, 11, 22), {friday, monday}) == friday
    assert trading_day(monday, {friday, monday}) == monday
    assert trading_day(date(2026, 11, 22), {monday}) == date(2026, 11, 22)


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("Asia/Dubai", date(2026, 11, 21), "2026-11-20T20:00Z"),
        ("Europe/Zurich", date(2026, 3, 29), "2026-03-28T23:00Z"),  # clocks go forward at 02:00
        ("Europe/Zurich", date(2026, 3, 30), "2026-03-29T22:00Z"),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T04:00Z"),  # and back at 02:00
        ("America/New_York", date(2026, 11, 2), "2026-11-02T05:00Z"),
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00Z"),  # 00:00 is skipped: the day begins at 01:00
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00Z"),  # 00:00 comes twice: at 04:00Z and 05:00Z
        ("UTC", date(2026, 1, 1), "2026-01-01T00:00Z"),
    ],
)
def test_a_day_begins_with_the_first_instant_of_its_date(zone: str, day: date, begins: str) -> None:
    assert day_start(day, zone) == datetime.fromisoformat(begins)


@given(st.sampled_from(sorted(available_timezones())), st.dates(date(2020, 1, 1), date(2037, 12, 31)))
def test_in_every_zone_the_instant_before_a_day_begins_is_of_the_day_before(zone: str, day: date) -> None:
    begins = day_start(day, zone)
    clock = ZoneInfo(zone)
    assert begins.astimezone(clock).date() == day
    assert (begins - timedelta(seconds=1)).astimezone(clock).date() == day - timedelta(days=1)
