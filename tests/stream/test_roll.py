"""Each time zone's day begins anew when its midnight or a close says so, and nothing else is touched by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest
from books import MINOR_UNITS, quotes
from fakes_stream import SmallBank, positions_now

from analytics.sessions import find_sessions
from db.corporate_actions import CorporateAction, insert_actions
from db.postgres import open_pool
from db.sessions import replace_sessions
from stream.consumer import StateLost
from stream.messages import Position
from stream.prices import STATES
from stream.processor import Processor
from stream.restore import load_prices
from stream.roll import Days
from stream.split_watch import SplitWatch

pytestmark = pytest.mark.integration
CASH, SHARE, EURO = 1, 3, 7  # dollars, a share in New York, and the rate of exchange
DUBAI, ZURICH, NEW_YORK = ZONES = ("Asia/Dubai", "Europe/Zurich", "America/New_York")
EXCHANGES = {SHARE: "XNYS", EURO: "24/5"}
# In November 2026 the 16th is a Monday, the 26th Thanksgiving and the 27th a half day.
CLOSES = {16: 100.0, 17: 101.0, 18: 102.0, 19: 103.0, 20: 104.0, 23: 105.0, 24: 106.0, 25: 107.0, 27: 108.0}


def november(day: int) -> date:
    return date(2026, 11, day)


def ns(at: str) -> int:
    return int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) * 10**9


@dataclass
class Clock:
    """A worker's state at a time that the test sets: ten shares held in each of three zones."""

    bank: SmallBank
    processor: Processor
    days: Days
    portfolios: dict[str, int] = field(default_factory=dict)

    async def go_to(self, at: str) -> set[str]:
        """Let it be this time (UTC); returns the zones that began anew."""
        async with self.bank.pool.acquire() as connection:
            changed = await self.days.look(connection, ns(at))
            await self.days.begin(connection, changed, ns(at))
        self.processor.revalue(ns(at))
        return set(changed)

    def trade(self, at: str, price: float) -> None:
        assert not self.processor.apply_quotes(quotes((SHARE, price), event_ns=ns(at)), ns(at))
        self.processor.revalue(ns(at))

    def prior_closes(self) -> dict[str, float]:
        """Return what the share in each zone is measured against."""
        return {zone: self.processor.take(index, 0).rows[0].prior_close for zone, index in self.portfolios.items()}


@pytest.fixture
async def bank(postgres_url: str) -> AsyncIterator[SmallBank]:
    async with open_pool(postgres_url, "tests", size=2) as pool:
        bank = SmallBank(pool)
        await pool.executemany("insert into currencies values ($1::text, $1::text, $2)", MINOR_UNITS.items())
        await bank.add_instrument(CASH, "USD", "cash", "USD")
        await bank.add_instrument(SHARE, "KO", "equity", "USD")
        await bank.add_instrument(EURO, "EUR/USD", "fx", "USD", "EUR")
        for number, exchange in EXCHANGES.items():
            await pool.execute("update instruments set exchange = $2 where id = $1", number, exchange)
        for day, close in CLOSES.items():
            await bank.add_close(SHARE, november(day), close)
            await bank.add_close(EURO, november(day), 1.0 + day / 100)
        first, last = date(2026, 10, 1), date(2027, 1, 20)
        found = find_sessions(EXCHANGES.values(), first, last)
        async with pool.acquire() as connection:
            await replace_sessions(connection, found, list(EXCHANGES.values()), first, last)
        yield bank


async def start(bank: SmallBank, at: str) -> Clock:
    """Restore a worker's state at a time, with ten shares in each zone, held for long."""
    async with bank.pool.acquire() as connection:
        processor = Processor(await load_prices(connection, ns(at)))
    clock = Clock(bank, processor, Days(processor))
    for index, zone in enumerate(ZONES):
        record = positions_now(zone, "USD", 1, (SHARE, "10"), event_ns=ns("2026-11-02T12:00"))
        processor.apply_positions(msgspec.structs.replace(record, time_zone=zone), 0, 1)
        clock.portfolios[zone] = index
    await clock.go_to(at)
    return clock


