"""Know when the day of an account begins: at midnight in its time zone, of the newest day on which an exchange trades.

The same rule as the stream's, or opening quantities would be of another moment than the closes they are valued at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from analytics.sessions import ROUND_THE_CLOCK, day_start, find_sessions, trading_day

BEHIND = timedelta(days=30)
AHEAD = timedelta(days=300)  # most exchanges announce a year


def find_trading_dates(exchanges: Iterable[str], today: date) -> set[date]:
    """Return the dates around `today` on which an exchange holds a session; imports pandas where there is one."""
    kept = set(exchanges) - ROUND_THE_CLOCK
    return {one.date for one in find_sessions(kept, today - BEHIND, today + AHEAD)} if kept else set()


def day_began(now: datetime, zone: str, dates: Collection[date]) -> datetime:
    """Return when the day that it is at `now` in a time zone began, in UTC; without dates every day is one."""
    return day_start(trading_day(now.astimezone(ZoneInfo(zone)).date(), dates), zone)


def microseconds(moment: datetime) -> int:
    """Return a timezone-aware moment in microseconds since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
