"""`alhambra replay` shows the past from PostgreSQL alone, with what was booked, and says whether it is proved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from uuid import UUID, uuid4

import pytest
from books import quotes
from fakes_stream import SmallBank, open_small_bank
from rich.console import Console
from typer.testing import CliRunner

from alhambra.errors import CannotStart
from alhambra.main import app
from alhambra.replay import Wanted, replay, show
from db.epochs import take_epochs
from db.ledger import LedgerBooking, store
from stream.messages import POSITIONS_TOPIC
from stream.recorder import Recorder
from stream.roll import restore_days

pytestmark = pytest.mark.integration
MIDNIGHT = datetime(2026, 1, 7, tzinfo=UTC)  # a Wednesday
MINUTE = MIDNIGHT + timedelta(hours=15)
NOW = MINUTE + timedelta(seconds=70)
NOW_NS = int(MINUTE.timestamp()) * 10**9


@dataclass
class Past:
    """A bank of which one minute was recorded: 10 Apple at 155.50 and 100 dollars."""

    url: str
    bank: SmallBank
    portfolio: UUID


@pytest.fixture
async def past(postgres_url: str) -> AsyncIterator[Past]:
    async with open_small_bank(postgres_url) as bank:
        portfolio = await bank.add_portfolio("USD")
        await bank.add_close(3, (MIDNIGHT - timedelta(days=1)).date(), 150.0)
        record = await bank.book(portfolio, "USD", 1, (3, "10"), (1, "100"), event_ns=NOW_NS)
        booked = LedgerBooking(
            "test",
            "B1",
            1,
            UUID(portfolio),
            "buy",
            Decimal(-300),
            "USD",
            MIDNIGHT,
            MIDNIGHT,
            3,
            Decimal(2),
            Decimal(150),
        )
        async with bank.pool.acquire() as connection:
            await store(connection, None, [], [booked])
            await take_epochs(connection, POSITIONS_TOPIC, [0], "this")
            processor, days = await restore_days(connection, NOW_NS)
        processor.apply_positions(record, 0, 1)
        processor.apply_quotes(quotes((3, 155.5), event_ns=NOW_NS), NOW_NS)
        processor.revalue(NOW_NS)
        recorder = Recorder(bank.pool, processor, {0: 1}, 1, days)
        recorder.keep(MINUTE)
        await recorder.write()
        yield Past(postgres_url, bank, UUID(portfolio))


async def test_a_portfolio_is_shown_with_its_rows_and_the_days_bookings(past: Past) -> None:
    found = await replay(past.url, Wanted(NOW, past.portfolio))
    (only,) = found.portfolios
    assert (only.as_of, only.matches, only.missing) == (MINUTE + timedelta(minutes=1), True, None)
    assert only.valuation is not None
    assert (only.valuation.total_equity, only.valuation.day_pnl) == (1655.0, 55.0)
    assert {row.symbol: row.value for row in only.valuation.rows} == {"AAPL": 1555.0, "USD": 100.0}
    assert [(one.symbol, one.type, one.amount) for one in only.bookings] == [("AAPL", "buy", Decimal(-300))]
    printed = StringIO()
    assert show(found, Console(file=printed, width=160))
    for word in ("1,655.00", "AAPL", "1,555.00", "B1", "1 of 1 equal"):
        assert word in printed.getvalue()


async def test_a_stored_total_that_is_not_its_recomputation_is_told(past: Past) -> None:
    await past.bank.pool.execute("update minute_valuations set day_pnl = day_pnl + 7")
    found = await replay(past.url, Wanted(NOW))
    assert (found.matches, found.portfolios[0].differences) == (False, {"day_pnl": (55.07, 55.0)})
    printed = StringIO()
    assert not show(found, Console(file=printed, width=160))
    assert "day_pnl was 55.07, recomputed 55.00" in printed.getvalue()


async def test_without_what_it_was_computed_from_nothing_is_claimed(past: Past) -> None:
    await past.bank.pool.execute("delete from minute_prices")
    found = await replay(past.url, Wanted(NOW))
    assert not show(found, Console(file=(printed := StringIO()), width=160))
    assert "were not kept" in printed.getvalue()


async def test_the_account_is_found_by_either_number(past: Past) -> None:
    row = await past.bank.pool.fetchrow(
        "select a.account_number, p.iboss_account_id from portfolios p join accounts a on a.id = p.account_id"
    )
    for number in row:
        assert len((await replay(past.url, Wanted(NOW, account=number))).portfolios) == 1


async def test_what_is_not_there_is_said(past: Past) -> None:
    with pytest.raises(CannotStart, match="no such portfolio"):
        await replay(past.url, Wanted(NOW, uuid4()))
    with pytest.raises(CannotStart, match="Nothing is stored"):
        await replay(past.url, Wanted(MINUTE))


async def test_the_command_takes_a_moment_with_its_zone_and_prints_json(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", past.url)
    run = CliRunner().invoke
    done = await asyncio.to_thread(run, app, ["replay", "--at", f"{NOW:%Y-%m-%dT%H:%M:%S}Z", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["portfolios"][0]["valuation"]["total_equity"] == 1655.0
    done = await asyncio.to_thread(run, app, ["replay", "--at", "2026-01-02T10:32:00"])
    assert done.exit_code == 2
