"""`alhambra breaks` lists what does not agree with what to do, and ends with 1 where something is open."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from alhambra.breaks import ADVICE, say, show
from alhambra.errors import CannotStart
from alhambra.main import app
from alhambra.ports import free_port
from db.breaks import (
    ACCOUNT_BREAKS,
    PORTFOLIO_BREAKS,
    Break,
    KeptBreak,
    record_breaks,
    resolve_account_breaks,
)
from db.postgres import open_pool
from ingest.iboss.reconciliation import Outcome

AT = datetime(2026, 3, 2, 2, 10, tzinfo=UTC)


async def run(url: str, *arguments: str) -> Result:
    runner = CliRunner(env={"DATABASE_URL": url, "COLUMNS": "200"})
    return await asyncio.to_thread(runner.invoke, app, list(arguments))


async def test_nothing_open_is_said_and_is_no_fault(postgres_url: str, tmp_path: Path) -> None:
    done = await run(postgres_url, "breaks", "--data", str(tmp_path))
    assert (done.exit_code, done.output) == (0, "There are no breaks: positions, bookings and accounts agree.\n")


async def test_breaks_are_listed_with_what_to_do_and_those_resolved_on_demand(
    postgres_url: str, tmp_path: Path
) -> None:
    async with open_pool(postgres_url, "tests") as pool, pool.acquire() as connection:
        await record_breaks(connection, [Break("IB-404", "account_unknown")], AT)
        await resolve_account_breaks(connection, datetime.now(UTC))
        await record_breaks(connection, [Break("IB-7", "account_missing")], AT)
    shown = await run(postgres_url, "breaks", "--data", str(tmp_path))
    assert shown.exit_code == 1
    assert "IB-7" in shown.output
    assert "IB-404" not in shown.output
    listed = json.loads((await run(postgres_url, "breaks", "--all", "--json", "--data", str(tmp_path))).output)
    assert [(one["account"], one["what"], one["resolved_at"] is None) for one in listed] == [
        ("IB-7", "account_missing", True),
        ("IB-404", "account_unknown", False),
    ]
    assert all(one["advice"] for one in listed)


async def test_a_look_on_demand_holds_what_is_there_together(postgres_url: str, tmp_path: Path) -> None:
    done = await run(postgres_url, "reconcile", "--data", str(tmp_path))
    assert done.exit_code == 0
    assert done.output.startswith("0 portfolios were held against their bookings.")


async def test_where_nothing_answers_it_is_one_sentence(tmp_path: Path) -> None:
    done = await run(f"postgresql://127.0.0.1:{free_port()}/none", "breaks", "--data", str(tmp_path))
    assert isinstance(done.exception, CannotStart)
    assert "PostgreSQL does not answer" in str(done.exception)
    with pytest.raises(CannotStart, match="DATABASE_URL"):
        raise (await run("", "breaks", "--data", str(tmp_path))).exception or AssertionError


def test_amounts_are_shown_exactly_and_each_kind_has_its_advice_once() -> None:
    numbers = [(Decimal("1234.500000"), Decimal("1000")), (Decimal("1E+3"), Decimal("0.000001"))]
    found = [
        KeptBreak(
            at, "IB1", uuid4(), "Growth", 3, "IBM", "quantity", expected, held, 7, AT, AT, None
        )
        for at, (expected, held) in enumerate(numbers)
    ]  # fmt: skip
    output = StringIO()
    show(found, Console(file=output, width=200))
    for part in ("1,234.5", "1,000", "0.000001", "IBM", "Growth"):
        assert part in output.getvalue()
    assert output.getvalue().count("quantity:") == 1


def test_there_is_advice_for_every_kind_of_break() -> None:
    assert set(ADVICE) == {*PORTFOLIO_BREAKS, *ACCOUNT_BREAKS}


def test_what_is_under_way_is_said() -> None:
    outcome = Outcome(AT)
    outcome.outcomes.update(compared=10, unsettled=2)
    assert "10 portfolios" in say(outcome)
    assert "2 are left for later" in say(outcome)
