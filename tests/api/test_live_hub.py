"""The hub keeps nothing of who has gone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from fakes import eventually
from fakes_api import RunningApi

from api.auth.identity import Identity, Session
from api.live.client import Client
from api.live.hub import SWEPT_AT_LEAST


@pytest.fixture
def without_collection() -> Iterator[None]:
    """Leave cycles to whoever frees them on purpose."""
    gc.disable()
    yield
    gc.enable()


class Knot:
    """Stand for the cycles of a connection: protocol, transport, session and tasks that know each other."""

    def __init__(self) -> None:
        self.itself = self

    def backlog(self) -> int:
        return 0


@pytest.mark.usefixtures("without_collection")
async def test_what_ended_connections_leave_behind_is_freed(api: RunningApi) -> None:
    hub = api.process._holder.state.hub
    knots = []
    for _ in range(SWEPT_AT_LEAST + 1):
        knot = Knot()
        knots.append(weakref.ref(knot))
        client = Client(Identity(uuid4(), "client", "Ana", "en", Session("token", uuid4())), cast(Any, knot), 15.0)
        hub.join(client)
        hub.leave(client)
    del client, knot
    assert sum(one() is not None for one in knots) > SWEPT_AT_LEAST / 2
    await eventually(lambda: all(one() is None for one in knots), "all is freed")
    assert not hub._connections