async def test_zones_roll_one_after_the_other_through_a_night(bank: SmallBank) -> None:
    """From Tuesday the 17th to Wednesday: Dubai, New York's close, the currencies' midnight, Zurich, New York."""
    clock = await start(bank, "2026-11-17T19:59")
    assert clock.prior_closes() == dict.fromkeys(ZONES, 100.0)
    assert await clock.go_to("2026-11-17T20:00") == {DUBAI}
    assert clock.prior_closes()[DUBAI] == 100.0  # New York still trades: Tuesday's close is not made
    assert await clock.go_to("2026-11-17T21:14") == set()
    assert await clock.go_to("2026-11-17T21:15") == {DUBAI}
    assert clock.prior_closes() == {DUBAI: 101.0, ZURICH: 100.0, NEW_YORK: 100.0}
    assert await clock.go_to("2026-11-17T23:00") == {ZURICH}
    assert clock.prior_closes() == {DUBAI: 101.0, ZURICH: 101.0, NEW_YORK: 100.0}
    assert await clock.go_to("2026-11-18T00:00") == {DUBAI, ZURICH, "UTC"}  # the currencies' day is over
    assert await clock.go_to("2026-11-18T05:00") == {NEW_YORK}
    assert clock.prior_closes() == dict.fromkeys(ZONES, 101.0)
    assert await clock.go_to("2026-11-18T14:30") == set()


