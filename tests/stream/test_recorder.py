"""Minutes and days reach PostgreSQL once, late rather than never, and never from a worker that was replaced."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from books import quotes
from fakes_stream import InterruptedPool, SmallBank, open_small_bank, positions_now

from db.epochs import take_epochs
from db.history import DailyValuation, write_daily_valuations
from db.hours import minute_points
from db.ledger import LedgerBooking, store
from db.live import LiveStore
from stream.messages import POSITIONS_TOPIC, PortfolioPositions, Position
from stream.processor import Processor
from stream.recorder import MINUTES_KEPT, TOTALS_EVERY, Recorder
from stream.roll import Days, restore_days
from stream.worker import Connections, Worker

pytestmark = pytest.mark.integration
DAY = datetime.now(UTC).date()
MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
LAST_MINUTE = MIDNIGHT + timedelta(days=1, minutes=-1)
NEXT_DAY = DAY + timedelta(days=1)
NOW_NS, NEXT_NS = (int(at.timestamp()) * 10**9 for at in (LAST_MINUTE, MIDNIGHT + timedelta(days=1)))
DOLLARS, EUROS = 0, 1  # the partitions of the two portfolios


@dataclass
class Desk:
    """A worker's writing side, on two portfolios in partitions of their own: 10 AAPL in dollars and in euros."""

    bank: SmallBank
    pool: InterruptedPool
    processor: Processor
    worker: Worker
    recorder: Recorder
    rolling: Days
    dollars: str
    euros: str

    def price(self, apple: float, now_ns: int = NOW_NS) -> None:
        """Let Apple trade at a price, and revalue."""
        assert not self.processor.apply_quotes(quotes((3, apple), event_ns=now_ns), now_ns)
        self.processor.revalue(now_ns)

    def put(self, record: PortfolioPositions) -> None:
        """Take positions, and revalue."""
        self.processor.apply_positions(record, DOLLARS, 1)
        self.processor.revalue(time.time_ns())

    async def replace(self, *partitions: int) -> None:
        """Let another worker take partitions over."""
        async with self.bank.pool.acquire() as connection:
            await take_epochs(connection, POSITIONS_TOPIC, partitions, "another")

    async def minutes(self, portfolio: str) -> dict[datetime, Decimal]:
        """Return equity by minute as stored."""
        async with self.bank.pool.acquire() as connection:
            found = await minute_points(connection, UUID(portfolio), MIDNIGHT, MIDNIGHT + timedelta(days=2))
        return {one.minute: one.total_equity for one in found}

    async def days(self, portfolio: str) -> dict[date, tuple[Decimal, Decimal, float]]:
        """Return (equity, flow, return) by day as stored."""
        rows = await self.bank.pool.fetch(
            "select date, total_equity, net_flow, day_return from daily_valuations where portfolio_id = $1",
            UUID(portfolio),
        )
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    async def holdings(self, portfolio: str) -> dict[str, tuple[Decimal, float]]:
        """Return (shares, day P&L in percent) by symbol as stored."""
        rows = await self.bank.pool.fetch(
            "select symbol, shares, day_pl_percent from holdings where portfolio_id = $1", UUID(portfolio)
        )
        return {row[0]: (row[1], float(row[2])) for row in rows}


@pytest.fixture
async def desk(postgres_url: str) -> AsyncIterator[Desk]:
    async with open_small_bank(postgres_url) as bank:
        dollars, euros = await bank.add_portfolio("USD"), await bank.add_portfolio("EUR")
        async with bank.pool.acquire() as connection:
            epochs = await take_epochs(connection, POSITIONS_TOPIC, [DOLLARS, EUROS], "this")
            processor, days = await restore_days(connection, NOW_NS)
        processor.apply_positions(positions_now(dollars, "USD", 1, (3, "10")), DOLLARS, epochs[DOLLARS])
        processor.apply_positions(positions_now(euros, "EUR", 1, (3, "10")), EUROS, epochs[EUROS])
        pool = InterruptedPool(bank.pool)
        worker = Worker("this", Connections(pool, LiveStore(None), None, None, None), processor, epochs, 1, days)
        yield Desk(bank, pool, processor, worker, worker._recorder, days, dollars, euros)


