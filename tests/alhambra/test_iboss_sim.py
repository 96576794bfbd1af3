"""The simulator is a real SOAP 1.1 service: its contract, its faults, its ledger."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from fakes_iboss import (
    API_KEY,
    CLIENT,
    INSTRUMENTS,
    QUICK,
    SERVICE,
    SOAP_ENVELOPE,
    Simulator,
    envelope,
    open_simulator,
    tiny_bank,
)
from lxml import etree

from alhambra.bank.bank import create_bank
from alhambra.bank.people import SERVICE_USER
from alhambra.iboss_sim.controls import SplitOrder
from alhambra.iboss_sim.ledger import Ledger, create_ledger, open_ledger
from alhambra.iboss_sim.splits import SplitDesk, find_ex_date
from alhambra.iboss_sim.trading import TradingDesk, quoted_price, rate_between
from db.live import LiveStore, create_redis
from ingest.iboss.client import IbossClient, open_iboss
from ingest.iboss.contract import packaged_wsdl
from ingest.iboss.outbox import moment_of
from ingest.iboss.records import PositionLine

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
LOGIN = f"<Authenticate><Username>{SERVICE.username}</Username><Password>{SERVICE.password}</Password></Authenticate>"
CODE = "string(//*[local-name()='Code'])"


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with open_simulator(tmp_path) as running:
        yield running


async def post(simulator: Simulator, content: bytes, api_key: str = API_KEY) -> httpx.Response:
    headers = {"X-API-Key": api_key, "SOAPAction": '"Authenticate"', "Content-Type": "text/xml; charset=utf-8"}
    return await simulator.http.post(f"{simulator.url}/soap", content=content, headers=headers)


def fault_code(answer: httpx.Response) -> str:
    return str(etree.fromstring(answer.content).xpath(CODE))


async def test_authenticate_is_as_the_specification_writes_it(simulator: Simulator) -> None:
    answer = await post(simulator, envelope(LOGIN))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert int(answer.headers["x-quota-remaining"]) < int(answer.headers["x-quota-limit"])
    assert etree.fromstring(answer.content).findtext(".//SessionToken")


async def test_the_same_request_is_understood_in_a_namespace_of_the_callers(simulator: Simulator) -> None:
    qualified = LOGIN.replace("<Authenticate>", '<Authenticate xmlns="urn:callers:own">', 1)
    assert (await post(simulator, envelope(qualified))).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        envelope(LOGIN)[:-20],
        envelope(""),
        envelope("<DropEverything/>"),
        envelope("<Authenticate><Username>service</Username></Authenticate>"),
        envelope("<GetAccounts><Limit>many</Limit></GetAccounts>"),
        b'<!DOCTYPE a [<!ENTITY x "ha">]>' + envelope(LOGIN),
        f'<e:Envelope xmlns:e="{SOAP_ENVELOPE}"/>'.encode(),
        b"<a>" * 100_000,
        b" " * (2 << 20),
    ],
    ids=range(11),
)
async def test_what_is_not_a_request_of_the_contract_is_an_invalid_request(
    simulator: Simulator, content: bytes
) -> None:
    answer = await post(simulator, content)
    assert (answer.status_code, fault_code(answer)) == (500, "InvalidRequest")


async def test_without_a_session_nothing_is_answered(simulator: Simulator) -> None:
    answer = await post(simulator, envelope("<GetAccounts/>"))
    assert fault_code(answer) == "SessionExpired"


async def test_the_quota_answers_429_with_the_time_to_wait(simulator: Simulator) -> None:
    await simulator.control(quota_per_minute=1)
    await post(simulator, envelope(LOGIN))
    answer = await post(simulator, envelope(LOGIN))
    assert (answer.status_code, fault_code(answer)) == (429, "QuotaExceeded")
    assert 0 < float(answer.headers["retry-after"]) <= 60


async def test_a_wrong_api_key_is_refused(simulator: Simulator) -> None:
    answer = await post(simulator, envelope(LOGIN), api_key="wrong")
    assert (answer.status_code, fault_code(answer)) == (401, "AccessDenied")


async def test_the_wsdl_names_the_service_that_serves_it(simulator: Simulator) -> None:
    served = etree.fromstring((await simulator.http.get(f"{simulator.url}/soap?wsdl")).content)
    (address,) = served.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
    assert address.get("location") == f"{simulator.url}/soap"


async def test_every_answer_fits_the_schema_of_the_wsdl(simulator: Simulator) -> None:
    schemas = etree.fromstring(packaged_wsdl()).iter("{http://www.w3.org/2001/XMLSchema}schema")
    schema = etree.XMLSchema(next(one for one in schemas if one.get("targetNamespace") is None))
    login = etree.fromstring((await post(simulator, envelope(LOGIN))).content)
    header = (
        f'<s:Header><i:Session xmlns:i="urn:iboss:portfolio-tracker"><i:Token>{login.findtext(".//SessionToken")}'
        "</i:Token></i:Session></s:Header><s:Body>"
    )
    account = "<AccountId>IB1</AccountId>"
    for body in (
        "<GetAccounts><Limit>2</Limit></GetAccounts>",
        f"<GetPositions>{account}</GetPositions>",
        f"<GetCashBalances>{account}</GetCashBalances>",
        "<GetTransactions/>",
        "<Logout/>",
    ):
        answer = await post(simulator, envelope(body).replace(b"<s:Body>", header.encode()))
        found = etree.fromstring(answer.content).find(f"{{{SOAP_ENVELOPE}}}Body")[0]
        schema.assertValid(found)
        assert found.tag.endswith("Response")
    schema.assertValid(login.find(f"{{{SOAP_ENVELOPE}}}Body")[0])


async def test_pages_of_accounts_and_bookings_join_without_gap_or_overlap(tmp_path: Path) -> None:
    async with open_simulator(tmp_path, tiny_bank(7)) as simulator, open_iboss(simulator.address(), QUICK) as client:
        accounts, after = [], None
        while True:
            listed = await client.accounts(after=after, limit=3)
            accounts += [one.account_id for one in listed.accounts]
            if (after := listed.next) is None:
                break
        references, cursor, more = [], None, True
        while more:
            page = await client.transactions(cursor, limit=4)
            references += [one.reference for one in page.bookings]
            cursor, more = page.cursor, page.more
    assert accounts == [f"IB{number}" for number in range(1, 8)]
    assert len(set(references)) == len(references) == 14


async def test_only_what_changed_is_listed_after_a_version(simulator: Simulator) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        newest = max(one.version for one in (await client.accounts()).accounts)
        assert (await client.accounts(changed_after=newest)).accounts == ()
        await simulator.trade("IB2", "IBM", "1", "100")
        assert [one.account_id for one in (await client.accounts(changed_after=newest)).accounts] == ["IB2"]


async def test_at_midnight_the_day_rolls_and_what_was_traded_becomes_the_opening(tmp_path: Path) -> None:
    day = {"now": NOON}
    async with open_simulator(tmp_path, now=lambda: day["now"]) as simulator:
        await simulator.trade("IB1", "IBM", "5", "120")
        async with open_iboss(simulator.address(), QUICK) as client:
            before = (await client.positions(["IB1"])).portfolios[0]
            day["now"] = datetime(2026, 3, 4, 0, 0, 1, tzinfo=UTC)
            after = (await client.positions(["IB1"])).portfolios[0]
    assert [(one.opening_quantity, one.day_traded) for one in before.lines] == [(10, 600), (9000, -600)]
    assert [(one.opening_quantity, one.day_traded) for one in after.lines] == [(15, 0), (8400, 0)]
    assert after.version > before.version


async def test_days_begin_at_midnight_in_each_accounts_zone_and_versions_only_grow(tmp_path: Path) -> None:
    """What rolls or is booked later has a version above all that was listed before, in whatever zone."""
    zones = ("Asia/Dubai", "America/New_York", "UTC")
    plain = tiny_bank()
    accounts = tuple(replace(one, time_zone=zone) for one, zone in zip(plain.accounts, zones, strict=True))
    clock = {"now": datetime(2026, 3, 3, 19, tzinfo=UTC)}
    listed: list[list[str]] = []
    bank = replace(plain, accounts=accounts)
    async with (
        open_simulator(tmp_path, bank, now=lambda: clock["now"]) as simulator,
        open_iboss(simulator.address(), QUICK) as client,
    ):
        newest = max(one.version for one in (await client.accounts()).accounts)
        for hour, trading in ((21, None), (22, "IB2"), (25, None), (26, "IB3"), (30, None), (31, None)):
            clock["now"] = datetime(2026, 3, 3, tzinfo=UTC) + timedelta(hours=hour)
            if trading:
                await simulator.trade(trading, "IBM", "1", "100")
            changed = (await client.accounts(changed_after=newest)).accounts
            listed.append([one.account_id for one in changed])
            newest = max([newest, *(one.version for one in changed)])
    assert listed == [["IB1"], ["IB2"], ["IB3"], ["IB3"], ["IB2"], []]


async def test_a_weekend_belongs_to_the_friday_before_where_exchanges_keep_it(tmp_path: Path) -> None:
    plain = tiny_bank()
    shares = tuple(replace(one, exchange="XSWX" if one.symbol == "IBM" else None) for one in plain.instruments)
    clock = {"now": datetime(2026, 3, 6, 12, tzinfo=UTC)}  # a Friday
    bank = replace(plain, instruments=shares)
    async with open_simulator(tmp_path, bank, now=lambda: clock["now"]) as simulator:
        await simulator.trade("IB1", "IBM", "5", "120")
        async with open_iboss(simulator.address(), QUICK) as client:
            openings = []
            for day in (7, 8, 9):
                clock["now"] = datetime(2026, 3, day, 12, tzinfo=UTC)
                openings.append((await client.positions(["IB1"])).portfolios[0].lines[0].opening_quantity)
    assert openings == [10, 10, 15]


def test_trading_dates_that_have_run_out_are_added_on_opening(tmp_path: Path) -> None:
    shares = tuple(replace(one, exchange="XSWX") for one in INSTRUMENTS)
    create_ledger(tmp_path / "iboss.sqlite3", replace(tiny_bank(), instruments=shares, today=date(2024, 3, 4)))
    now = datetime.now(UTC)
    with open_ledger(tmp_path / "iboss.sqlite3") as ledger:
        assert now - timedelta(days=7) < ledger.account("IB1", now).day_began <= now  # the Swiss never pause a week


async def test_a_split_by_order_changes_every_holding_and_its_value_only_by_the_price(tmp_path: Path) -> None:
    async with open_simulator(tmp_path, now=lambda: NOON) as simulator:
        await simulator.trade("IB2", "IBM", "-13", "100")
        await simulator.control(split={"symbol": "IBM", "ratio": "4", "in_seconds": 0})
        async with open_iboss(simulator.address(), QUICK) as client:
            found = (await client.positions(["IB1", "IB2", "IB3"])).portfolios
            booked = (await client.transactions("s7")).bookings
    lines = [next(line for line in one.lines if line.symbol == "IBM") for one in found]
    assert [(one.quantity, one.opening_quantity, one.day_traded) for one in lines] == [
        (40, 10, 0),
        (-12, 10, -1300),
        (40, 10, 0),
    ]
    assert [(one.type, one.quantity, one.amount) for one in booked] == [
        ("split", 30, 0),
        ("split", -9, 0),
        ("split", 30, 0),
    ]


@pytest.mark.parametrize(
    "order", [("IBM", "0"), ("IBM", "-2"), ("IBM", "1"), ("IBM", "NaN"), ("IBM", "1e30"), ("NOPE", "2"), ("USD", "2")]
)
async def test_a_split_that_cannot_be_is_refused(simulator: Simulator, order: tuple[str, str]) -> None:
    split = dict(zip(("symbol", "ratio"), order, strict=True))
    answer = await simulator.http.post(f"{simulator.url}/control", json={"split": split})
    assert answer.status_code == 400


async def test_a_split_is_announced_and_booked_as_of_its_moment_once(tmp_path: Path) -> None:
    clock = {"now": NOON}
    async with open_simulator(tmp_path, now=lambda: clock["now"]) as simulator:
        reference = (await simulator.control(split={"symbol": "IBM", "ratio": "4", "in_seconds": 60}))["reference"]
        async with open_iboss(simulator.address(), QUICK) as client:
            page = await client.corporate_actions()
            (found,) = page.actions
            assert (found.reference, found.version, found.symbol, found.ratio) == (reference, 1, "IBM", 4)
            assert (found.ex_date, moment_of(found.effective_ns)) == (NOON.date(), NOON + timedelta(seconds=60))
            assert (page.more, (await client.corporate_actions(page.changed_after)).actions) == (False, ())
            assert [one.quantity for one in await held(client)] == [10, 10, 10]
            clock["now"] = NOON + timedelta(seconds=75)
            assert [one.quantity for one in await held(client)] == [40, 40, 40]
            assert [one.quantity for one in await held(client)] == [40, 40, 40]
            booked = (await client.transactions("s6")).bookings
    assert [moment_of(one.booked_ns) for one in booked] == 3 * [NOON + timedelta(seconds=60)]


def test_a_split_whose_booking_was_broken_off_is_not_booked_twice(ledger: Ledger) -> None:
    desk = SplitDesk(ledger, lambda: NOON)
    reference = desk.announce(SplitOrder("IBM", "4", 0))
    ledger._connection.execute("update splits set booked = 0 where reference = ?", (reference,))
    ledger._connection.execute("delete from bookings where reference = ?", (f"{reference}-IB3",))
    assert ledger.holders("IBM") == {"IB1": 40, "IB2": 40, "IB3": 10}
    desk.book_due()
    assert ledger.holders("IBM") == {"IB1": 40, "IB2": 40, "IB3": 40}


async def held(client: IbossClient) -> list[PositionLine]:
    """Return what the three accounts hold of the share."""
    found = (await client.positions(["IB1", "IB2", "IB3"])).portfolios
    return [line for one in found for line in one.lines if line.symbol == "IBM"]


async def test_the_splits_of_the_demonstration_are_listed_page_by_page(tmp_path: Path) -> None:
    async with (
        open_simulator(tmp_path, create_bank(date(2026, 11, 20), 2)) as simulator,
        open_iboss(simulator.address(SERVICE_USER), QUICK) as client,
    ):
        first = await client.corporate_actions(limit=1)
        second = await client.corporate_actions(first.changed_after, limit=1)
    assert (first.more, second.more) == (True, False)
    assert [(one.symbol, one.ratio) for one in (*first.actions, *second.actions)] == [
        ("ATEC", 2),
        ("GE", Decimal("0.125")),
    ]


def test_the_ex_date_is_that_of_the_first_close_after_it() -> None:
    friday = datetime(2026, 11, 20, tzinfo=UTC)
    assert find_ex_date("XNYS", friday.replace(hour=15)) == friday.date()
    assert find_ex_date("XNYS", friday.replace(hour=22)) == date(2026, 11, 23)
    assert find_ex_date(None, friday.replace(hour=22)) == friday.date()


async def test_rates_of_bookings_and_what_moved_in_base_currency_are_answered(tmp_path: Path) -> None:
    plain = tiny_bank()
    euros = tuple(replace(one, base_currency="EUR", time_zone="Europe/Paris") for one in plain.accounts)
    async with open_simulator(tmp_path, replace(plain, accounts=euros), now=lambda: NOON) as simulator:
        await simulator.trade("IB1", "IBM", "5", "120")  # with a euro at 1.25 dollars
        async with open_iboss(simulator.address(), QUICK) as client:
            (found,) = (await client.positions(["IB1"])).portfolios
            (booked,) = (await client.transactions("s6")).bookings
    assert booked.rate_to_base == Decimal("0.8")
    assert [(one.day_traded, one.day_traded_base) for one in found.lines] == [(600, 480), (-600, -480)]
    assert found.time_zone == "Europe/Paris"


async def test_bookings_and_versions_survive_a_restart(tmp_path: Path) -> None:
    async with open_simulator(tmp_path) as simulator:
        reference = await simulator.trade("IB3", "IBM", "-10", "150")
    async with open_simulator(tmp_path) as simulator, open_iboss(simulator.address(), QUICK) as client:
        assert (await client.transactions("s6")).bookings[0].reference == reference
        (cash,) = (await client.positions(["IB3"])).portfolios[0].lines[1:]
        assert (cash.symbol, cash.quantity) == ("USD", 10_500)


async def test_control_refuses_nonsense_and_says_why(simulator: Simulator) -> None:
    for order in ({"failure": "explode"}, {"unknown": 1}, {"trade": {"account": "IB9"}}):
        answer = await simulator.http.post(f"{simulator.url}/control", json=order)
        assert answer.status_code == 400
        assert answer.json()["error"]


def test_an_unfinished_file_is_never_taken_for_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "iboss.sqlite3"
    path.with_suffix(".draft").write_bytes(b"half a database")
    create_ledger(path, tiny_bank())
    with open_ledger(path) as ledger:
        assert ledger.account_ids() == ["IB1", "IB2", "IB3"]


@pytest.fixture
def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    create_ledger(tmp_path / "iboss.sqlite3", tiny_bank())
    with open_ledger(tmp_path / "iboss.sqlite3") as opened:
        yield opened


async def test_random_trades_stay_within_cash_and_holding_and_reconcile(ledger: Ledger) -> None:
    desk = TradingDesk(ledger, None, random.Random(3), lambda: NOON)
    booked = [one for one in [await desk.trade() for _ in range(100)] if one]
    assert {one.type for one in booked} == {"buy", "sell"}
    for account in ledger.account_ids():
        lines = {one.symbol: one.quantity for one in ledger.positions(ledger.account(account, NOON))}
        assert lines["USD"] == sum(one.amount for one in ledger.bookings([account], 0, 1000)) >= 0
        assert lines.get("IBM", 0) >= 0


async def test_trades_are_made_at_the_live_price(ledger: Ledger, redis_url: str) -> None:
    redis = create_redis(redis_url, "tests")
    await LiveStore(redis).write_quotes({"IBM": b'{"last": 131.25, "bid": 131.2}', "EUR": b"nonsense"})
    booked = await TradingDesk(ledger, redis, random.Random(3), lambda: NOON).trade()
    await redis.aclose()
    assert booked is not None
    assert booked.price == Decimal("131.25")
    assert booked.amount == -(booked.quantity or 0) * Decimal("131.25")


async def test_without_redis_trades_are_made_at_the_last_close(ledger: Ledger) -> None:
    redis = create_redis("redis://127.0.0.1:1/0", "tests")
    assert (await TradingDesk(ledger, redis, random.Random(3), lambda: NOON).prices())["IBM"] == 120.0
    await redis.aclose()


def test_rates_go_through_the_dollar_whichever_way_they_are_quoted() -> None:
    prices = {"EUR/USD": 1.25, "USD/CHF": 0.8}
    assert rate_between("EUR", "USD", prices) == Decimal("1.25")
    assert rate_between("CHF", "EUR", prices) == 1
    assert rate_between("USD", "CHF", prices) == Decimal("0.8")


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"last": null}', b'{"last": -1}', b'{"last": "1"}'])
def test_a_quote_without_a_price_is_none(document: bytes) -> None:
    assert quoted_price(document) is None


def test_passwords_are_not_in_the_file(tmp_path: Path) -> None:
    create_ledger(tmp_path / "iboss.sqlite3", tiny_bank())
    content = (tmp_path / "iboss.sqlite3").read_bytes()
    assert SERVICE.password.encode() not in content
    assert CLIENT.password.encode() not in content
