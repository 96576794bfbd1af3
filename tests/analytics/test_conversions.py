"""A conversion hands quantity, cost and lots of one instrument on to another, and realises nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from analytics.lots import derive_lots
from analytics.positions import DerivedPosition, derive_positions

OPENING = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    type: str
    symbol: str
    quantity: Decimal
    amount: Decimal = Decimal(0)
    booked_at: datetime = OPENING - timedelta(days=1)
    currency: str = "USD"
    rate_to_base: Decimal = Decimal("0.9")
    reference: str = "r"


def buy(quantity: str, price: str) -> Entry:
    size = Decimal(quantity)
    return Entry("buy", "OLD", size, -size * Decimal(price))


def conversion(out: str, into: str, at: datetime = OPENING - timedelta(hours=1)) -> list[Entry]:
    return [
        Entry("conversion_out", "OLD", Decimal(out), booked_at=at),
        Entry("conversion_in", "NEW", Decimal(into), booked_at=at),
    ]


def lines(*entries: Entry) -> dict[str, DerivedPosition]:
    return {line.symbol: line for line in derive_positions(entries, OPENING)}


def test_the_new_instrument_takes_over_the_cost_in_both_currencies() -> None:
    found = lines(buy("100", "2"), buy("100", "3"), *conversion("-200", "8"))
    assert "OLD" not in found
    assert (found["NEW"].quantity, found["NEW"].cost_basis, found["NEW"].cost_basis_base) == (8, 500, 450)
    assert found["USD"].quantity == -500


def test_a_part_that_is_converted_takes_its_part_of_the_cost() -> None:
    found = lines(buy("200", "2"), *conversion("-50", "50"))
    assert (found["OLD"].cost_basis, found["NEW"].cost_basis) == (300, 100)


def test_on_its_day_a_conversion_moves_at_cost_and_realises_nothing() -> None:
    found = lines(buy("200", "2"), *conversion("-200", "8", OPENING + timedelta(hours=1)))
    assert (found["OLD"].day_traded, found["NEW"].day_traded) == (-400, 400)
    assert (found["OLD"].realised_today, found["NEW"].realised_today) == (0, 0)
    assert found["OLD"].opening_quantity == 200


def test_what_is_not_held_is_converted_at_no_cost() -> None:
    found = lines(*conversion("-200", "8"))
    assert (found["OLD"].quantity, found["NEW"].quantity, found["NEW"].cost_basis) == (-200, 8, 0)


def test_lots_are_handed_on_with_their_dates_and_costs() -> None:
    lots = derive_lots([buy("100", "2"), buy("100", "3"), *conversion("-150", "6")])
    assert lots.disposals == ()
    assert [(lot.symbol, lot.quantity, lot.cost) for lot in lots.open] == [
        ("NEW", 4, 200),
        ("NEW", 2, 150),
        ("OLD", 50, 150),
    ]
    assert {lot.opened_at for lot in lots.open} == {OPENING - timedelta(days=1)}


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(1, 999)), min_size=1, max_size=5), st.data())
def test_no_cost_is_lost_on_the_way(bought: list[tuple[int, int]], data: st.DataObject) -> None:
    entries = [buy(str(quantity), str(price)) for quantity, price in bought]
    total = sum(quantity for quantity, _ in bought)
    out = data.draw(st.integers(1, total))
    into = data.draw(st.integers(1, 10_000))
    entries += conversion(str(-out), str(into))
    spent = sum(quantity * price for quantity, price in bought)
    found = lines(*entries)
    assert sum(line.cost_basis for name, line in found.items() if name != "USD") == spent
    lots = derive_lots(entries).open
    assert sum(lot.cost for lot in lots) == spent
    assert sum(lot.quantity for lot in lots if lot.symbol == "NEW") == into