def minute(number: int) -> datetime:
    return MIDNIGHT + timedelta(minutes=number)


async def test_a_minute_is_written_with_its_closes_and_holdings(desk: Desk) -> None:
    desk.price(155.0)
    desk.recorder.keep(minute(1))
    await desk.recorder.write()
    assert await desk.minutes(desk.dollars) == {minute(1): Decimal(1550)}
    assert await desk.minutes(desk.euros) == {minute(1): Decimal("1409.09")}
    assert await desk.holdings(desk.dollars) == {"AAPL": (Decimal(10), pytest.approx(100 * 5 / 150, abs=1e-6))}
    close = await desk.bank.pool.fetchrow("select close, final from daily_prices where date = $1", DAY)
    assert tuple(close) == (155.0, False)


async def test_minutes_are_kept_while_postgresql_is_away_and_written_after(desk: Desk) -> None:
    desk.pool.away = True
    for number in range(3):
        desk.price(150.0 + number)
        await desk.worker.end_minute(minute(number), NOW_NS)
    assert await desk.minutes(desk.dollars) == {}
    desk.pool.away = False
    await desk.worker.end_minute(minute(3), NOW_NS)
    equities = [Decimal(1500), Decimal(1510), Decimal(1520), Decimal(1520)]
    assert await desk.minutes(desk.dollars) == {minute(number): equities[number] for number in range(4)}


async def test_an_hour_of_minutes_is_kept_at_most_and_the_oldest_go(desk: Desk) -> None:
    desk.price(150.0)
    desk.pool.away = True
    for number in range(MINUTES_KEPT + 2):
        desk.recorder.keep(minute(number))
    desk.pool.away = False
    await desk.recorder.write()
    written = await desk.minutes(desk.dollars)
    assert (len(written), min(written)) == (MINUTES_KEPT, minute(2))


async def test_the_same_minute_twice_changes_nothing(desk: Desk) -> None:
    desk.price(155.0)
    desk.recorder.keep(minute(1))
    desk.recorder.keep(minute(1))
    await desk.recorder.write()
    before = await desk.bank.pool.fetch("select * from minute_valuations order by portfolio_id")
    desk.recorder.keep(minute(1))
    await desk.recorder.write()
    assert await desk.bank.pool.fetch("select * from minute_valuations order by portfolio_id") == before


async def test_of_a_partition_that_another_worker_has_taken_nothing_is_written(desk: Desk) -> None:
    desk.price(155.0)
    desk.recorder.keep(LAST_MINUTE)
    await desk.replace(EUROS)
    await desk.recorder.write()
    await desk.worker._roll(NEXT_NS)
    assert await desk.minutes(desk.dollars) == {LAST_MINUTE: Decimal(1550)}
    assert DAY in await desk.days(desk.dollars)
    assert await desk.minutes(desk.euros) == {}
    assert await desk.days(desk.euros) == {}
    assert await desk.holdings(desk.euros) == {}


async def test_a_gain_of_millions_of_percent_is_stored_at_its_limit(desk: Desk) -> None:
    """A dividend on an account that held a cent: its day P&L in percent is beyond the column."""
    dividend = Position(1, Decimal("500.01"), Decimal(0), Decimal(0), Decimal("0.01"), Decimal(0))
    desk.put(PortfolioPositions(desk.dollars, 2, "USD", (dividend,), time.time_ns(), time.time_ns()))
    desk.recorder.keep(minute(1))
    await desk.recorder.write()
    assert await desk.holdings(desk.dollars) == {"USD": (Decimal("500.01"), 999_999.0)}
    assert len(await desk.minutes(desk.euros)) == 1


