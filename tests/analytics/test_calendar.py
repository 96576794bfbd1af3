"""A portfolio's day turns at its own midnight, a close counts when its session is over, and shut is not stale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from books import quotes
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.calendar import NO_EXCHANGE, Calendar, create_calendar
from analytics.sessions import Session, find_sessions
from stream.prices import STATES, InstrumentSpec, PriceTable

DUBAI, ZURICH, NEW_YORK = ZONES = ("Asia/Dubai", "Europe/Zurich", "America/New_York")
EXCHANGES = ("XNYS", "XSWX", "24/5")
FIRST, LAST = date(2025, 12, 1), date(2027, 2, 1)
SESSIONS = find_sessions(EXCHANGES, FIRST, LAST)
MINUTE_NS = 60 * 10**9
THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = (date(2026, 11, day) for day in range(19, 25))


def ns(at: str) -> int:
    """Return the nanosecond of a time such as `2026-11-20T21:00` (UTC)."""
    return int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) * 10**9


def calendar(now: str, sessions: Iterable[Session] = SESSIONS, zones: tuple[str, ...] = ZONES) -> Calendar:
    return create_calendar(sessions, EXCHANGES, zones, ns(now))


def days(now: str) -> tuple[date, ...]:
    """Return the day in Dubai, Zurich and New York."""
    found = calendar(now).zone_days(ns(now))
    return tuple(found[zone].day for zone in ZONES)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-19T19:59", (THURSDAY, THURSDAY, THURSDAY)),
        ("2026-11-19T20:00", (FRIDAY, THURSDAY, THURSDAY)),
        ("2026-11-19T23:00", (FRIDAY, FRIDAY, THURSDAY)),
        ("2026-11-20T05:00", (FRIDAY, FRIDAY, FRIDAY)),
        ("2026-11-22T19:59", (FRIDAY, FRIDAY, FRIDAY)),  # the weekend goes on with Friday
        ("2026-11-22T20:00", (MONDAY, FRIDAY, FRIDAY)),
        ("2026-11-23T05:00", (MONDAY, MONDAY, MONDAY)),
        ("2026-12-25T12:00", (date(2026, 12, 24),) * 3),  # New York trades on the 24th, nobody at Christmas
        ("2026-11-26T12:00", (date(2026, 11, 26),) * 3),  # Thanksgiving: Zurich trades
        ("2026-03-29T22:00", (date(2026, 3, 30), date(2026, 3, 30), date(2026, 3, 27))),  # Europe's clocks forward
        ("2026-10-25T22:59", (date(2026, 10, 26), date(2026, 10, 23), date(2026, 10, 23))),  # and back
        ("2026-10-25T23:00", (date(2026, 10, 26), date(2026, 10, 26), date(2026, 10, 23))),
        ("2026-03-09T04:00", (date(2026, 3, 9),) * 3),  # New York's forward, on the 8th
        ("2026-11-02T04:59", (date(2026, 11, 2), date(2026, 11, 2), date(2026, 10, 30))),  # and back, on the 1st
    ],
)
def test_the_day_turns_at_local_midnight_of_trading_dates(now: str, expected: tuple[date, ...]) -> None:
    assert days(now) == expected


def test_the_day_begins_at_its_own_midnight_even_on_a_weekend() -> None:
    found = calendar("2026-11-21T12:00").zone_days(ns("2026-11-21T12:00"))
    assert found[DUBAI].start_ns == ns("2026-11-19T20:00")
    assert found[NEW_YORK].start_ns == ns("2026-11-20T05:00")


@pytest.mark.parametrize(
    ("now", "zone", "exchange", "before"),
    [
        ("2026-11-23T20:00", DUBAI, "XNYS", SATURDAY),  # Tuesday in Dubai; New York trades until 21:00
        ("2026-11-23T21:14", DUBAI, "XNYS", SATURDAY),  # its closing auction may still print
        ("2026-11-23T21:15", DUBAI, "XNYS", TUESDAY),
        ("2026-11-23T20:00", DUBAI, "XSWX", TUESDAY),
        ("2026-11-23T23:59", DUBAI, "24/5", SATURDAY),
        ("2026-11-24T00:00", DUBAI, "24/5", TUESDAY),  # no auction where trading never stops
        ("2026-11-23T22:00", ZURICH, "XNYS", MONDAY),  # over, but of this very day
        ("2026-11-23T23:00", ZURICH, "XNYS", TUESDAY),
        ("2026-11-22T12:00", NEW_YORK, "XNYS", FRIDAY),  # Friday goes on over the weekend
        ("2026-11-27T18:15", DUBAI, "XNYS", date(2026, 11, 27)),  # the half day is over, but of this very day
        ("2026-11-29T20:00", DUBAI, "XNYS", date(2026, 11, 28)),
        ("2026-11-23T23:30", ZURICH, NO_EXCHANGE, MONDAY),
        ("2026-11-24T00:00", ZURICH, NO_EXCHANGE, TUESDAY),
    ],
)
def test_a_close_counts_when_its_session_is_over_and_its_date_before_the_day(
    now: str, zone: str, exchange: str, before: date
) -> None:
    assert calendar(now).zone_days(ns(now))[zone].closes_before[exchange] == before


def test_a_day_that_is_over_ends_where_the_next_begins() -> None:
    ended = calendar("2026-11-23T12:00").ended_days(NEW_YORK, date(2026, 11, 18), MONDAY)
    assert [(one.day, one.since, one.until) for one in ended] == [
        (THURSDAY, datetime(2026, 11, 19, 5, tzinfo=UTC), datetime(2026, 11, 20, 5, tzinfo=UTC)),
        (FRIDAY, datetime(2026, 11, 20, 5, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)),
    ]
    assert calendar("2026-11-23T12:00").ended_days(NEW_YORK, FRIDAY, MONDAY) == []


def test_days_that_nobody_saw_end_go_back_a_month() -> None:
    known = calendar("2026-11-23T12:00")
    assert known.ended_days(ZURICH, None, MONDAY)[0].day == date(2026, 10, 23)
    every = create_calendar([], [], ZONES, ns("2026-11-23T12:00")).ended_days(ZURICH, FRIDAY, MONDAY)
    assert [one.day for one in every] == [SATURDAY, SUNDAY]


def states(now: str, prices: dict[str, str], asset_class: str = "equity") -> list[str]:
    """Return the state of a price of each exchange at a time."""
    known = calendar(now)
    table = PriceTable({"USD": 2}, [spec(number, asset_class) for number in range(len(prices))])
    batch = quotes(*((number, 1.0) for number in range(len(prices))))
    made = np.array([ns(at) for at in prices.values()])
    assert not table.apply(replace(batch, event_ns=made), ns(now))
    table.follow_sessions(*known.hours(known.numbers(prices), ns(now)))
    table.refresh(ns(now))
    return [STATES[state] for state in table.state]


def spec(number: int, asset_class: str) -> InstrumentSpec:
    return InstrumentSpec(number, str(number), "", asset_class, "", "US", "USD", None, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    ("now", "new_york", "state"),
    [
        ("2026-11-20T20:59", "2026-11-20T20:50", "live"),
        ("2026-11-20T20:59", "2026-11-20T20:30", "stale"),  # the market is open
        ("2026-11-20T21:30", "2026-11-20T20:50", "close"),
        ("2026-11-22T12:00", "2026-11-20T20:50", "close"),
        ("2026-11-22T12:00", "2026-11-20T20:30", "stale"),  # it was stale before the bell
        ("2026-11-22T12:00", "2026-11-19T20:59", "stale"),
        ("2026-11-22T12:00", "2026-11-22T11:50", "live"),  # a simulated feed trades on Sundays
        ("2026-11-23T14:30", "2026-11-20T20:50", "close"),  # the bell has just rung
        ("2026-11-23T14:46", "2026-11-20T20:50", "stale"),
        ("2026-11-26T18:00", "2026-11-25T20:50", "close"),  # Thanksgiving
        ("2026-11-27T18:20", "2026-11-27T17:50", "close"),  # a half day ends at 18:00
        ("2026-11-27T17:59", "2026-11-25T20:50", "stale"),
    ],
)
def test_a_price_is_the_close_while_its_market_is_shut(now: str, new_york: str, state: str) -> None:
    assert states(now, {"XNYS": new_york}) == [state]


def test_each_instrument_goes_by_its_own_exchange_and_none_never_closes() -> None:
    at = "2026-11-20T16:20"
    assert states("2026-11-20T17:00", {"XSWX": at, "XNYS": at, "24/5": at, "": at}) == [
        "close",
        "stale",
        "stale",
        "stale",
    ]


def test_a_patient_instrument_may_be_the_close_of_a_session_through_the_next() -> None:
    """A bond is given a day: on Monday noon Friday's price is still the close, on Tuesday it is stale."""
    assert states("2026-11-23T12:00", {"XSWX": "2026-11-20T10:00"}, "bond") == ["close"]
    assert states("2026-11-24T12:00", {"XSWX": "2026-11-20T10:00"}, "bond") == ["stale"]


