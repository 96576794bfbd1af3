"""Answer what day it is for a portfolio, which closes count on it, and which prices are a market's last word.

The day of a portfolio begins at midnight of its time zone, on every date on which any exchange holds a session;
on other dates the day before goes on. A close counts once its session is over: at midnight in Dubai the New York
session of the day before still runs, and until it is over the close before it stays the prior close.

Everything is a pure function of the sessions known and of the nanosecond asked about. Midnights, openings and
closings fall on whole minutes, so the worker asks once a minute and nothing here is done tick by tick.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from analytics.sessions import EVERY_DAY, ROUND_THE_CLOCK, Session, day_start, trading_day

Ints: TypeAlias = npt.NDArray[np.int64]

NO_EXCHANGE = ""  # of what has none, such as cash: each UTC date is a session
AUCTION_NS = 15 * 60 * 10**9  # closing auctions print within ten minutes after the close
KNOWN_BACK = timedelta(days=31)  # longer than any exchange stays shut, and than a worker should have been away
GUESSED_AHEAD = timedelta(days=21)
DAY_NS = 86_400 * 10**9
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class ZoneDay:
    """Hold the day of the portfolios of one time zone: its date, when it began, and which closes count.

    The prior close of an instrument is the newest one of a date before `closes_before` its exchange
    (`NO_EXCHANGE` where it has none); exchanges that nobody knows anything of stand at `day` itself.
    """

    day: date
    start_ns: int
    closes_before: Mapping[str, date]


@dataclass(frozen=True, slots=True)
class EndedDay:
    """Hold a day that is over: its date, when it began, and when the next one did."""

    day: date
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Timetable:
    """Hold the sessions of one exchange in order, int64: the date's ordinal, opening, closing, and when it is over."""

    day: Ints
    opens_ns: Ints
    closes_ns: Ints
    over_ns: Ints