async def test_a_portfolio_of_quadrillions_is_written_like_any_other(desk: Desk) -> None:
    desk.put(positions_now(desk.dollars, "USD", 2, (4, "80000000000000")))
    desk.price(155.0)
    desk.recorder.keep(minute(1))
    await desk.recorder.write()
    for number in range(2, TOTALS_EVERY + 1):
        desk.recorder.keep(minute(number))
        await desk.recorder.write()
    worth = Decimal(8_840_000_000_000_000)
    assert set((await desk.minutes(desk.dollars)).values()) == {worth}
    assert set((await desk.minutes(desk.euros)).values()) == {Decimal("1409.09")}
    stored = await desk.bank.pool.fetchrow(
        "select p.total_value, h.value from portfolios p join holdings h on h.portfolio_id = p.id where p.id = $1",
        UUID(desk.dollars),
    )
    assert tuple(stored) == (worth, worth)


async def test_totals_of_each_portfolio_follow_within_five_minutes(desk: Desk) -> None:
    seen: dict[str, set[datetime]] = {}
    for number in range(1, 11):
        desk.price(150.0 + number)
        desk.recorder.keep(minute(number))
        await desk.recorder.write()
        rows = await desk.bank.pool.fetch("select id, total_value, last_updated from portfolios where total_value > 0")
        for identity, total, at in rows:
            assert total == (await desk.minutes(str(identity)))[at]
            seen.setdefault(str(identity), set()).add(at)
    assert seen.keys() == {desk.dollars, desk.euros}
    assert all(max(times) - min(times) == timedelta(minutes=5) for times in seen.values())


async def test_hours_that_are_over_are_packed(desk: Desk) -> None:
    for number in (58, 59, 60):
        desk.price(150.0 + number)
        desk.recorder.keep(minute(number))
        await desk.recorder.write()
    assert await desk.bank.pool.fetchval("select hour from packed_hours") == MIDNIGHT
    assert await desk.minutes(desk.dollars) == {
        minute(58): Decimal(2080),
        minute(59): Decimal(2090),
        minute(60): Decimal(2100),
    }


async def test_prices_are_kept_with_each_minute_and_closes_when_they_change(desk: Desk) -> None:
    desk.price(155.0)
    for number in (1, 2):
        desk.recorder.keep(minute(number))
        await desk.recorder.write()
    desk.processor.prices.roll("UTC", {3: (151.0, 1)})
    desk.price(156.0)
    desk.recorder.keep(minute(3))
    await desk.recorder.write()
    prices = await desk.bank.pool.fetch(
        "select m.minute, u.price from minute_prices m, unnest(instruments, prices) u (id, price) "
        "where u.id = 3 and assignment = 1 order by 1"
    )
    assert [tuple(row) for row in prices] == [(minute(1), 155.0), (minute(2), 155.0), (minute(3), 156.0)]
    closes = await desk.bank.pool.fetch(
        "select o.since, o.day_start, u.close from opening_prices o, unnest(instruments, closes) u (id, close) "
        "where u.id = 3 and assignment = 1 order by 1"
    )
    assert [tuple(row) for row in closes] == [(minute(1), MIDNIGHT, 150.0), (minute(3), MIDNIGHT, 151.0)]


async def test_holdings_follow_the_newest_version(desk: Desk) -> None:
    desk.price(150.0)
    desk.recorder.keep(minute(1))
    await desk.recorder.write()
    desk.put(positions_now(desk.dollars, "USD", 2, (4, "3")))
    desk.recorder.keep(minute(2))
    await desk.recorder.write()
    assert list(await desk.holdings(desk.dollars)) == ["XOM"]


