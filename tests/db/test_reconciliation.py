"""What is a break between positions and bookings, and what is only a matter of when the two were read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.breaks import (
    Break,
    breaks,
    count_open_breaks,
    record_breaks,
    resolve_account_breaks,
    resolve_portfolio_breaks,
    visible_breaks,
)
from db.ledger import Cursor, LedgerBooking, PositionSet, store
from db.portfolios import Viewer
from db.reconciliation import (
    Difference,
    as_of,
    booked_quantities,
    bookings_until,
    caught_up_at,
    comparable,
    differences,
    newest_positions,
    note_caught_up,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
FIRST = NOON - 10 * MINUTE
AMOUNTS = st.dictionaries(st.integers(0, 5), st.decimals(-100, 100, places=2), max_size=4)


@pytest.mark.parametrize(
    ("positions_at", "booked_at", "caught_up_at", "expected"),
    [
        (FIRST, FIRST, NOON, True),
        (FIRST, FIRST, None, True),
        (FIRST, None, NOON, False),
        (NOON - 59 * SECOND, FIRST, NOON, False),
        (FIRST, NOON - 59 * SECOND, NOON, False),
        (FIRST, FIRST, FIRST - SECOND, False),
        (FIRST, FIRST, datetime(1970, 1, 1, tzinfo=UTC), False),
    ],
    ids=[
        "both rest",
        "nobody reads pages",
        "nothing was booked",
        "positions just came",
        "a booking just came",
        "bookings were not read since the positions came",
        "the history is still being read",
    ],
)
def test_only_what_has_come_to_rest_is_compared(
    positions_at: datetime, booked_at: datetime | None, caught_up_at: datetime | None, expected: bool
) -> None:
    assert comparable(positions_at, booked_at, caught_up_at, NOON) is expected


@given(held=AMOUNTS, booked=AMOUNTS)
def test_differences_are_exact_and_nothing_else(held: dict[int, Decimal], booked: dict[int, Decimal]) -> None:
    found = {one.instrument: one.held - one.booked for one in differences(held, booked)}
    zero = Decimal(0)
    keys = held.keys() | booked.keys()
    assert found == {one: d for one in keys if (d := held.get(one, zero) - booked.get(one, zero))}


def test_a_line_that_is_nil_is_the_same_as_no_line() -> None:
    assert differences({1: Decimal("0.000000"), 2: Decimal(3)}, {2: Decimal("3.00")}) == []
    assert differences({}, {1: Decimal(2)}) == [Difference(1, Decimal(0), Decimal(2))]


def test_a_moment_is_rounded_up_so_that_its_own_bookings_count() -> None:
    assert as_of(1_500) == datetime(1970, 1, 1, microsecond=2, tzinfo=UTC)
    assert as_of(2_000) == datetime(1970, 1, 1, microsecond=2, tzinfo=UTC)


def booking(bank, client: str, reference: str, at: datetime, amount: str, quantity: str | None = None) -> LedgerBooking:
    instrument = 1 if quantity else None
    shares = Decimal(quantity) if quantity else None
    return LedgerBooking(
        "iboss", reference, 1, bank.portfolios[client], "buy" if quantity else "deposit", Decimal(amount), "USD", at,
        at, instrument, shares,
    )  # fmt: skip


async def test_bookings_add_up_by_portfolio_to_the_moment_asked_for_each(bank) -> None:
    bookings = [
        booking(bank, "carol", "C1", FIRST, "1000"),
        booking(bank, "carol", "C2", FIRST + SECOND, "-300.25", "3.5"),
        booking(bank, "carol", "C3", NOON, "-100", "1"),
        booking(bank, "dora", "D1", FIRST, "7"),
    ]
    await store(bank.connection, None, [], bookings)
    carol, dora = bank.portfolios["carol"], bank.portfolios["dora"]
    found = await booked_quantities(bank.connection, {carol: FIRST + SECOND, dora: FIRST - SECOND})
    assert found[carol].quantities == {1: Decimal("3.5"), 2: Decimal("699.75")}
    assert found[carol].received_at == NOON
    assert (found[dora].quantities, found[dora].received_at) == ({}, FIRST)
    entries = await bookings_until(bank.connection, {carol: FIRST + SECOND, dora: NOON})
    amounts = {one: [each.amount for each in some] for one, some in entries.items()}
    assert amounts == {carol: [1000, Decimal("-300.25")], dora: [7]}
    assert [(one.symbol, one.rate_to_base, one.rated) for one in entries[carol]] == [(None, 1, False), ("1", 1, False)]


async def test_the_newest_positions_come_in_pages_and_portfolios_without_any_are_told(bank) -> None:
    carol = bank.portfolios["carol"]
    sets = [PositionSet(carol, version, FIRST, FIRST, b'{"version": %d}' % version) for version in (1, 3, 2)]
    await store(bank.connection, None, sets, [])
    pages, after = [], UUID(int=0)
    while page := await newest_positions(bank.connection, after, 1):
        pages += page
        after = page[-1].portfolio_id
    found = {one.account: None if one.positions is None else one.positions.version for one in pages}
    assert found == {"IB-carol": 3, "IB-dora": None}


async def test_whether_bookings_were_read_to_their_end_is_known_from_the_first_page_on(bank) -> None:
    assert await caught_up_at(bank.connection) is None
    await note_caught_up(bank.connection, "iboss", NOON)
    assert await caught_up_at(bank.connection) is None
    await store(bank.connection, Cursor("iboss", "transactions", "s1"), [], [])
    assert await caught_up_at(bank.connection) == datetime(1970, 1, 1, tzinfo=UTC)
    await note_caught_up(bank.connection, "iboss", NOON)
    await note_caught_up(bank.connection, "iboss", FIRST)
    assert await caught_up_at(bank.connection) == NOON


def broken(bank, client: str = "carol", instrument: int | None = 1, held: str = "5") -> Break:
    return Break(f"IB-{client}", "quantity", bank.portfolios[client], instrument, Decimal(6), Decimal(held), 4)


async def test_a_break_that_persists_keeps_its_beginning_and_one_that_is_gone_is_resolved(bank) -> None:
    both = [broken(bank), broken(bank, instrument=2)]
    await record_breaks(bank.connection, both, FIRST)
    await record_breaks(bank.connection, [broken(bank, held="5.5")], NOON)
    await resolve_portfolio_breaks(bank.connection, [bank.portfolios["carol"]], NOON)
    (still,) = await breaks(bank.connection)
    assert (still.symbol, still.first_seen, still.last_seen, still.found) == ("AAPL", FIRST, NOON, Decimal("5.5"))
    gone = (await breaks(bank.connection, resolved=True))[-1]
    assert (gone.symbol, gone.last_seen, gone.resolved_at) == ("USD", FIRST, NOON)


async def test_a_break_that_comes_back_begins_anew(bank) -> None:
    carol = [bank.portfolios["carol"]]
    await record_breaks(bank.connection, [broken(bank)], FIRST)
    await resolve_portfolio_breaks(bank.connection, carol, FIRST + SECOND)
    await record_breaks(bank.connection, [broken(bank)], NOON)
    await resolve_portfolio_breaks(bank.connection, carol, NOON)
    assert [one.first_seen for one in await breaks(bank.connection, resolved=True)] == [NOON, FIRST]


async def test_what_was_not_looked_at_stays_as_it_was(bank) -> None:
    unknown = Break("IB-404", "account_unknown")
    await record_breaks(bank.connection, [broken(bank), broken(bank, "dora"), unknown], FIRST)
    await resolve_portfolio_breaks(bank.connection, [bank.portfolios["dora"]], NOON)
    assert {one.account for one in await breaks(bank.connection)} == {"IB-carol", "IB-404"}
    await resolve_account_breaks(bank.connection, NOON)
    found = await count_open_breaks(bank.connection)
    assert (found["quantity"], found["account_unknown"]) == (1, 0)


@pytest.mark.parametrize("role", ["client", "advisor", "kyc_agent", "compliance", "admin", "nonsense"])
@pytest.mark.parametrize("name", ["carol", "anna", "kyc_agent", "compliance", "admin"])
async def test_breaks_are_for_compliance_and_administrators_in_their_own_role(bank, name: str, role: str) -> None:
    await record_breaks(bank.connection, [broken(bank)], NOON)
    viewer = Viewer(bank.users[name], role)
    allowed = name == role and role in ("compliance", "admin")
    assert len(await visible_breaks(bank.connection, viewer)) == allowed
    await bank.connection.execute("update users set status = 'suspended' where id = $1", bank.users[name])
    assert await visible_breaks(bank.connection, viewer, resolved=True) == []