class Calendar:
    """Hold sessions by exchange and the time zones of portfolios; create it by `create_calendar`.

    `is_guess` says that of no exchange any session is known.
    """

    def __init__(
        self,
        timetables: Mapping[str, Timetable],
        zones: Collection[str],
        dates: Sequence[date],
        is_guess: bool = False,
    ) -> None:
        self.is_guess = is_guess
        self._timetables = timetables
        self._number = {exchange: index for index, exchange in enumerate(timetables)}
        self._zones = zones
        self._dates = dates

    def zone_days(self, now_ns: int) -> dict[str, ZoneDay]:
        """Return the day of each time zone; of a name that is none it is UTC's, so that it stops nobody else's."""
        return {zone: self._zone_day(zone if _is_zone(zone) else "UTC", now_ns) for zone in self._zones}

    def ended_days(self, zone: str, after: date | None, today: date) -> list[EndedDay]:
        """Return a zone's days after one date (None: as far back as sessions are known) and before `today`."""
        first = max(after + timedelta(days=1) if after else date.min, today - KNOWN_BACK)
        dates = self._dates or [first + timedelta(days=number) for number in range((today - first).days + 1)]
        days = [*(one for one in dates if first <= one < today), today]
        starts = [day_start(one, zone if _is_zone(zone) else "UTC") for one in days]
        return [EndedDay(*one) for one in zip(days, starts, starts[1:], strict=False)]

    def numbers(self, exchanges: Iterable[str | None]) -> Ints:
        """Return by instrument the number by which this calendar knows its exchange, -1 for none."""
        return np.array([self._number.get(one or NO_EXCHANGE, -1) for one in exchanges], np.int64)

    def hours(self, number: Ints, now_ns: int) -> tuple[Ints, Ints]:
        """Return by instrument (when the session that runs now opened, when the last one before it ended).

        The first is -1 where the market is shut, and 0, as the second, where it never shuts.
        """
        opened, ended = np.zeros(len(number), np.int64), np.zeros(len(number), np.int64)
        for index, one in enumerate(self._timetables.values()):
            here = number == index
            newest = _newest(one.opens_ns, now_ns)
            is_open = newest >= 0 and now_ns < int(one.closes_ns[newest])
            before = newest - 1 if is_open else newest
            opened[here] = one.opens_ns[newest] if is_open else -1
            ended[here] = one.closes_ns[before] if before >= 0 else one.opens_ns[0]
        return opened, ended

    def session_days(self, number: Ints, event_ns: Ints) -> Ints:
        """Return by instrument the ordinal of the date on whose session a price was made, 0 outside any session.

        The auction after the close belongs to the session.
        """
        days = np.where((number < 0) & (event_ns > 0), event_ns // DAY_NS + _EPOCH_ORDINAL, 0)
        for index, one in enumerate(self._timetables.values()):
            here = np.flatnonzero(number == index)
            newest = np.searchsorted(one.opens_ns, event_ns[here], "right") - 1
            during = (newest >= 0) & (event_ns[here] <= one.over_ns[newest])
            days[here] = np.where(during, one.day[newest], 0)
        return days

    def made_ns(self, exchange: str | None, day: date, now_ns: int) -> int:
        """Return the nanosecond since which the close of a date is known to have stood.

        That is the end of its session; while it runs the opening, because the price may be as old as that.
        Where no session is known it is the end of the UTC date.
        """
        one = self._timetables.get(exchange or NO_EXCHANGE)
        if one is not None:
            index = int(np.searchsorted(one.day, day.toordinal()))
            if index < len(one.day) and one.day[index] == day.toordinal():
                return int(one.closes_ns[index] if one.closes_ns[index] <= now_ns else one.opens_ns[index])
        begins_ns = (day.toordinal() - _EPOCH_ORDINAL) * DAY_NS
        return begins_ns + DAY_NS if begins_ns + DAY_NS <= now_ns else begins_ns

    def _zone_day(self, zone: str, now_ns: int) -> ZoneDay:
        day = trading_day(_local_date(now_ns, zone), self._dates)
        closes_before = {NO_EXCHANGE: min(day, _local_date(now_ns, "UTC"))}
        for exchange, one in self._timetables.items():
            over = _newest(one.over_ns, now_ns)
            after = date.fromordinal(int(one.day[over]) + 1 if over >= 0 else int(one.day[0]))
            closes_before[exchange] = min(day, after)
        return ZoneDay(day, _start_ns(day, zone), closes_before)


def create_calendar(
    sessions: Iterable[Session], exchanges: Collection[str], zones: Collection[str], now_ns: int
) -> Calendar:
    """Make the calendar of these exchanges and time zones.

    Beyond the last session that is known of an exchange, and where none is, every weekday (UTC; every date of what
    never closes) is taken for one: a guess, but closes roll and prices are called stale as they would be without a
    calendar. Where nobody trades on an exchange, every date is a day.
    """
    today = _local_date(now_ns, "UTC")
    known: dict[str, list[Session]] = {exchange: [] for exchange in sorted(exchanges)}
    for one in sessions:
        if one.exchange in known:
            known[one.exchange].append(one)
    is_guess = bool(known) and not any(known.values())
    for exchange, listed in known.items():
        first = listed[-1].date + timedelta(days=1) if listed else today - KNOWN_BACK
        listed += _weekdays(exchange, first, today + GUESSED_AHEAD)
    dates = sorted({one.date for name, listed in known.items() if name not in ROUND_THE_CLOCK for one in listed})
    return Calendar({exchange: _columns(listed) for exchange, listed in known.items()}, zones, dates, is_guess)


def _weekdays(exchange: str, first: date, last: date) -> list[Session]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [
        Session(exchange, day, day_start(day, "UTC"), day_start(day + timedelta(days=1), "UTC"))
        for day in days
        if day.weekday() < 5 or exchange == EVERY_DAY
    ]


def _columns(sessions: Sequence[Session]) -> Timetable:
    closes_ns = np.array([_ns(one.closes_at) for one in sessions], np.int64)
    has_auction = np.array([one.exchange not in ROUND_THE_CLOCK for one in sessions], bool)
    return Timetable(
        np.array([one.date.toordinal() for one in sessions], np.int64),
        np.array([_ns(one.opens_at) for one in sessions], np.int64),
        closes_ns,
        closes_ns + AUCTION_NS * has_auction,
    )


def _newest(instants: Ints, now_ns: int) -> int:
    return int(np.searchsorted(instants, now_ns, "right")) - 1


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of zones, such as Europe, is an OSError
        return False
    return True


def _local_date(now_ns: int, zone: str) -> date:
    return datetime.fromtimestamp(now_ns // 10**9, ZoneInfo(zone)).date()


def _start_ns(day: date, zone: str) -> int:
    return _ns(day_start(day, zone))


def _ns(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9
