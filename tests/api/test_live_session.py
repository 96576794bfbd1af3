"""A session answers every request, also one that it does not read."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

from api.auth.identity import Identity, Session
from api.live.client import LIMIT_BYTES, Client
from api.live.message import Message
from api.live.session import LiveSession


class FullTransport:
    """Be a connection that has not taken what was written."""

    waiting = 0

    def send(self, message: Message) -> None:
        self.waiting += len(message.body)

    def backlog(self) -> int:
        return self.waiting

    def close(self, code: int) -> None:
        raise AssertionError(f"closed with {code}")

    def abort(self) -> None:
        raise AssertionError("cut")


class NothingFollowed:
    """Be a hub whose clients follow nothing."""

    def followed(self, client: Client) -> list[Any]:
        return []


async def test_who_has_a_large_snapshot_under_way_is_told_that_a_request_was_not_read() -> None:
    transport = FullTransport()
    client = Client(Identity(uuid4(), "advisor", "Ana", "en", Session("token", uuid4())), transport, 15.0)
    session = LiveSession(cast(Any, NothingFollowed()), cast(Any, None), client)
    client.send(Message("snapshot", {"rows": "x" * 2 * LIMIT_BYTES}))  # as one of a large floor may be
    refused = await session.answer("list", {"id": 1})
    assert (refused["id"], refused["error"]["code"]) == (1, 3008)
    transport.waiting = 0
    assert (await session.answer("list", {"id": 2}))["streams"] == []