async def test_a_weekend_belongs_to_friday(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-20T12:00")
    for at in ("2026-11-20T23:00", "2026-11-21T12:00", "2026-11-22T19:59"):
        await clock.go_to(at)
        assert clock.prior_closes() == dict.fromkeys(ZONES, 103.0)
    assert DUBAI in await clock.go_to("2026-11-22T20:00")
    assert clock.prior_closes() == {DUBAI: 104.0, ZURICH: 103.0, NEW_YORK: 103.0}
    await clock.go_to("2026-11-23T05:00")
    assert clock.prior_closes() == dict.fromkeys(ZONES, 104.0)


async def test_on_a_holiday_of_one_exchange_its_close_stays_and_the_day_turns(bank: SmallBank) -> None:
    await bank.pool.execute("update instruments set exchange = 'XSWX' where id = $1", EURO)  # who trades that day
    async with bank.pool.acquire() as connection:
        found = find_sessions(["XSWX"], november(1), date(2026, 12, 31))
        await replace_sessions(connection, found, ["XSWX"], november(1), date(2026, 12, 31))
    clock = await start(bank, "2026-11-25T12:00")
    assert clock.prior_closes() == dict.fromkeys(ZONES, 106.0)
    for at in ("2026-11-26T12:00", "2026-11-27T12:00"):
        await clock.go_to(at)
        assert clock.days.held[ZURICH].day == date.fromisoformat(at[:10])
        assert clock.prior_closes() == dict.fromkeys(ZONES, 107.0)


async def test_a_half_day_counts_when_it_is_over(bank: SmallBank) -> None:
    """New York shuts at 18:00 UTC on the 27th, and Dubai's Saturday is still Friday: it counts from Monday on."""
    clock = await start(bank, "2026-11-27T17:59")
    clock.trade("2026-11-27T17:59", 110.0)
    await clock.go_to("2026-11-27T18:16")
    assert STATES[clock.processor.prices.state[1]] == "close"
    await clock.go_to("2026-11-29T20:00")
    assert clock.prior_closes()[DUBAI] == 108.0


@pytest.mark.parametrize(
    ("zone", "before", "at"),
    [
        (ZURICH, "2026-03-29T21:59", "2026-03-29T22:00"),  # summer time began on Sunday the 29th
        (ZURICH, "2026-10-25T22:59", "2026-10-25T23:00"),
        (NEW_YORK, "2026-03-09T03:59", "2026-03-09T04:00"),
        (NEW_YORK, "2026-11-02T04:59", "2026-11-02T05:00"),
        (DUBAI, "2026-10-25T19:59", "2026-10-25T20:00"),
    ],
)
async def test_the_day_rolls_at_midnight_by_the_new_clock(bank: SmallBank, zone: str, before: str, at: str) -> None:
    clock = await start(bank, before)
    assert zone not in await clock.go_to(before)
    assert zone in await clock.go_to(at)
    assert clock.processor.book.day_starts_ns[clock.processor.prices.zones[zone]] == ns(at)


async def test_day_pnl_starts_anew_at_the_close_and_what_was_bought_is_held(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-17T20:30")
    bought = Position(SHARE, Decimal(14), Decimal(0), Decimal(0), Decimal(10), Decimal(402))
    record = positions_now(ZURICH, "USD", 2, event_ns=ns("2026-11-17T20:30"))
    clock.processor.apply_positions(msgspec.structs.replace(record, positions=(bought,), time_zone=ZURICH), 0, 1)
    clock.trade("2026-11-17T20:59", 101.0)
    assert clock.processor.take(1, 0).day_pnl == 14 * 101 - 402 - 10 * 100
    await clock.go_to("2026-11-17T23:00")
    assert clock.processor.take(1, 0).day_pnl == 0.0
    clock.trade("2026-11-18T15:00", 102.0)
    assert clock.processor.take(1, 0).day_pnl == 14.0


async def test_a_restart_is_on_the_same_day_at_the_same_closes(bank: SmallBank) -> None:
    for at in ("2026-11-17T20:30", "2026-11-17T22:00", "2026-11-22T12:00", "2026-11-26T12:00"):
        clock = await start(bank, "2026-11-17T12:00")
        await clock.go_to(at)
        again = await start(bank, at)
        assert again.prior_closes() == clock.prior_closes()
        assert [again.days.held[zone] for zone in ZONES] == [clock.days.held[zone] for zone in ZONES]


async def test_after_a_restart_on_a_sunday_the_price_is_fridays_close_and_not_stale(bank: SmallBank) -> None:
    await bank.pool.execute("delete from daily_prices where date > $1", november(20))
    clock = await start(bank, "2026-11-22T12:00")
    valuation = clock.processor.take(1, 0)
    assert (valuation.rows[0].price, valuation.rows[0].prior_close, valuation.rows[0].state) == (104.0, 103.0, "close")
    assert valuation.day_pnl == 10.0


async def test_a_session_struck_out_by_hand_is_none(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-17T19:59")
    await bank.pool.execute(
        "update market_sessions set opens_at = null, closes_at = null, source = 'operations' "
        "where exchange = 'XNYS' and date = $1",
        november(17),
    )
    await clock.go_to("2026-11-17T22:00")
    assert [clock.days.held[zone].day.day for zone in ZONES] == [18, 16, 16]
    assert clock.prior_closes()[DUBAI] == 100.0


async def test_prices_are_closes_of_the_session_they_were_made_in(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-17T20:00")
    assert clock.days.closes() == {}
    clock.trade("2026-11-17T20:50", 101.5)
    clock.processor.apply_quotes(quotes((EURO, 1.2), event_ns=ns("2026-11-18T00:10")), ns("2026-11-18T00:10"))
    assert clock.days.closes() == {november(17): {SHARE: 101.5}, november(18): {EURO: 1.2}}
    clock.trade("2026-11-18T02:00", 101.7)  # between sessions: no close
    assert clock.days.closes() == {november(18): {EURO: 1.2}}


async def test_an_instrument_that_is_new_gets_its_closes_in_every_zone(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-17T22:00")
    await bank.add_instrument(12, "PEP", "equity", "USD")
    await bank.pool.execute("update instruments set exchange = 'XNYS' where id = 12")
    for day in (16, 17):
        await bank.add_close(12, november(day), float(day))
    await bank.pool.execute("update daily_prices set close = 999 where instrument_id = $1", SHARE)
    before = clock.prior_closes()
    async with bank.pool.acquire() as connection:
        await clock.days.learn(connection, ns("2026-11-17T22:01"))
    assert clock.prior_closes() == before  # opening values have been summed from them
    prices = clock.processor.prices
    assert [prices.prior_close[prices.zones[zone], 3] for zone in ZONES] == [17.0, 16.0, 16.0]
    assert await clock.go_to("2026-11-17T22:01") == {*ZONES, "UTC"}
    assert clock.prior_closes() == dict.fromkeys(ZONES, 999.0)


async def test_a_close_that_is_written_anew_counts_at_once(bank: SmallBank) -> None:
    """As when a venue's own history takes the place of an invented one while the day runs."""
    clock = await start(bank, "2026-11-18T15:00")
    assert clock.prior_closes() == dict.fromkeys(ZONES, 101.0)
    clock.trade("2026-11-18T15:01", 110.0)
    await bank.pool.execute(
        "update daily_prices set close = 109 where instrument_id = $1 and date = $2", SHARE, november(17)
    )
    assert await clock.go_to("2026-11-18T15:02") == {*ZONES, "UTC"}
    assert clock.prior_closes() == dict.fromkeys(ZONES, 109.0)
    assert {clock.processor.take(index, 0).rows[0].day_pnl for index in clock.portfolios.values()} == {10.0}
    assert await clock.go_to("2026-11-18T15:03") == set()


async def test_a_zone_nobody_knows_goes_by_utc(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-17T12:00")
    record = positions_now("lost", "USD", 1, (SHARE, "10"), event_ns=ns("2026-11-02T12:00"))
    clock.processor.apply_positions(msgspec.structs.replace(record, time_zone="Mars/Olympus"), 0, 1)
    await clock.go_to("2026-11-18T00:00")
    clock.trade("2026-11-18T15:00", 111.0)
    assert clock.processor.take(3, 0).day_pnl == 100.0


async def announce(bank: SmallBank, ratio: str, at: str, ex_day: int, version: int = 1) -> None:
    """Announce a split of the share; a later version replaces an earlier one."""
    effective = datetime.fromisoformat(at).replace(tzinfo=UTC)
    action = CorporateAction("iboss", "A", version, SHARE, "split", november(ex_day), effective, Decimal(ratio))
    async with bank.pool.acquire() as connection:
        await insert_actions(connection, [action])


async def test_a_split_between_two_sessions_is_in_the_closes_of_every_zone_from_its_moment_on(bank: SmallBank) -> None:
    """On Wednesday the 18th at 02:00; Tuesday's close of 101 was in old shares, Wednesday's of 102 is in new ones."""
    clock = await start(bank, "2026-11-17T22:00")
    await announce(bank, "4", "2026-11-18T02:00", 18)
    await SplitWatch(bank.pool, clock.processor).look()
    assert clock.prior_closes() == {DUBAI: 101.0, ZURICH: 100.0, NEW_YORK: 100.0}
    await clock.go_to("2026-11-18T01:59")
    assert clock.prior_closes() == {DUBAI: 101.0, ZURICH: 101.0, NEW_YORK: 100.0}
    clock.trade("2026-11-18T02:00", 25.5)
    assert clock.prior_closes() == {DUBAI: 25.25, ZURICH: 25.25, NEW_YORK: 25.0}
    assert {zone: clock.processor.take(index, 0).day_pnl for zone, index in clock.portfolios.items()} == {
        DUBAI: 10.0,
        ZURICH: 10.0,
        NEW_YORK: 20.0,
    }
    await clock.go_to("2026-11-18T05:00")
    assert clock.prior_closes() == dict.fromkeys(ZONES, 25.25)
    await clock.go_to("2026-11-19T12:00")
    assert clock.prior_closes() == dict.fromkeys(ZONES, 102.0)
    assert [clock.processor.take(index, 0).rows[0].quantity for index in range(3)] == [40.0] * 3


async def test_a_restart_after_a_split_is_at_the_same_closes_and_quantities(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-17T22:00")
    await announce(bank, "4", "2026-11-18T02:00", 18)
    await SplitWatch(bank.pool, clock.processor).look()
    for at in ("2026-11-18T01:59", "2026-11-18T02:00", "2026-11-18T05:00", "2026-11-18T22:00", "2026-11-23T12:00"):
        await clock.go_to(at)
        again = await start(bank, at)
        for index in range(3):
            shown, anew = (one.processor.take(index, 0).rows[0] for one in (clock, again))
            assert (shown.quantity, shown.prior_close, shown.price, shown.day_pnl) == (
                anew.quantity,
                anew.prior_close,
                anew.price,
                anew.day_pnl,
            )


async def test_a_split_after_the_close_is_not_in_the_close_of_its_date(bank: SmallBank) -> None:
    """At 22:00 on the 17th, an hour after the session: what is the close of the 17th stays in old shares."""
    await announce(bank, "4", "2026-11-17T22:00", 18)
    clock = await start(bank, "2026-11-17T20:30")
    clock.trade("2026-11-17T20:59", 101.5)
    assert clock.days.closes() == {november(17): {SHARE: 101.5}}
    await clock.go_to("2026-11-17T22:00")
    assert clock.processor.prices.price[1] == 101.5 / 4
    assert clock.days.closes() == {}, "the price that a split makes between sessions is no close"


async def test_a_price_that_a_split_made_is_a_close_in_the_shares_of_its_date(bank: SmallBank) -> None:
    """By the clock of the bank the 18th begins at 23:00; what trades on no exchange is still on the 17th."""
    await bank.pool.execute("update instruments set exchange = null where id = $1", SHARE)
    await announce(bank, "4", "2026-11-17T23:00", 18)
    clock = await start(bank, "2026-11-17T20:30")
    clock.trade("2026-11-17T20:59", 101.5)
    await clock.go_to("2026-11-17T23:30")
    assert clock.processor.prices.price[1] == 101.5 / 4
    assert clock.days.closes()[november(17)][SHARE] == 101.5


async def test_a_split_that_comes_or_changes_after_it_took_effect_has_all_restored(bank: SmallBank) -> None:
    clock = await start(bank, "2026-11-18T12:00")
    watch = SplitWatch(bank.pool, clock.processor)
    await announce(bank, "4", "2026-11-19T02:00", 19)
    await watch.look()
    await clock.go_to("2026-11-19T12:00")
    await watch.look()
    await announce(bank, "5", "2026-11-19T02:00", 19, version=2)
    with pytest.raises(StateLost):
        await watch.look()
