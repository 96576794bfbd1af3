"""Corporate actions reach the database once and in their newest version, and never hold up the rest of a poll."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from fakes_iboss import INSTRUMENTS, QUICK, envelope, open_simulator, seed_instrument, seed_tiny_bank, tiny_bank

from db.corporate_actions import KnownSplit, splits
from db.leases import Fence, LeaseLost
from db.ledger import read_cursor
from db.live import LiveStore, create_redis
from db.postgres import open_pool
from ingest.iboss.client import open_iboss
from ingest.iboss.corporate_actions import ActionReader, ActionSource
from ingest.iboss.directory import Directory
from ingest.iboss.envelope import open_envelope
from ingest.iboss.errors import (
    AccessDenied,
    CredentialsRefused,
    IbossError,
    RequestRefused,
    SourceUnavailable,
    UnreadableAnswer,
)
from ingest.iboss.guard import CallGuard
from ingest.iboss.health import IbossHealth
from ingest.iboss.ledger_store import LedgerStore
from ingest.iboss.outbox import Outbox
from ingest.iboss.parsing import parse_actions
from ingest.iboss.records import ActionsPage, Refused
from ingest.iboss.worker import IbossWorker
from stream.kafka import open_producer

EFFECTIVE = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)


def action(reference: str = "A1", **more: str) -> str:
    """Write a corporate action as IBOSS does; further elements by name replace those given."""
    fields = {
        "Reference": reference,
        "Version": "1",
        "Symbol": "IBM",
        "Kind": "split",
        "ExDate": "2026-11-24",
        "EffectiveAt": "2026-11-24T14:30:00Z",
        "Ratio": "2",
    } | more
    written = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f"<CorporateAction>{written}</CorporateAction>"


def page(*lines: str, changed_after: int = 9, more: str = "false") -> ActionsPage:
    """Read an answer with these actions."""
    tail = f"<NextChangedAfter>{changed_after}</NextChangedAfter><More>{more}</More>"
    content = envelope(f"<GetCorporateActionsResponse>{''.join(lines)}{tail}</GetCorporateActionsResponse>")
    return parse_actions(open_envelope(content, "GetCorporateActions"))


@dataclass
class FakeSource:
    """Answer what a test puts in, a page a call; an error is raised."""

    answers: list[ActionsPage | IbossError]
    asked: list[int | None] = field(default_factory=list)

    async def corporate_actions(self, changed_after: int | None = None, limit: int = 1000) -> ActionsPage:
        self.asked.append(changed_after)
        answer = self.answers.pop(0)
        if isinstance(answer, IbossError):
            raise answer
        return answer


@dataclass
class Desk:
    """Hold what a reader needs beside its source, and what it refused."""

    pool: asyncpg.Pool
    store: LedgerStore
    refused: list[Refused] = field(default_factory=list)

    async def poll(self, *readers: ActionReader) -> None:
        for one in readers:
            await one.poll(await self.store.directory(), self._refuse)

    async def _refuse(self, refused: Sequence[Refused]) -> None:
        self.refused += refused

    async def read(self, source: ActionSource) -> ActionReader:
        """Have a new reader read once."""
        reader = ActionReader(source, self.store, every_s=0.0)
        await self.poll(reader)
        return reader

    async def splits(self) -> list[KnownSplit]:
        async with self.pool.acquire() as connection:
            return await splits(connection)

    async def cursor(self) -> str | None:
        async with self.pool.acquire() as connection:
            return await read_cursor(connection, "iboss", "corporate actions")


@pytest.fixture
async def desk(postgres_url: str) -> AsyncIterator[Desk]:
    async with open_pool(postgres_url, "tests") as pool:
        async with pool.acquire() as connection:
            await seed_tiny_bank(connection, tiny_bank())
        yield Desk(pool, LedgerStore(pool))


@pytest.mark.integration
async def test_a_split_of_the_simulator_reaches_the_database(desk: Desk, tmp_path: Path) -> None:
    async with open_simulator(tmp_path) as simulator, open_iboss(simulator.address(), QUICK) as client:
        await simulator.control(split={"symbol": "IBM", "ratio": "0.04", "in_seconds": 600})
        await desk.read(client)
    (found,) = await desk.splits()
    assert (found.instrument, found.ratio) == (3, Decimal("0.04"))
    assert found.effective_at > datetime.now(UTC)


@pytest.mark.integration
async def test_pages_are_read_to_the_last_and_on_from_there_by_the_next_process(desk: Desk) -> None:
    source = FakeSource([page(action("A1"), changed_after=4, more="true"), page(action("A2"), changed_after=6)])
    await desk.read(source)
    assert (source.asked, len(await desk.splits())) == ([None, 4], 2)
    again = FakeSource([page(changed_after=6)])
    await desk.read(again)
    assert again.asked == [6]


@pytest.mark.integration
async def test_a_newer_version_counts_and_ratio_one_takes_it_back(desk: Desk) -> None:
    await desk.read(FakeSource([page(action("A1"), action("A2", Ratio="3"), action("A1"))]))
    assert [one.ratio for one in await desk.splits()] == [2, 3]
    await desk.read(FakeSource([page(action("A1", Version="2", Ratio="1.5"), action("A2", Version="2", Ratio="1"))]))
    assert await desk.splits() == [KnownSplit(3, date(2026, 11, 24), EFFECTIVE, Decimal("1.5"))]


@pytest.mark.integration
async def test_what_was_known_at_a_moment_can_be_asked(desk: Desk) -> None:
    before = datetime.now(UTC)
    await desk.read(FakeSource([page(action())]))
    async with desk.pool.acquire() as connection:
        assert await splits(connection, before) == []
        assert len(await splits(connection, datetime.now(UTC))) == 1


@pytest.mark.integration
async def test_an_unknown_symbol_is_refused_and_read_again_once_there_are_new_instruments(desk: Desk) -> None:
    answers = [page(action(Symbol="NEW")), page(), page(action(Symbol="NEW"))]
    source = FakeSource([*answers])
    reader = await desk.read(source)
    assert [(one.operation, one.identity, one.reason) for one in desk.refused] == [
        ("GetCorporateActions", "A1/1", "unknown_instrument")
    ]
    assert b"<Symbol>NEW</Symbol>" in desk.refused[0].payload
    await desk.poll(reader)
    async with desk.pool.acquire() as connection:
        await seed_instrument(connection, replace(INSTRUMENTS[3], id=9, symbol="NEW"))
    await desk.poll(reader)
    assert source.asked == [None, 9, None]
    assert [one.instrument for one in await desk.splits()] == [9]


@pytest.mark.integration
async def test_the_cursor_moves_only_with_the_actions(desk: Desk) -> None:
    source = FakeSource([page(action())])
    directory = await desk.store.directory()
    wrong = Directory(directory.portfolios, {"IBM": 99}, directory.currencies)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await ActionReader(source, desk.store).poll(wrong, desk._refuse)
    assert (await desk.cursor(), await desk.splits()) == (None, [])


@pytest.mark.integration
@pytest.mark.parametrize("error", [RequestRefused("no such operation"), AccessDenied("not for you")])
async def test_where_iboss_does_not_offer_them_it_is_said_and_not_asked_each_time(
    desk: Desk, error: IbossError
) -> None:
    source = FakeSource([error])
    reader = await desk.read(source)
    assert "does not offer corporate actions" in reader.trouble
    await desk.poll(reader, reader)
    assert source.asked == [None]


@pytest.mark.integration
@pytest.mark.parametrize(
    "answer", [SourceUnavailable("HTTP 500"), UnreadableAnswer("no"), page(action(), changed_after=0, more="true")]
)
async def test_what_cannot_be_read_now_is_tried_later_and_stops_nothing(
    desk: Desk, answer: ActionsPage | IbossError
) -> None:
    reader = await desk.read(FakeSource([answer]))
    assert "cannot be read" in reader.trouble


@pytest.mark.integration
async def test_refused_credentials_are_not_waited_out_here(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused):
        await desk.read(FakeSource([CredentialsRefused("no")]))


@pytest.mark.integration
async def test_a_leader_that_was_overtaken_writes_no_action(desk: Desk) -> None:
    overtaken = LedgerStore(desk.pool, Fence("iboss", 1))
    with pytest.raises(LeaseLost):
        await ActionReader(FakeSource([page(action())]), overtaken).poll(await desk.store.directory(), desk._refuse)
    assert (await desk.cursor(), await desk.splits()) == (None, [])


@pytest.mark.integration
async def test_positions_go_on_without_actions_and_the_health_says_why(
    desk: Desk, tmp_path: Path, redis_url: str, kafka_servers: str
) -> None:
    redis = create_redis(redis_url, "tests")
    health = IbossHealth(LiveStore(redis), CallGuard())
    async with (
        open_simulator(tmp_path) as simulator,
        open_iboss(simulator.address(), QUICK) as client,
        open_producer(kafka_servers, "tests") as producer,
    ):
        actions = ActionReader(FakeSource([RequestRefused("InvalidRequest: no operation")]), desk.store)
        await IbossWorker(client, desk.store, Outbox(desk.pool, producer), health, actions).poll()
    await redis.aclose()
    assert await desk.pool.fetchval("select count(*) from position_sets") == 3
    ok, detail = health.state()
    assert ok
    assert "IBOSS does not offer corporate actions" in detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"Ratio": "0"},
        {"Ratio": "-2"},
        {"Ratio": "NaN"},
        {"Ratio": "1e-9"},
        {"Ratio": "1e9"},
        {"Ratio": ""},
        {"Kind": "merger"},
        {"ExDate": "24.11.2026"},
        {"EffectiveAt": "soon"},
        {"Symbol": ""},
        {"Version": "-1"},
    ],
)
def test_an_action_that_cannot_be_read_costs_only_itself(wrong: dict[str, str]) -> None:
    found = page(action("A1", **wrong), action("A2"))
    assert [one.reference for one in found.actions] == ["A2"]
    assert [one.reason for one in found.refused] == ["unreadable"]


def test_a_date_with_a_zone_and_a_ratio_with_an_exponent_are_understood() -> None:
    (found,) = page(action(ExDate="2026-11-24Z", Ratio="4E-2")).actions
    assert (found.ex_date, found.ratio) == (date(2026, 11, 24), Decimal("0.04"))


def test_an_answer_that_does_not_say_how_to_go_on_is_unreadable() -> None:
    with pytest.raises(UnreadableAnswer, match="NextChangedAfter"):
        parse_actions(
            open_envelope(
                envelope("<GetCorporateActionsResponse><More>false</More></GetCorporateActionsResponse>"),
                "GetCorporateActions",
            )
        )
