"""Rules and alerts in PostgreSQL: who may have them, that each is raised once, and how they are numbered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from db.alert_rules import (
    RULES_PER_USER,
    Change,
    TooManyRules,
    Wish,
    change_rule,
    changed_rules,
    create_rule,
    delete_rule,
    rearm,
    rules,
)
from db.alerts import Crossing, acknowledge, alerts_after, newest_alerts, raise_alerts
from db.portfolios import Viewer

pytestmark = pytest.mark.integration
ROLES = {"carol": "client", "dora": "client", "anna": "advisor", "ben": "advisor"}
AT = datetime(2026, 11, 21, 15, 30, 0, 123456, UTC)


def viewer_of(bank, name: str) -> Viewer:
    return Viewer(bank.users[name], ROLES.get(name, name))


def on_price(threshold: str = "200", repeat: str = "once", symbol: str = "AAPL") -> Wish:
    return Wish("price", symbol, None, "above", Decimal(threshold), repeat)


def on_portfolio(portfolio_id: UUID, kind: str = "total_equity") -> Wish:
    return Wish(kind, None, portfolio_id, "below", Decimal(1000), "once")


async def seen(connection: asyncpg.Connection, *wanted: UUID, value: float = 201.5) -> list[Crossing]:
    """Return a crossing of each of the rules as they are now, in this order."""
    versions = {one.id: one.version for one in await changed_rules(connection, 0)}
    return [Crossing(one, versions.get(one, 0), value, "feed", 7, AT) for one in wanted]


async def made(bank, name: str, wish: Wish) -> UUID:
    rule = await create_rule(bank.connection, viewer_of(bank, name), wish)
    assert rule is not None
    return rule


@pytest.mark.parametrize(
    ("name", "owner", "allowed"),
    [
        ("carol", "carol", True),
        ("carol", "dora", False),
        ("anna", "carol", True),
        ("anna", "dora", False),
        ("compliance", "dora", True),
        ("admin", "dora", True),
        ("kyc_agent", "carol", False),
    ],
)
async def test_a_rule_on_a_portfolio_is_for_who_may_see_it(bank, name: str, owner: str, allowed: bool) -> None:
    rule = await create_rule(bank.connection, viewer_of(bank, name), on_portfolio(bank.portfolios[owner]))
    assert (rule is not None) == allowed


async def test_everybody_may_have_a_rule_on_a_price_but_not_on_cash_or_on_what_is_not_there(bank) -> None:
    kyc = viewer_of(bank, "kyc_agent")
    assert await create_rule(bank.connection, kyc, on_price()) is not None
    assert await create_rule(bank.connection, kyc, on_price(symbol="USD")) is None
    assert await create_rule(bank.connection, kyc, on_price(symbol="NOBODY")) is None


async def test_a_suspended_user_makes_no_rule(bank) -> None:
    await bank.connection.execute("update users set status = 'suspended' where id = $1", bank.users["carol"])
    assert await create_rule(bank.connection, viewer_of(bank, "carol"), on_price()) is None


async def test_a_user_has_a_hundred_rules_at_most_and_a_deleted_one_makes_room(bank) -> None:
    carol = viewer_of(bank, "carol")
    held = [await made(bank, "carol", on_price(str(number + 1))) for number in range(RULES_PER_USER)]
    with pytest.raises(TooManyRules):
        await create_rule(bank.connection, carol, on_price())
    assert await delete_rule(bank.connection, carol.user_id, held[0])
    assert await create_rule(bank.connection, carol, on_price()) is not None
    assert len(await rules(bank.connection, carol.user_id)) == RULES_PER_USER


async def test_requests_at_once_do_not_pass_the_limit_together(own_bank, postgres_url: str) -> None:
    carol = viewer_of(own_bank, "carol")
    for number in range(RULES_PER_USER - 1):
        await made(own_bank, "carol", on_price(str(number + 1)))

    async def one_more() -> bool:
        connection = await asyncpg.connect(postgres_url)
        try:
            async with connection.transaction():
                return await create_rule(connection, carol, on_price()) is not None
        except TooManyRules:
            return False
        finally:
            await connection.close()

    assert sorted(await asyncio.gather(*(one_more() for _ in range(4)))) == [False, False, False, True]


async def test_nobody_changes_or_deletes_the_rule_of_another(bank) -> None:
    rule, dora = await made(bank, "carol", on_price()), bank.users["dora"]
    assert not await change_rule(bank.connection, dora, rule, Change(threshold=Decimal(1)))
    assert not await delete_rule(bank.connection, dora, rule)
    assert await rules(bank.connection, dora) == []
    (found,) = await rules(bank.connection, bank.users["carol"])
    assert (found.id, found.threshold, found.subject, found.title) == (rule, Decimal(200), "quote:AAPL", "Apple")


async def test_an_alert_is_raised_once_and_again_only_when_its_rule_is_armed_again(bank) -> None:
    rule = await made(bank, "carol", on_price(repeat="each_time"))
    crossing = await seen(bank.connection, rule)
    assert await raise_alerts(bank.connection, crossing) == {rule: bank.users["carol"]}
    assert await raise_alerts(bank.connection, crossing) == {}
    await rearm(bank.connection, {rule: crossing[0].version})
    assert await raise_alerts(bank.connection, crossing) == {rule: bank.users["carol"]}
    assert [one.seq for one in await alerts_of(bank, "carol")] == [2, 1]


async def alerts_of(bank, name: str, before: int = 1 << 62, unacknowledged: bool = False) -> list:
    return await newest_alerts(bank.connection, bank.users[name], before, 50, unacknowledged=unacknowledged)


async def test_an_alert_tells_what_crossed_by_which_price_and_when(bank) -> None:
    rule = await made(bank, "carol", on_price())
    await raise_alerts(bank.connection, await seen(bank.connection, rule))
    (alert,) = await alerts_of(bank, "carol")
    assert (alert.seq, alert.rule_id, alert.kind, alert.subject) == (1, rule, "price", "quote:AAPL")
    assert (alert.direction, alert.threshold, alert.value, alert.currency) == ("above", Decimal(200), 201.5, "USD")
    assert (alert.price_source, alert.price_ns, alert.raised_at) == ("feed", 7, AT)


async def test_a_rule_that_was_changed_since_it_was_judged_raises_nothing(bank) -> None:
    rule = await made(bank, "carol", on_price())
    crossing = await seen(bank.connection, rule)
    await change_rule(bank.connection, bank.users["carol"], rule, Change(threshold=Decimal(300)))
    assert await raise_alerts(bank.connection, crossing) == {}
    assert await raise_alerts(bank.connection, await seen(bank.connection, rule)) == {rule: bank.users["carol"]}


@pytest.mark.parametrize("change", [Change(active=False), None])
async def test_a_rule_that_is_paused_or_deleted_raises_nothing(bank, change: Change | None) -> None:
    rule, carol = await made(bank, "carol", on_price()), bank.users["carol"]
    crossing = await seen(bank.connection, rule)
    if change is None:
        await delete_rule(bank.connection, carol, rule)
    else:
        await change_rule(bank.connection, carol, rule, change)
    assert await raise_alerts(bank.connection, crossing) == {}


async def test_a_lost_right_silences_a_rule_and_hides_what_it_raised(bank) -> None:
    first = await made(bank, "anna", on_portfolio(bank.portfolios["carol"]))
    second = await made(bank, "anna", on_portfolio(bank.portfolios["carol"], "day_pnl"))
    await raise_alerts(bank.connection, await seen(bank.connection, first))
    assert [one.title for one in await alerts_of(bank, "anna")] == ["Growth"]
    await bank.connection.execute("delete from advisor_clients where advisor_id = $1", bank.users["anna"])
    assert await raise_alerts(bank.connection, await seen(bank.connection, second)) == {}
    assert await alerts_of(bank, "anna") == []
    position = (bank.users["anna"], 0)
    assert await alerts_after(bank.connection, [position]) == {position: []}
    assert {(one.allowed, one.title) for one in await rules(bank.connection, bank.users["anna"])} == {(False, "")}


async def test_a_suspended_user_is_told_nothing(bank) -> None:
    rule = await made(bank, "carol", on_price())
    await bank.connection.execute("update users set status = 'suspended' where id = $1", bank.users["carol"])
    assert await raise_alerts(bank.connection, await seen(bank.connection, rule)) == {}
    assert await alerts_of(bank, "carol") == []


async def test_alerts_are_numbered_by_user_in_the_order_in_which_they_were_seen(bank) -> None:
    carols = [await made(bank, "carol", on_price(str(number))) for number in (1, 2, 3)]
    doras = await made(bank, "dora", on_price())
    order = [carols[2], doras, carols[0], carols[1]]
    await raise_alerts(bank.connection, await seen(bank.connection, *order))
    assert [(one.seq, one.rule_id) for one in reversed(await alerts_of(bank, "carol"))] == [
        (1, carols[2]),
        (2, carols[0]),
        (3, carols[1]),
    ]
    assert [(one.seq, one.rule_id) for one in await alerts_of(bank, "dora")] == [(1, doras)]


async def test_two_workers_that_see_the_same_at_once_raise_it_once(own_bank, postgres_url: str) -> None:
    held = [await made(own_bank, "carol", on_price(str(number + 1))) for number in range(10)]
    held += [await made(own_bank, "dora", on_price(str(number + 1))) for number in range(10)]
    crossings = await seen(own_bank.connection, *held)

    async def worker(order: list[Crossing]) -> int:
        connection = await asyncpg.connect(postgres_url)
        try:
            async with connection.transaction():
                return len(await raise_alerts(connection, order))
        finally:
            await connection.close()

    raised = await asyncio.gather(*(worker(crossings[::step]) for step in (1, -1, 1, -1)))
    assert sorted(raised) == [0, 0, 0, 20]
    for name in ("carol", "dora"):
        assert [one.seq for one in await alerts_of(own_bank, name)] == list(range(10, 0, -1))


async def test_who_reads_by_number_misses_nothing_though_writers_overlap(own_bank, postgres_url: str) -> None:
    """A second writer's number is greater and is seen later: it waits for the first one's commit."""
    held = [await made(own_bank, "carol", on_price(str(number + 1))) for number in range(2)]
    first, second = await seen(own_bank.connection, *held)
    early, late = [await asyncpg.connect(postgres_url) for _ in range(2)]
    try:
        begun = early.transaction()
        await begun.start()
        await raise_alerts(early, [first])
        waiting = asyncio.create_task(raise_alerts(late, [second]))
        await asyncio.wait([waiting], timeout=0.2)
        assert not waiting.done()
        assert await alerts_of(own_bank, "carol") == []
        await begun.commit()
        await waiting
        assert [(one.seq, one.rule_id) for one in await alerts_of(own_bank, "carol")] == [(2, held[1]), (1, held[0])]
    finally:
        await early.close()
        await late.close()


async def test_changes_of_rules_are_read_by_version_though_writers_overlap(own_bank, postgres_url: str) -> None:
    connections = [await asyncpg.connect(postgres_url) for _ in range(2)]
    try:
        begun = connections[0].transaction()
        await begun.start()
        await create_rule(connections[0], viewer_of(own_bank, "carol"), on_price())
        waiting = asyncio.create_task(create_rule(connections[1], viewer_of(own_bank, "dora"), on_price()))
        await asyncio.wait([waiting], timeout=0.2)
        assert await changed_rules(own_bank.connection, 0) == []
        await begun.commit()
        await waiting
        found = await changed_rules(own_bank.connection, 0)
        assert [one.version for one in found] == [1, 2]
        assert await changed_rules(own_bank.connection, 1) == found[1:]
    finally:
        for connection in connections:
            await connection.close()


async def test_a_worker_hears_of_a_deleted_rule_and_not_of_its_own_marks(bank) -> None:
    rule, carol = await made(bank, "carol", on_price(repeat="each_time")), bank.users["carol"]
    (known,) = await changed_rules(bank.connection, 0)
    await raise_alerts(bank.connection, await seen(bank.connection, rule))
    await rearm(bank.connection, {rule: known.version})
    assert await changed_rules(bank.connection, known.version) == []
    await delete_rule(bank.connection, carol, rule)
    (gone,) = await changed_rules(bank.connection, known.version)
    assert (gone.id, gone.active) == (rule, False)
    assert await changed_rules(bank.connection, 0) == []


async def test_a_changed_threshold_arms_a_rule_and_a_changed_repeat_does_not(bank) -> None:
    rule, carol = await made(bank, "carol", on_price()), bank.users["carol"]
    await raise_alerts(bank.connection, await seen(bank.connection, rule))
    await change_rule(bank.connection, carol, rule, Change(repeat="each_time"))
    assert [one.armed for one in await rules(bank.connection, carol)] == [False]
    await change_rule(bank.connection, carol, rule, Change(threshold=Decimal(250)))
    assert [one.armed for one in await rules(bank.connection, carol)] == [True]


async def test_alerts_are_sent_from_a_number_on_until_they_are_acknowledged(bank) -> None:
    held = [await made(bank, "carol", on_price(str(number + 1))) for number in range(3)]
    await raise_alerts(bank.connection, await seen(bank.connection, *held))
    carol, dora = bank.users["carol"], bank.users["dora"]
    found = await alerts_after(bank.connection, [(carol, 0), (carol, 2), (dora, 0)])
    assert {key: [one.seq for one in alerts] for key, alerts in found.items()} == {
        (carol, 0): [1, 2, 3],
        (carol, 2): [3],
        (dora, 0): [],
    }
    assert await acknowledge(bank.connection, carol, 2) == 2
    assert [one.seq for one in (await alerts_after(bank.connection, [(carol, 0)]))[carol, 0]] == [3]
    assert [one.seq for one in await alerts_of(bank, "carol", unacknowledged=True)] == [3]
    assert [one.seq for one in await alerts_of(bank, "carol", before=3)] == [2, 1]


async def test_a_user_acknowledges_own_alerts_and_none_that_are_not_there_yet(bank) -> None:
    held = [await made(bank, name, on_price()) for name in ("carol", "dora")]
    await raise_alerts(bank.connection, await seen(bank.connection, held[0]))
    assert await acknowledge(bank.connection, bank.users["carol"], 1 << 60) == 1
    assert await acknowledge(bank.connection, bank.users["dora"], 5) == 0
    await raise_alerts(bank.connection, await seen(bank.connection, held[1]))
    assert [one.seq for one in await alerts_of(bank, "dora", unacknowledged=True)] == [1]
