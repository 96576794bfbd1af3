"""`alhambra import` books a statement whole or not at all, and once; what it refuses it says in one sentence."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from fakes_statements import actions, cash, flex, trades

from alhambra import main as door
from alhambra.statements.outcome import Outcome
from alhambra.statements.run import ImportWish, run_import
from db.audit import verify_chain
from db.ledger import bookings_since
from ingest.statements.errors import ImportRefused, StatementError
from stream.messages import PortfolioPositions, decode_positions

pytestmark = pytest.mark.integration
CLIENT, OTHER = "carol@example.com", "dora@example.com"
BUY = {"closePrice": "192"}
SOLD = {
    "tradeID": "1000002",
    "dateTime": "20240202;100000",
    "quantity": "-4",
    "proceeds": "800",
    "tradePrice": "200",
    "netCash": "799",
    "buySell": "SELL",
}
JANUARY = flex(Trades=trades(BUY), CashTransactions=cash({}))
FEBRUARY = flex(Trades=trades(SOLD))
BANK = """
insert into currencies values ('USD', 'US Dollar', 2), ('EUR', 'Euro', 2);
insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency) values
    (1, 'USD', 'US dollar', 'cash', 'Cash', 'US', 'USD', null), (2, 'EUR', 'Euro', 'cash', 'Cash', 'EU', 'EUR', null),
    (3, 'EUR/USD', 'Euro in US dollars', 'fx', 'Currency', 'EU', 'USD', 'EUR');
insert into daily_prices (instrument_id, date, close) values (3, '2024-01-01', 1.1);
insert into users (id, email, first_name, last_name, role) values
    ('00000000-0000-0000-0000-000000000001', 'carol@example.com', 'Carol', 'Test', 'client'),
    ('00000000-0000-0000-0000-000000000002', 'dora@example.com', 'Dora', 'Test', 'client');
insert into accounts (id, user_id, account_number, account_type) values
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001', 'A-1', 'advisory');
insert into portfolios (id, user_id, account_id, iboss_account_id, name, base_currency) values
    ('00000000-0000-0000-0000-0000000000ff', '00000000-0000-0000-0000-000000000001',
     '00000000-0000-0000-0000-00000000000a', 'IB-1', 'Growth', 'EUR');
