"""A floor followed with a view, as both transports bring it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fakes import eventually
from fakes_api import Cast, RunningApi, publish_totals
from fakes_live import LiveClient, next_seq, open_live, sign_in

from db.live import LiveStore

BY_GAIN = [{"column": "day_pnl", "descending": True}]


async def publish_days(store: LiveStore, days: dict[UUID, int]) -> None:
    """Publish totals with these day P&Ls in cents; every portfolio is worth 100."""
    await publish_totals(store, {one: (10_000, day) for one, day in days.items()}, seq=next_seq(), layout=next_seq())


def shown(client: LiveClient, stream: str) -> list[str]:
    """Return the keys of the window in order, once the rows held are those of the order held."""
    order: list[str] = client.follower.totals.get(stream, {}).get("view_order", [])
    assert not order or set(order) == client.follower.rows[stream].keys()
    return order


def viewed(stream: str, **view: Any) -> dict[str, Any]:
    return {"stream": stream, "view": view}


async def test_only_the_rows_of_the_window_come_with_the_totals_of_all(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream, growth, income = f"floor:{cast.advisor}", str(cast.growth), str(cast.income)
    await publish_days(store, {cast.growth: 5, cast.income: 2})
    async with open_live(transport, api.url, await sign_in(api.url, "advisor")) as client:
        await client.subscribe(viewed(stream, sort=BY_GAIN, range=[0, 1]))
        await eventually(lambda: shown(client, stream) == [growth])
        await publish_days(store, {cast.growth: 5, cast.income: 9})
        await eventually(lambda: shown(client, stream) == [income])
        totals = client.follower.totals[stream]
        assert (totals["view_rows"], totals["view_first"], totals["portfolios"]) == (2, 0, 2)
        assert (totals["total_equity"], totals["day_pnl"]) == (400.0, 0.28)
        assert client.follower.gaps == 0


async def test_another_view_replaces_the_one_before_and_no_view_is_the_whole_floor(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream, growth, income = f"floor:{cast.advisor}", str(cast.growth), str(cast.income)
    await publish_days(store, {cast.growth: 5, cast.income: 2})
    async with open_live(transport, api.url, await sign_in(api.url, "advisor")) as client:
        await client.subscribe(viewed(stream, sort=BY_GAIN, range=[0, 1]))
        await eventually(lambda: shown(client, stream) == [growth])
        other = viewed(stream, filter=[{"column": "label", "op": "contains", "value": "INCOME"}])
        answer = await client.subscribe(client.follower.held(stream) | other)
        assert [(one["stream"], one["recovered"]) for one in answer["streams"]] == [(stream, False)]
        await eventually(lambda: shown(client, stream) == [income])
        await client.subscribe(client.follower.held(stream))
        await eventually(lambda: client.follower.rows[stream].keys() == {growth, income})
        assert "view_order" not in client.follower.totals[stream]
        assert client.follower.gaps == 0


async def test_who_comes_back_to_the_same_view_continues(
    api: RunningApi, store: LiveStore, cast: Cast, transport: str
) -> None:
    stream, window = f"floor:{cast.advisor}", {"sort": BY_GAIN, "range": [0, 2]}
    await publish_days(store, {cast.growth: 5, cast.income: 2})
    token = await sign_in(api.url, "advisor")
    async with open_live(transport, api.url, token) as client:
        await client.subscribe(viewed(stream, **window))
        await eventually(lambda: shown(client, stream))
    async with open_live(transport, api.url, token) as again:
        again.follower.continue_from(client.follower)
        answer = await again.subscribe(again.follower.held(stream) | viewed(stream, **window))
        assert answer["streams"][0]["recovered"]


async def test_a_view_that_makes_no_sense_is_refused(api: RunningApi, cast: Cast, transport: str) -> None:
    floor = f"floor:{cast.advisor}"
    async with open_live(transport, api.url, await sign_in(api.url, "advisor")) as client:
        for wanted in (
            viewed(floor, sort=[{"column": "secret"}]),
            viewed(floor, filter=[{"column": "name", "op": "<", "value": 3}]),
            viewed(floor, filter=[{"column": "day_pnl", "op": "!=", "value": 3}]),
            viewed(floor, range=[0, 501]),
            viewed(floor, range=[-1, 10]),
            viewed(floor, reorder_s=-1),
            viewed(floor, columns=["name"]),
            viewed(f"portfolio:{cast.growth}", range=[0, 10]),
        ):
            answer = await client.subscribe(wanted)
            assert answer["error"]["code"] == 3500, wanted
        assert (await client.request("list"))["streams"] == []