def session_day(exchange: str | None, event: str) -> date | None:
    known = calendar("2026-11-21T12:00")
    found = int(known.session_days(known.numbers([exchange]), np.array([ns(event)]))[0])
    return date.fromordinal(found) if found else None


@pytest.mark.parametrize(
    ("exchange", "event", "day"),
    [
        ("XNYS", "2026-11-20T14:29", None),  # before the bell
        ("XNYS", "2026-11-20T14:30", FRIDAY),
        ("XNYS", "2026-11-20T21:10", FRIDAY),  # the auction
        ("XNYS", "2026-11-20T21:16", None),
        ("XNYS", "2026-11-22T12:00", None),
        ("24/5", "2026-11-20T23:59", FRIDAY),
        ("24/5", "2026-11-22T12:00", None),
        (None, "2026-11-22T12:00", SUNDAY),
        ("XNYS", "1970-01-01T00:00", None),  # no price yet
        (None, "1970-01-01T00:00", None),
    ],
)
def test_a_price_is_a_close_of_the_session_it_was_made_in(exchange: str | None, event: str, day: date | None) -> None:
    assert session_day(exchange, event) == day


def test_a_close_is_as_old_as_the_end_of_its_session() -> None:
    known = calendar("2026-11-21T12:00")
    now = ns("2026-11-20T20:00")
    assert known.made_ns("XNYS", THURSDAY, now) == ns("2026-11-19T21:00")
    assert known.made_ns("XNYS", FRIDAY, now) == ns("2026-11-20T14:30")  # still running: it may be of the opening
    assert known.made_ns("XNYS", SATURDAY, ns("2026-11-23T12:00")) == ns("2026-11-22T00:00")
    assert known.made_ns(None, THURSDAY, now) == ns("2026-11-20T00:00")


