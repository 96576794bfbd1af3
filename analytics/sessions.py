"""Know when exchanges hold sessions, and on which day a portfolio is.

The exchanges' calendars come from `exchange_calendars`; what leaves here are plain records, so that only the one
process that fills the table of sessions pays for importing pandas (1.3 s and 100 MB, measured).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

EVERY_DAY = "24/7"  # where crypto-assets trade
ROUND_THE_CLOCK = frozenset({"24/5", EVERY_DAY})  # where no holidays are kept, so that they make no days
_MARGIN = timedelta(days=14)  # longer than an exchange stays shut: a calendar without any session cannot be made


class SessionsError(ValueError):
    """Say that a question about sessions has no answer.

    SessionsError
    └── UnknownExchange   no calendar goes by this code
    """


class UnknownExchange(SessionsError):
    """Say which code is no exchange's: neither a MIC such as `XNYS` that we have a calendar of, nor `24/…`."""


@dataclass(frozen=True, slots=True)
class Session:
    """Hold one session of an exchange: its local date, and when it opens and closes (UTC; half days are shorter)."""

    exchange: str
    date: date
    opens_at: datetime
    closes_at: datetime


def find_sessions(exchanges: Iterable[str], first: date, last: date) -> list[Session]:
    """Return every session from `first` to `last`, both included, in order of exchange and date.

    Beyond what an exchange has announced there are none: some say only this year's holidays. Takes 0.1 s an
    exchange (Seoul 1.8 s, whose calendar is lunar), after the import. Raises `UnknownExchange`.
    """
    return [one for exchange in sorted(set(exchanges)) for one in _sessions_of(exchange, first, last)]


def trading_day(today: date, dates: Collection[date]) -> date:
    """Return the newest of the trading `dates` that is not after `today`; `today` itself where there is none."""
    return max((one for one in dates if one <= today), default=today)


def day_start(day: date, zone: str) -> datetime:
    """Return the instant, in UTC, at which `day` begins in an IANA time zone.

    Where clocks skip midnight (Cairo and Santiago in spring) that is the first instant there is; where they
    pass it twice (Havana in autumn) it is the first time. Raises `zoneinfo.ZoneInfoNotFoundError`.
    """
    # fold=0 reads a midnight that is skipped by the clock before the change, which is the instant of the change.
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _sessions_of(exchange: str, first: date, last: date) -> list[Session]:
    schedule = _calendar_of(exchange, first, last).schedule
    return [
        Session(exchange, day.date(), opens.to_pydatetime(), closes.to_pydatetime())
        for day, opens, closes in zip(schedule.index, schedule["open"], schedule["close"], strict=True)
        if first <= day.date() <= last
    ]


def _calendar_of(exchange: str, first: date, last: date) -> ExchangeCalendar:
    """Return a calendar that covers these dates, as far as the exchange has announced them."""
    with warnings.catch_warnings():  # pandas 3 tells exchange_calendars what pandas 4 will no longer do
        warnings.simplefilter("ignore", DeprecationWarning)
        import exchange_calendars  # slow: who only asks for a day must not wait for pandas
        from exchange_calendars.errors import InvalidCalendarName

        start = (first - _MARGIN).isoformat()
        try:
            return exchange_calendars.get_calendar(exchange, start=start, end=(last + _MARGIN).isoformat())
        except InvalidCalendarName as error:
            raise UnknownExchange(f"no calendar goes by the code {exchange!r}") from error
        except ValueError:  # it has not announced so much; without an end it goes as far as it has
            return exchange_calendars.get_calendar(exchange, start=start)
