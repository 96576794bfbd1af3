"""Roll the days of time zones: look at the sessions each minute, and begin anew what has changed by them.

A zone begins anew at its midnight, and when a session that counts for it is over: then the prior closes of that
exchange move on. Nothing is restored for it; positions stay as they are. Closes are stored in the shares of their
date; here they come into the shares that the prices are in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from types import MappingProxyType

import asyncpg
import numpy as np
import structlog

from analytics.calendar import KNOWN_BACK, NO_EXCHANGE, Calendar, ZoneDay, create_calendar
from db.instruments import prior_closes
from db.sessions import exchanges, sessions, time_zones
from stream.prices import InstrumentSpec
from stream.processor import Processor
from stream.restore import load_prices, load_specs

log = structlog.get_logger()

# The row of the prices that is no time zone's: the newest closes, which stand in where no quote has come. Over a
# weekend they are not the prior closes, which are a day older, because Friday goes on.
NEWEST = "newest close"
ALL = MappingProxyType({NO_EXCHANGE: date.max})


class Days:
    """Keep the day of each time zone of a processor."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._held: dict[str, ZoneDay] = {}
        self.calendar = Calendar({}, (), ())

    @property
    def held(self) -> Mapping[str, ZoneDay]:
        """Return the day of each time zone, as it has begun."""
        return self._held

    async def look(self, connection: asyncpg.Connection, now_ns: int) -> dict[str, ZoneDay]:
        """Read the sessions; return the zones whose day, or whose prior closes, are no longer those that hold."""
        since = datetime.fromtimestamp(now_ns / 1e9, UTC).date() - KNOWN_BACK
        zones = {*await time_zones(connection), *self._processor.prices.zones} - {NEWEST}
        known = await sessions(connection, since)
        self.calendar = create_calendar(known, await exchanges(connection), sorted(zones), now_ns)
        self.follow(now_ns)
        found = self.calendar.zone_days(now_ns)
        return {zone: day for zone, day in found.items() if await self._is_new(connection, zone, day, now_ns)}

    async def _is_new(self, connection: asyncpg.Connection, zone: str, day: ZoneDay, now_ns: int) -> bool:
        """Say whether a day is not the one that has begun, or a close that it counts from was written anew since."""
        if self._held.get(zone) != day:
            return True
        prices = self._processor.prices
        held = prices.prior_close[prices.zones[zone]]
        closes = await self._closes(connection, day.closes_before, now_ns)
        return any(held[prices.place(number)] != close for number, (close, _) in closes.items())

    async def begin(self, connection: asyncpg.Connection, changed: Mapping[str, ZoneDay], now_ns: int) -> None:
        """Begin the days of these zones at their prior closes; beginning the same day twice changes nothing else."""
        prices = self._processor.prices
        self._processor.follow_splits(now_ns)  # in those of before it, closes of after a split would be split again
        prices.roll(NEWEST, await self._closes(connection, ALL, now_ns))
        for zone, day in changed.items():
            closes = await self._closes(connection, day.closes_before, now_ns)
            self._processor.begin_day(day.start_ns, closes, zone)
            if zone in self._held and self._held[zone].day != day.day:
                log.info("the day has rolled", zone=zone, day=day.day.isoformat())
            self._held[zone] = day
        prices.refresh(now_ns)  # positions that come next are refused where there is no rate

    async def learn(self, connection: asyncpg.Connection, now_ns: int) -> None:
        """Take in instruments that are new in PostgreSQL, with their closes; raises `stream.prices.UnknownCurrency`."""
        prices = self._processor.prices
        known = {spec.id for spec in prices.specs}
        prices.add(await load_specs(connection))
        self.follow(now_ns)
        for zone, before in [(NEWEST, ALL), *((zone, day.closes_before) for zone, day in self._held.items())]:
            closes = await self._closes(connection, before, now_ns)
            # what is known keeps its close until its zone begins anew: opening values have been summed from it
            prices.roll(zone, {number: close for number, close in closes.items() if number not in known})
        prices.refresh(now_ns)

    def specs(self, zone: str) -> list[InstrumentSpec]:
        """Return the instruments at a zone's prior closes, or at the `NEWEST`."""
        prices = self._processor.prices
        closes = prices.prior_close[prices.zones[zone]].tolist()
        return [replace(spec, prior_close=close) for spec, close in zip(prices.specs, closes, strict=True)]

    def follow(self, now_ns: int) -> None:
        """Tell the prices which markets are open now."""
        prices = self._processor.prices
        number = self.calendar.numbers(spec.exchange for spec in prices.specs)
        prices.follow_sessions(*self.calendar.hours(number, now_ns))

    def closes(self) -> dict[date, dict[int, float]]:
        """Return the newest prices (id → price) by the date on whose session they were made; others are no closes."""
        prices = self._processor.prices
        number = self.calendar.numbers(spec.exchange for spec in prices.specs)
        days = np.where(prices.cash, 0, self.calendar.session_days(number, prices.mark_ns))
        return {
            date.fromordinal(day): {
                prices.specs[index].id: self._close(index, date.fromordinal(day))
                for index in np.flatnonzero(days == day).tolist()
            }
            for day in np.unique(days[days > 0]).tolist()
        }

    def _close(self, index: int, day: date) -> float:
        """Return a mark in the shares of a date's close: a split may be in it that counts from the next date on."""
        prices = self._processor.prices
        mark_ns = int(prices.mark_ns[index])
        return float(prices.mark[index]) * float(prices.splits.ratio_since_close(prices.specs[index].id, day, mark_ns))

    async def _closes(
        self, connection: asyncpg.Connection, before: Mapping[str, date], now_ns: int
    ) -> dict[int, tuple[float, int]]:
        """Return the newest closes that count, by instrument id, with the nanosecond of each."""
        prices = self._processor.prices
        found = await prior_closes(connection, before[NO_EXCHANGE], before)
        return {
            number: (
                close / float(prices.splits.ratio_since_close(number, day, prices.shares_ns)),
                self.calendar.made_ns(prices.specs[prices.index_of[number]].exchange, day, now_ns),
            )
            for number, (close, day) in found.items()
            if prices.place(number) >= 0
        }


async def restore_days(connection: asyncpg.Connection, now_ns: int) -> tuple[Processor, Days]:
    """Return a processor that knows every instrument, at the closes of the day that it is now in each time zone."""
    processor = Processor(await load_prices(connection, now_ns))
    days = Days(processor)
    await days.begin(connection, await days.look(connection, now_ns), now_ns)
    return processor, days