"""
FED_BY_IBOSS = UUID(int=0xFF)


@dataclass
class Desk:
    """Where an operator imports: a bank, and a folder of statements."""

    url: str
    folder: Path
    connection: asyncpg.Connection

    def file(self, content: bytes, name: str = "statement.xml") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    async def run(self, content: bytes, **wish: object) -> Outcome:
        asked = {"client": CLIENT, "apply": True, "create_instruments": True} | wish
        return await run_import(self.url, ImportWish(self.file(content), **asked))  # type: ignore[arg-type]

    async def count(self, table: str) -> int:
        found: int = await self.connection.fetchval(f"select count(*) from {table}")
        return found

    async def positions(self, portfolio: str | None) -> PortfolioPositions:
        record = await self.connection.fetchval(
            "select record::text from position_sets where portfolio_id = $1 order by version desc limit 1",
            UUID(portfolio or ""),
        )
        return decode_positions(record.encode())


@asynccontextmanager
async def open_desk(url: str, folder: Path) -> AsyncIterator[Desk]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(BANK)
        yield Desk(url, folder, connection)
    finally:
        await connection.close()


@pytest.fixture
async def desk(postgres_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(postgres_url, tmp_path) as opened:
        yield opened


EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
WRITTEN = ("transactions", "position_sets", "statement_imports", "audit_events", "instrument_symbols")


async def test_a_preview_shows_everything_and_writes_nothing(desk: Desk) -> None:
    shown = await desk.run(JANUARY, apply=False)
    assert (shown.applied, shown.portfolio, shown.rows_booked) == (False, None, 2)
    assert [(one.symbol, one.quantity) for one in shown.positions] == [("AAPL", 10)]
    assert shown.cash == {"EUR": 500, "USD": -1901}
    assert [await desk.count(table) for table in WRITTEN] == [0] * len(WRITTEN)
    assert await desk.count("portfolios") == 1


async def test_what_the_preview_shows_is_what_is_booked(desk: Desk) -> None:
    shown = await desk.run(JANUARY, apply=False)
    done = await desk.run(JANUARY)
    assert (done.bookings, done.positions, done.cash) == (shown.bookings, shown.positions, shown.cash)
    assert done.portfolio is not None
    booked = await bookings_since(desk.connection, UUID(done.portfolio), *EVER)
    assert {one.reference for one in booked} == {one.reference for one in done.bookings}
    assert {one.source for one in booked} == {"ibkr:U1234567"}


async def test_an_import_makes_a_portfolio_that_can_be_valued(desk: Desk) -> None:
    done = await desk.run(JANUARY)
    stored = await desk.positions(done.portfolio)
    assert (stored.version, stored.base_currency, stored.portfolio) == (1, "EUR", done.portfolio)
    rows = await desk.connection.fetch("select id, symbol, currency, isin from instruments where id > 3")
    apple = rows[0]["id"]
    lines = {line.instrument: line for line in stored.positions}
    assert {number: line.quantity for number, line in lines.items()} == {1: -1901, 2: 500, apple: 10}
    assert (lines[apple].cost_basis, lines[apple].opening_quantity, lines[apple].day_traded) == (1901, 10, 0)
    close = await desk.connection.fetchrow("select date, close from daily_prices where instrument_id = $1", apple)
    assert tuple(close) == (date(2024, 1, 2), 192.0)


async def test_a_statement_that_comes_again_changes_nothing(desk: Desk) -> None:
    first = await desk.run(JANUARY)
    before = [await desk.count(table) for table in WRITTEN]
    again = await desk.run(JANUARY)
    assert (again.applied, again.bookings, len(again.duplicates)) == (False, [], 2)
    assert again.portfolio == first.portfolio
    assert [await desk.count(table) for table in WRITTEN] == before


async def test_a_later_statement_goes_into_the_same_portfolio_whichever_comes_first(desk: Desk) -> None:
    first = await desk.run(FEBRUARY)
    assert [one.quantity for one in first.positions] == [-4]
    assert "more was sold" in first.warnings[0]
    second = await desk.run(JANUARY)
    assert (second.portfolio, second.warnings) == (first.portfolio, [])
    stored = await desk.positions(second.portfolio)
    assert stored.version == 2
    held = {line.instrument: (line.quantity, line.cost_basis) for line in stored.positions}
    assert held[4] == (6, Decimal("1140.6"))


async def test_days_that_a_statement_tells_otherwise_are_forgotten(desk: Desk) -> None:
    first = await desk.run(JANUARY)
    days = [(UUID(first.portfolio or ""), date(2024, month, 1)) for month in (1, 2, 3)]
    await desk.connection.executemany("insert into daily_valuations values ($1, $2, 500, 0, 0)", days)
    await desk.run(FEBRUARY)
    kept = await desk.connection.fetch("select date from daily_valuations order by date")
    assert [row["date"] for row in kept] == [date(2024, 1, 1), date(2024, 2, 1)]


async def test_a_split_carries_the_price_that_the_statement_has(desk: Desk) -> None:
    done = await desk.run(flex(Trades=trades(BUY)))
    await desk.run(flex(CorporateActions=actions({"quantity": "30", "transactionID": "5001"})))
    assert (await desk.run(JANUARY)).portfolio == done.portfolio
    rows = await desk.connection.fetch("select date, close from daily_prices where instrument_id = 4 order by date")
    assert [tuple(row) for row in rows] == [(date(2024, 1, 2), 192.0), (date(2024, 1, 5), 48.0)]


async def test_an_instrument_of_the_bank_keeps_its_own_prices(desk: Desk) -> None:
    await desk.connection.execute(
        "insert into instruments (id, symbol, name, asset_class, sector, country, currency) "
        "values (9, 'AAPL', 'Apple', 'equity', 'Information Technology', 'US', 'USD')"
    )
    done = await desk.run(JANUARY, create_instruments=False)
    assert (done.new_instruments, [one.symbol for one in done.positions]) == ([], ["AAPL"])
    assert await desk.connection.fetchval("select count(*) from daily_prices where instrument_id = 9") == 0


async def test_two_imports_at_once_book_once(desk: Desk) -> None:
    path = desk.file(JANUARY)
    wish = ImportWish(path, client=CLIENT, apply=True, create_instruments=True)
    done = await asyncio.gather(*(run_import(desk.url, wish) for _ in range(3)))
    assert sorted(len(one.bookings) for one in done) == [0, 0, 2]
    assert await desk.count("transactions") == 2
    assert await desk.count("portfolios") == 2


async def test_a_failure_in_the_middle_leaves_nothing(desk: Desk) -> None:
    await desk.connection.execute("alter table statement_imports add constraint broken check (bookings < 0)")
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.run(JANUARY)
    assert [await desk.count(table) for table in (*WRITTEN, "portfolios")] == [0, 0, 0, 0, 0, 1]
    assert await desk.connection.fetchval("select max(id) from instruments") == 3


async def test_an_import_is_told_to_the_audit_trail_with_what_was_refused(desk: Desk) -> None:
    done = await desk.run(flex(Trades=trades(BUY, {"tradeID": "1000003", "tradePrice": "1"})))
    assert [one.reason for one in done.rejected] == ["amounts_disagree"]
    action, subject, detail = await desk.connection.fetchrow("select action, subject, detail from audit_events")
    assert (action, subject, json.loads(detail)["rejected"]) == ("statement_imported", done.portfolio, 1)
    assert (await verify_chain(desk.connection)).broken_at is None
    kept = await desk.connection.fetchval("select rejected from statement_imports")
    assert json.loads(kept)[0]["place"] == "Trades row 2, line 1"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"client": None, "portfolio": FED_BY_IBOSS}, "is fed by IBOSS account IB-1"),
        ({"client": None, "portfolio": UUID(int=7)}, "There is no portfolio"),
        ({"client": "nobody@example.com"}, "no active client"),
        ({"client": OTHER}, "of another client already"),
        ({"base_currency": "USD"}, "The statement is in USD"),
        ({"account": "U9"}, "there is no U9"),
    ],
)
async def test_a_statement_that_does_not_fit_is_refused(desk: Desk, wish: dict[str, object], said: str) -> None:
    await desk.run(JANUARY)
    before = await desk.count("transactions")
    with pytest.raises(ImportRefused, match=said):
        await desk.run(FEBRUARY, **wish)
    assert await desk.count("transactions") == before


async def test_of_several_accounts_one_is_chosen(desk: Desk) -> None:
    both = flex(account="U1", CashTransactions=cash({})).replace(b"</FlexStatement>", b"</FlexStatement>" + _inner(), 1)
    with pytest.raises(ImportRefused, match="U1, U2: choose one with --account"):
        await desk.run(both)
    assert (await desk.run(both, account="U2", base_currency="EUR")).source == "ibkr:U2"


async def test_a_chosen_portfolio_takes_a_second_source(desk: Desk) -> None:
    first = await desk.run(JANUARY)
    other = flex(account="U7", CashTransactions=cash({"amount": "70"}))
    second = await desk.run(other, client=None, portfolio=UUID(first.portfolio or ""))
    assert (second.portfolio, second.cash["EUR"]) == (first.portfolio, 570)


async def test_a_packed_statement_is_the_same_statement(desk: Desk) -> None:
    first = await desk.run(gzip.compress(JANUARY))
    assert len((await desk.run(JANUARY)).duplicates) == first.rows_booked == 2


def _inner() -> bytes:
    (row,) = cash({"transactionID": "4001"})
    return f'<FlexStatement accountId="U2"><CashTransactions>{row}</CashTransactions></FlexStatement>'.encode()


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a database where nothing listens: what is refused before anything is asked of it needs none."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><FlexQueryResponse note="&b;"/>'
MUTILATED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b" \n",
    "no statement": lambda: b"<html><head/></html>",
    "cut off": lambda: JANUARY[:-40],
    "with a DTD": lambda: LAUGHS,
    "in another encoding": lambda: JANUARY.decode().encode("utf-16"),
    "deep": lambda: b"<a>" * 1_000_000,
    "beyond any size": lambda: b"<a>" + b" " * (33 << 20),
    "packed, and cut off": lambda: gzip.compress(JANUARY)[:-20],
    "packed, and beyond any size": lambda: zlib.compress(b"<" + b" " * (40 << 20), wbits=31),
    "packed, and broken": lambda: b"\x1f\x8b" + b"?" * 100,
    "a CSV without a mapping": lambda: b"date;amount\n",
}


@pytest.mark.parametrize("name", MUTILATED)
@pytest.mark.usefixtures("no_database")
def test_a_mutilated_file_is_one_sentence_and_exit_status_1(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mutilated"
    path.write_bytes(MUTILATED[name]())
    assert _command(monkeypatch, "import", str(path), "--client", CLIENT, "--apply") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([], "Say where it goes"),
        (["--client", CLIENT, "--mapping", "nobody"], "There is no mapping 'nobody'"),
        (["--client", CLIENT, "--mapping", "trade_republic"], "no column 'category'"),
        (["--client", CLIENT, "--mapping", "trade_republic", "--account", "a:b"], "cannot be the name of an account"),
    ],
)
@pytest.mark.usefixtures("no_database")
def test_a_command_that_cannot_be_meant_says_so(
    extra: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"date;amount\n")
    assert _command(monkeypatch, "import", str(path), *extra) == 1
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("no_database")
def test_a_file_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _command(monkeypatch, "import", str(tmp_path / "nothing.xml"), "--client", CLIENT) == 1
    assert "No such file" in capsys.readouterr().err


async def test_the_command_prints_the_import_for_people_and_for_programs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(desk.file(JANUARY))
    monkeypatch.setenv("DATABASE_URL", desk.url)
    arguments = ("import", path, "--client", CLIENT, "--create-instruments")
    assert await asyncio.to_thread(_command, monkeypatch, *arguments) == 0
    assert "This is a preview" in capsys.readouterr().out
    assert await asyncio.to_thread(_command, monkeypatch, *arguments, "--apply", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["applied"], document["rows_booked"], document["cash"]["EUR"]) == (True, 2, "500")
    assert all(one["agrees"] for one in document["reconciliation"])


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line as a shell does and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["alhambra", *arguments])
    try:
        door.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


async def test_real_statements_are_booked_and_derived(desk: Desk, shared_data: Path) -> None:
    async def apply(path: Path, mapping: str | None = None) -> Outcome:
        wish = ImportWish(path, client=CLIENT, mapping=mapping, apply=True, create_instruments=True, account=None)
        return await run_import(desk.url, wish)

    await desk.connection.execute("insert into currencies values ('CHF', 'Franc', 2)")
    await desk.connection.execute(
        "insert into instruments (id, symbol, name, asset_class, sector, country, currency, base_currency) values "
        "(4, 'CHF', 'Franc', 'cash', 'Cash', 'CH', 'CHF', null), "
        "(5, 'USD/CHF', 'Dollar', 'fx', 'Currency', 'US', 'CHF', 'USD')"
    )
    await desk.connection.execute(
        "insert into daily_prices (instrument_id, date, close) values (5, '2024-01-01', 0.88)"
    )
    flexed = await apply(shared_data / "ibkr-flex" / "testIBFlexStatementFile01.xml")
    assert [(one.symbol, one.quantity, one.cost) for one in flexed.positions] == [("GCM", 480, Decimal("3256.2"))]
    assert flexed.new_currencies == ["CAD"]
    exported = await apply(shared_data / "traderepublic-export" / "TransactionExport01.csv", "trade_republic")
    held = {one.symbol: one.quantity for one in exported.positions}
    assert held["US64110L1061"] == Decimal("0.45566")  # Netflix, split ten for one
    closes = await desk.connection.fetch(
        "select date, close from daily_prices d join instruments i on i.id = d.instrument_id "
        "where i.symbol = 'US64110L1061' order by date"
    )
    assert closes[-1]["date"] == date(2025, 11, 17)
    assert abs(closes[-1]["close"] - 87.77) < 0.001
    with pytest.raises(StatementError):
        await apply(shared_data / "traderepublic-export" / "TransactionExport02.csv")
