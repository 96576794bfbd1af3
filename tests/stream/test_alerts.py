"""Alerts reach PostgreSQL once, late rather than never, and from no worker that was replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from books import quotes
from fakes import eventually
from fakes_stream import InterruptedPool, SmallBank, Stage, open_small_bank, open_stage, open_worker, positions_now
from redis import ConnectionError as RedisUnreachable

from db.alert_rules import Change, Wish, change_rule, create_rule, delete_rule
from db.alerts import Alert, newest_alerts, raise_alerts
from db.epochs import PartitionsLost, take_epochs
from db.live import ALERTS_CHANNEL
from db.portfolios import Viewer
from stream.alerts import Alerts
from stream.messages import POSITIONS_TOPIC
from stream.processor import Processor
from stream.roll import restore_days

pytestmark = pytest.mark.integration
SECOND = 10**9
NOW_NS = time.time_ns()


class Announcements:
    """Redis as the alerts see it: who was announced, and an outage at will."""

    def __init__(self) -> None:
        self.users: list[UUID] = []
        self.away = False

    async def announce_alerts(self, users: Collection[UUID]) -> None:
        """Take an announcement."""
        if self.away:
            raise RedisUnreachable("away")
        self.users += users


@dataclass
class Desk:
    """The alerts of one worker on one portfolio of 10 AAPL; time goes on by a second with each look."""

    bank: SmallBank
    pool: InterruptedPool
    processor: Processor
    alerts: Alerts
    told: Announcements
    portfolio: str
    now_ns: int = NOW_NS

    async def look(self, price: float | None = None) -> None:
        """Read the rules, judge after a trade, and write."""
        await self.alerts.read()
        self.judge(price)
        await self.alerts.write()

    def judge(self, price: float | None = None) -> None:
        """Judge after a trade."""
        self.now_ns += SECOND
        if price is not None:
            assert not self.processor.apply_quotes(quotes((3, price), event_ns=self.now_ns), self.now_ns)
        self.processor.revalue(self.now_ns)
        self.alerts.judge(self.now_ns)

    async def raised(self) -> list[float]:
        """Return the values of the alerts in PostgreSQL, oldest first; numbers have no gap."""
        found = await alerts_of(self.bank)
        assert [one.seq for one in found] == list(range(1, len(found) + 1))
        return [one.value for one in found]


async def alerts_of(bank: SmallBank) -> list[Alert]:
    async with bank.pool.acquire() as connection:
        return list(reversed(await newest_alerts(connection, bank.client, 1 << 62, 100, unacknowledged=False)))


async def add_rule(bank: SmallBank, kind: str, threshold: float, portfolio: str | None = None, **more: str) -> UUID:
    """Set a rule of the bank's client: on AAPL, or on a portfolio."""
    subject = ("AAPL", None) if portfolio is None else (None, UUID(portfolio))
    asked = {"direction": "above", "repeat": "each_time"} | more
    wish = Wish(kind, *subject, asked["direction"], Decimal(str(threshold)), asked["repeat"])
    async with bank.pool.acquire() as connection:
        rule = await create_rule(connection, Viewer(bank.client, "client"), wish)
    assert rule is not None
    return rule


async def open_desk(bank: SmallBank, portfolio: str, worker: str) -> Desk:
    """Set up a worker that takes partition 0 over."""
    async with bank.pool.acquire() as connection:
        epochs = await take_epochs(connection, POSITIONS_TOPIC, [0], worker)
        processor, _ = await restore_days(connection, NOW_NS)
    processor.apply_positions(positions_now(portfolio, "USD", 1, (3, "10")), 0, epochs[0])
    pool, told = InterruptedPool(bank.pool), Announcements()
    return Desk(bank, pool, processor, Alerts(pool, told, processor, epochs), told, portfolio)


@pytest.fixture
async def desk(postgres_url: str) -> AsyncIterator[Desk]:
    async with open_small_bank(postgres_url) as bank:
        yield await open_desk(bank, await bank.add_portfolio("USD"), "first")


async def test_a_crossing_is_written_and_announced(desk: Desk) -> None:
    rule = await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    assert await desk.raised() == []
    await desk.look(201)
    (alert,) = await alerts_of(desk.bank)
    assert (alert.rule_id, alert.value, alert.price_source, alert.price_ns) == (rule, 201.0, "test", desk.now_ns)
    assert alert.raised_at.timestamp() == pytest.approx(desk.now_ns / SECOND, abs=1e-5)
    assert desk.told.users == [desk.bank.client]


