"""Alerts come once and in order, and are acknowledged when the loop is done with them."""

from __future__ import annotations

import asyncio

import pytest
from fakes import eventually
from fakes_client import QUICK, Bank, open_bank

from alhambra.client import AlreadyFollowed, Client
from alhambra.client.alert_feed import ALERTS_HELD


async def test_an_alert_is_acknowledged_when_the_next_one_is_asked_for() -> None:
    bank = Bank()
    await bank.raise_alert()
    await bank.raise_alert()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        alerts = client.alerts()
        first = await anext(alerts)
        assert (first.seq, first.title, first.value) == (1, "Apple Inc.", 201.0)
        assert bank.asked("acknowledge") == []
        assert (await anext(alerts)).seq == 2
        await eventually(lambda: bank.alerts == [2], "the first one is acknowledged")
        third = asyncio.ensure_future(anext(alerts))
        await eventually(lambda: bank.alerts == [], "the second one is acknowledged")
        await bank.raise_alert()
        assert (await third).seq == 3
        with pytest.raises(AlreadyFollowed):
            await anext(client.alerts())
    assert bank.alerts == [3]  # the loop ended in the middle of it: it comes again


async def test_alerts_come_once_though_the_connection_is_cut_and_messages_are_lost() -> None:
    bank = Bank()
    seen: list[int] = []

    async def read() -> None:
        async for alert in client.alerts():
            seen.append(alert.seq)

    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        reading = asyncio.create_task(read())
        for number in range(30):
            if number % 7 == 3:
                bank.cut_all()
            await bank.raise_alert(lost=number % 5 == 4)
            await eventually(lambda: len(seen) == bank.raised, "the alert has come")
        await eventually(lambda: bank.alerts == [], "all are acknowledged")
        assert seen == list(range(1, 31))
    await reading


async def test_what_the_queue_has_no_room_for_stays_at_the_server() -> None:
    bank = Bank()
    more = ALERTS_HELD + 50
    for _ in range(more):
        await bank.raise_alert()
    async with open_bank(bank) as url, Client(url, token="any", patience=QUICK) as client:
        alerts = client.alerts()
        seen = [(await anext(alerts)).seq]
        await eventually(lambda: bank.sent["alert"] == more, "all were sent")
        while len(seen) < more:
            seen.append((await anext(alerts)).seq)
    assert seen == list(range(1, more + 1))
