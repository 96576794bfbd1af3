"""A session answers every request, also one that it does not read."""

from __future__ import annotations

import time
from typing import Any, cast
from uuid import uuid4

import orjson

from api.auth.identity import Identity, Session
from api.live.client import LIMIT_BYTES, Client
from api.live.message import Message
from api.live.session import Allowance, LiveSession


class FullTransport:
    """Be a connection that has not taken what was written."""

    def __init__(self) -> None:
        self.waiting = 0
        self.codes: list[int] = []
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)
        self.waiting += len(message.body)

    def backlog(self) -> int:
        return self.waiting

    def close(self, code: int) -> None:
        self.codes.append(code)

    def abort(self) -> None:
        raise AssertionError("cut")


class NothingFollowed:
    """Be a hub whose clients follow nothing."""

    def followed(self, client: Client) -> list[Any]:
        return []


def talk() -> tuple[FullTransport, Client, LiveSession]:
    transport = FullTransport()
    client = Client(Identity(uuid4(), "advisor", "Ana", "en", Session("token", uuid4())), transport, 15.0)
    return transport, client, LiveSession(cast(Any, NothingFollowed()), cast(Any, None), client)


async def test_who_has_a_large_snapshot_under_way_is_told_that_a_request_was_not_read() -> None:
    transport, client, session = talk()
    client.send(Message("snapshot", {"rows": "x" * 2 * LIMIT_BYTES}))  # as one of a large floor may be
    refused = await session.answer("list", {"id": 1})
    assert (refused["id"], refused["error"]["code"]) == (1, 3008)
    transport.waiting = 0
    assert (await session.answer("list", {"id": 2}))["streams"] == []


def asked(allowance: Allowance, begin: float, seconds: float, hz: float) -> int:
    """Ask so often for so long; returns how many were let through."""
    return sum(allowance.take(begin + number / hz) for number in range(round(seconds * hz)))


def test_fifty_requests_at_once_are_let_through_and_then_twenty_a_second() -> None:
    allowance = Allowance(100.0)
    assert asked(allowance, 100.0, 0.001, 80_000) == 50
    assert 199 <= asked(allowance, 100.001, 10, 100) <= 201


def test_who_asks_too_much_for_ten_seconds_on_end_abuses_it() -> None:
    allowance = Allowance(100.0)
    asked(allowance, 100.0, 11, 25)
    assert not allowance.is_abused  # the first ten seconds used up what may be asked at once
    asked(allowance, 111.0, 10, 25)
    assert allowance.is_abused


def test_who_has_asked_too_much_once_and_little_since_does_not() -> None:
    allowance = Allowance(100.0)
    for begin in (100.0, 130.0):
        assert asked(allowance, begin, 0.001, 80_000) < 80
        assert not allowance.is_abused
        assert asked(allowance, begin + 1, 25, 5) == 125


async def test_who_abuses_it_is_sent_away_with_a_code() -> None:
    transport, client, session = talk()
    now = time.monotonic()
    session._allowance = Allowance(now - 20.0)
    asked(session._allowance, now - 20.0, 20.0, 25)
    answers = [await session.answer("list", {"id": number}) for number in range(2)]
    assert [one["error"]["name"] for one in answers if "error" in one][-1] == "too_many_requests"
    assert (transport.codes, client.closed) == ([3003], True)
    assert orjson.loads(transport.sent[-1].body)["name"] == "too_many_requests"