async def test_a_rule_that_repeats_raises_each_time_and_one_for_once_does_not(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await add_rule(desk.bank, "price", 300, repeat="once")
    for price in (301, 150, 302, 150, 303):
        await desk.look(price)
    assert await desk.raised() == [301.0, 301.0, 302.0, 303.0]


async def test_a_portfolio_is_judged_by_what_its_valuation_shows(desk: Desk) -> None:
    await add_rule(desk.bank, "total_equity", 1600, desk.portfolio)
    await add_rule(desk.bank, "day_pnl", 100, desk.portfolio)
    await add_rule(desk.bank, "day_pnl_pct", -5, desk.portfolio, direction="below")
    await desk.look(159.99)
    assert await desk.raised() == []
    await desk.look(161)
    assert sorted(await desk.raised()) == [110.0, 1610.0]
    await desk.look(142)
    assert (await desk.raised())[2:] == [pytest.approx(100 * (1420 - 1500) / 1500)]


async def test_rules_are_judged_at_most_four_times_a_second(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    desk.now_ns -= SECOND - 100_000_000
    desk.judge(201)
    assert desk.alerts.waiting == 0
    desk.now_ns -= SECOND - 200_000_000
    desk.judge()
    assert desk.alerts.waiting == 1


async def test_what_crossed_while_postgresql_was_away_is_raised_when_it_is_back(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    desk.pool.away = True
    for price in (205, 150, 210, 150):
        desk.judge(price)
        with pytest.raises(ConnectionRefusedError):
            await desk.alerts.write()
    assert desk.alerts.waiting == 1  # however often it crosses, a rule has one alert on its way
    desk.pool.away = False
    await desk.alerts.write()
    assert await desk.raised() == [205.0]
    await desk.look(150)
    await desk.look(211)
    assert await desk.raised() == [205.0, 211.0]


async def test_the_task_lives_through_an_outage_of_postgresql(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await desk.alerts.read()
    desk.pool.away = True
    running = asyncio.create_task(desk.alerts.run())
    desk.judge(201)
    await eventually(lambda: desk.pool.refused, "the worker finds PostgreSQL away")
    desk.pool.away = False
    await eventually(lambda: raised_by_now(desk), "the alert is raised")
    running.cancel()
    await asyncio.wait([running])


async def raised_by_now(desk: Desk) -> bool:
    return await desk.raised() == [201.0]


async def test_an_alert_is_written_though_redis_is_away(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    desk.told.away = True
    await desk.look(201)
    assert await desk.raised() == [201.0]


async def test_two_workers_that_both_believe_to_be_the_one_raise_once(desk: Desk) -> None:
    """Not even the fence is needed for it: here both hold the newest epoch."""
    for threshold in range(150, 170):
        await add_rule(desk.bank, "price", threshold)
    other = await open_desk(desk.bank, desk.portfolio, "second")
    other.alerts._epochs = desk.alerts._epochs = other.alerts._epochs
    for one in (desk, other):
        await one.alerts.read()
    for price in (200.0, 100.0, 200.0):
        for one in (desk, other):
            one.judge(price)
        await asyncio.gather(desk.alerts.write(), other.alerts.write())
    assert len(await desk.raised()) == 40


@pytest.mark.parametrize("repeat", ["once", "each_time"])
async def test_a_commit_whose_answer_was_lost_is_not_done_again(desk: Desk, repeat: str) -> None:
    await add_rule(desk.bank, "price", 200, repeat=repeat)
    await desk.look(199)
    desk.judge(201)
    async with desk.bank.pool.acquire() as connection, connection.transaction():
        assert await raise_alerts(connection, list(desk.alerts._crossed.values()))
    await desk.alerts.write()
    assert await desk.raised() == [201.0]
    await desk.look(150)
    await desk.look(202)
    assert await desk.raised() == ([201.0] if repeat == "once" else [201.0, 202.0])


async def test_a_worker_that_was_replaced_raises_nothing(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    await open_desk(desk.bank, desk.portfolio, "second")
    desk.judge(201)
    with pytest.raises(PartitionsLost):
        await desk.alerts.write()
    assert await desk.raised() == []


async def test_a_new_worker_goes_on_where_the_last_one_was(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await desk.look(201)
    successor = await open_desk(desk.bank, desk.portfolio, "second")
    await successor.look(202)
    assert await desk.raised() == [201.0]
    await successor.look(150)
    await successor.look(203)
    assert await desk.raised() == [201.0, 203.0]


async def test_a_crossing_before_a_worker_began_is_noticed_by_it(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    successor = await open_desk(desk.bank, desk.portfolio, "second")
    await successor.look(205)
    assert await desk.raised() == [205.0]


async def test_a_user_who_may_not_be_told_is_not_and_later_is_again(desk: Desk) -> None:
    await add_rule(desk.bank, "price", 200, repeat="once")
    await set_status(desk.bank, "suspended")
    await desk.look(201)
    await desk.look(202)
    await set_status(desk.bank, "active")
    await desk.look(203)
    assert await desk.raised() == []  # what crossed meanwhile is not told later
    await desk.look(150)
    await desk.look(204)
    assert await desk.raised() == [204.0]


async def set_status(bank: SmallBank, status: str) -> None:
    await bank.pool.execute("update users set status = $1", status)


async def test_changed_and_deleted_rules_are_followed(desk: Desk) -> None:
    rule, gone = await add_rule(desk.bank, "price", 200), await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    async with desk.bank.pool.acquire() as connection:
        await change_rule(connection, desk.bank.client, rule, Change(threshold=Decimal(210)))
        await delete_rule(connection, desk.bank.client, gone)
    await desk.look(209)
    assert await desk.raised() == []
    await desk.look(210)
    assert await desk.raised() == [210.0]


async def test_a_rule_that_is_changed_as_it_crosses_is_judged_by_what_it_is_now(desk: Desk) -> None:
    rule = await add_rule(desk.bank, "price", 200)
    await desk.look(199)
    desk.judge(201)
    async with desk.bank.pool.acquire() as connection:
        await change_rule(connection, desk.bank.client, rule, Change(threshold=Decimal(220)))
    await desk.look()
    await desk.look(219)
    assert await desk.raised() == []
    await desk.look(221)
    assert await desk.raised() == [221.0]


@pytest.fixture
async def stage(postgres_url: str, redis_url: str, kafka_servers: str) -> AsyncIterator[Stage]:
    """Lend a worker of its own."""
    async with open_stage(postgres_url, redis_url, kafka_servers) as lent:
        yield lent


async def test_from_a_trade_in_kafka_to_an_alert_in_postgresql_and_word_of_it_in_redis(stage: Stage) -> None:
    portfolio = await stage.bank.add_booked("USD", (3, "10"))
    async with open_worker(stage.settings), stage.live.open_subscription() as channel:
        await channel.subscribe(ALERTS_CHANNEL)
        await stage.feed.quote((3, 155.0))
        await eventually(stage.all_right, "the portfolio is valued")
        by_price = await add_rule(stage.bank, "price", 160)
        by_equity = await add_rule(stage.bank, "total_equity", 1600, portfolio)
        await stage.feed.quote((3, 160.5))
        found = await eventually(lambda: both_raised(stage.bank), "both alerts are raised")
        assert {one.rule_id: one.value for one in found} == {by_price: 160.5, by_equity: 1605.0}
        said = await eventually(lambda: heard(channel), "the users are announced")
        assert msgspec.json.decode(said) == {"user_id": str(stage.bank.client)}


async def both_raised(bank: SmallBank) -> list[Alert] | None:
    found = await alerts_of(bank)
    return found if len(found) == 2 else None


async def heard(channel: object) -> bytes | None:
    message = await channel.get_message(timeout=0.1)
    return message["data"] if message is not None and message["channel"] == ALERTS_CHANNEL.encode() else None


async def test_no_rule_is_raised_twice_by_a_worker_that_begins_anew(stage: Stage, postgres_url: str) -> None:
    await stage.bank.add_booked("USD", (3, "10"))
    await add_rule(stage.bank, "price", 160)
    for _ in range(2):
        async with open_worker(stage.settings):
            await stage.feed.quote((3, 170.0))
            await eventually(lambda: alerts_of(stage.bank), "the alert is there")
            await eventually(lambda: stage.all_right(1), "the worker has seen the price")
    assert [one.value for one in await alerts_of(stage.bank)] == [170.0]