def test_without_a_calendar_every_weekday_is_a_session() -> None:
    found = calendar("2026-11-22T12:00", []).zone_days(ns("2026-11-22T12:00"))
    assert found[ZURICH].day == FRIDAY
    assert found[ZURICH].closes_before["XNYS"] == FRIDAY
    assert calendar("2026-11-23T00:30", []).zone_days(ns("2026-11-23T00:30"))[ZURICH].day == MONDAY


def test_beyond_the_last_session_known_weekdays_are_guessed() -> None:
    ends = [one for one in SESSIONS if one.date <= THURSDAY]
    found = calendar("2026-11-24T12:00", ends).zone_days(ns("2026-11-24T12:00"))
    assert found[NEW_YORK].day == date(2026, 11, 24)
    assert found[NEW_YORK].closes_before["XNYS"] == date(2026, 11, 24)


def test_where_nobody_trades_on_an_exchange_every_date_is_a_day() -> None:
    now = ns("2026-11-22T12:00")
    for listed in ([], ["24/5"], ["24/7"]):
        assert create_calendar([], listed, ["UTC"], now).zone_days(now)["UTC"].day == SUNDAY


@pytest.mark.parametrize("is_known", [True, False])
def test_what_never_closes_has_a_close_each_day_and_is_stale_at_weekends_too(is_known: bool) -> None:
    """Its days make none of a portfolio: over a weekend Friday goes on, from the close of Thursday."""
    sessions = [*SESSIONS, *(find_sessions(["24/7"], FIRST, LAST) if is_known else ())]
    exchanges = (*EXCHANGES, "24/7")
    now = ns("2026-11-22T12:00")
    known = create_calendar(sessions, exchanges, ZONES, now)
    number = known.numbers(["24/7"])
    opened, ended = known.hours(number, now)
    assert (opened[0], ended[0]) == (ns("2026-11-22T00:00"), ns("2026-11-22T00:00"))
    assert known.session_days(number, np.array([ns("2026-11-21T23:59")]))[0] == SATURDAY.toordinal()
    sunday = known.zone_days(now)[ZURICH]
    assert (sunday.day, sunday.closes_before["24/7"]) == (FRIDAY, FRIDAY)
    at = ns("2026-11-23T09:00")
    monday = create_calendar(sessions, exchanges, ZONES, at).zone_days(at)[ZURICH]
    assert (monday.day, monday.closes_before["24/7"]) == (MONDAY, MONDAY)  # the close of Sunday is the newest


def test_a_session_struck_out_by_hand_moves_neither_day_nor_close() -> None:
    struck = [one for one in SESSIONS if one.date != MONDAY]
    found = calendar("2026-11-23T23:30", struck).zone_days(ns("2026-11-23T23:30"))
    assert found[NEW_YORK].day == FRIDAY
    assert found[NEW_YORK].closes_before["XNYS"] == FRIDAY


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 380 * 24 * 60), st.integers(1, 4000))
def test_time_moves_days_and_closes_forward_only(minute: int, later: int) -> None:
    start = ns("2026-01-05T00:00") + minute * MINUTE_NS
    end = min(start + later * MINUTE_NS, ns("2027-01-25T00:00"))
    start = min(start, end)
    known = create_calendar(SESSIONS, EXCHANGES, ZONES, end)
    before, after = known.zone_days(start), known.zone_days(end)
    for zone in ZONES:
        assert before[zone].start_ns <= start
        assert before[zone].day <= after[zone].day
        for exchange, day in before[zone].closes_before.items():
            assert day <= after[zone].closes_before[exchange]
            assert day <= before[zone].day