async def test_the_day_closes_with_its_last_minute_its_flows_and_its_return(desk: Desk) -> None:
    await given_yesterday(desk, 1500)
    await given_deposit(desk, "900.00", "EUR")
    await desk.bank.pool.execute("update transactions set status = 'reversed'")  # no flow: it was taken back
    await given_deposit(desk, "100.00", "EUR", reference="2")
    desk.price(165.0)
    desk.recorder.keep(LAST_MINUTE)
    await desk.recorder.write()
    desk.price(170.0, NEXT_NS)  # already of the next day
    await desk.worker._roll(NEXT_NS)
    equity, flow, gained = (await desk.days(desk.dollars))[DAY]
    assert (equity, flow) == (Decimal(1650), Decimal(110))  # 100 EUR at 1.10
    assert gained == pytest.approx((1650 - 110) / 1500 - 1)


async def test_a_day_that_ended_while_no_worker_ran_is_closed_by_the_next_one(desk: Desk) -> None:
    await given_yesterday(desk, 1500)
    desk.price(165.0)
    desk.recorder.keep(LAST_MINUTE)
    await desk.recorder.write()
    epochs = {portfolio.partition: portfolio.epoch for portfolio in desk.processor.book.portfolios}
    successor = Recorder(desk.bank.pool, desk.processor, epochs, 2, desk.rolling)
    later = {"UTC": replace(desk.rolling.held["UTC"], day=NEXT_DAY + timedelta(days=3))}
    await successor.close_days(later)
    assert {day: row[0] for day, row in (await desk.days(desk.dollars)).items() if day >= DAY} == {DAY: Decimal(1650)}
    await successor.close_days(later)


async def test_the_new_day_begins_at_the_closes_of_the_old_one(desk: Desk) -> None:
    desk.price(165.0)
    await desk.worker.end_minute(LAST_MINUTE, NEXT_NS)
    desk.processor.revalue(time.time_ns())
    assert desk.processor.take(0, 0).day_pnl == 0.0
    desk.price(166.0)
    assert desk.processor.take(0, 0).day_pnl == 10.0


async def test_a_roll_that_postgresql_refuses_is_made_up_for_with_the_same_close(desk: Desk) -> None:
    desk.price(165.0)
    desk.pool.away = True
    await desk.worker.end_minute(LAST_MINUTE, NEXT_NS)
    desk.price(170.0, NEXT_NS)
    desk.pool.away = False
    await desk.worker.end_minute(LAST_MINUTE + timedelta(minutes=1), NEXT_NS)
    assert (await desk.days(desk.dollars))[DAY][0] == Decimal(1650)
    desk.processor.revalue(time.time_ns())
    assert desk.processor.take(0, 0).day_pnl == 50.0


async def test_positions_that_are_already_of_the_new_day_keep_their_opening(desk: Desk) -> None:
    """4 shares bought at 160 just after midnight, before the roll: 10 were there at the close of 165."""
    desk.price(165.0)
    desk.recorder.keep(LAST_MINUTE)
    await desk.recorder.write()
    bought = Position(3, Decimal(14), Decimal(0), Decimal(0), Decimal(10), Decimal(640))
    tomorrow_ns = NEXT_NS + 1
    desk.put(PortfolioPositions(desk.dollars, 2, "USD", (bought,), tomorrow_ns, tomorrow_ns))
    await desk.worker._roll(NEXT_NS)
    desk.processor.revalue(time.time_ns())
    assert desk.processor.take(0, 0).day_pnl == 14 * 165 - 640 - 10 * 165


async def given_yesterday(desk: Desk, equity: int) -> None:
    """Write yesterday's close of the portfolio in dollars."""
    yesterday = DailyValuation(UUID(desk.dollars), DAY - timedelta(days=1), Decimal(equity), Decimal(0), 0.0)
    async with desk.bank.pool.acquire() as connection:
        await write_daily_valuations(connection, [yesterday])


async def given_deposit(desk: Desk, amount: str, currency: str, reference: str = "1") -> None:
    """Book a deposit of today into the portfolio in dollars."""
    at = minute(600)
    deposit = LedgerBooking(
        "test", reference, 1, UUID(desk.dollars), "deposit", Decimal(amount), currency, processed_at=at, received_at=at
    )
    async with desk.bank.pool.acquire() as connection:
        await store(connection, None, [], [deposit])
