from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.positions import DerivedPosition, PositionLedger, derive_positions

OPENING = datetime(2026, 11, 21, tzinfo=UTC)
YESTERDAY = OPENING - timedelta(hours=12)
TODAY = OPENING + timedelta(hours=9)


@dataclass(frozen=True)
class Entry:
    type: str
    amount: Decimal
    symbol: str | None = None
    quantity: Decimal | None = None
    booked_at: datetime = YESTERDAY
    currency: str = "USD"
    rate_to_base: Decimal = Decimal(1)


def trade(quantity: str, price: str, at: datetime = YESTERDAY, rate: str = "1") -> Entry:
    size = Decimal(quantity)
    kind = "buy" if size > 0 else "sell"
    return Entry(kind, -size * Decimal(price), "AAPL", size, at, rate_to_base=Decimal(rate))


def derive(*entries: Entry) -> dict[str, DerivedPosition]:
    return {line.symbol: line for line in derive_positions(entries, OPENING)}


def test_purchases_add_up_to_their_average_cost() -> None:
    line = derive(trade("10", "100"), trade("30", "120"))["AAPL"]
    assert (line.quantity, line.cost_basis) == (40, 4600)


def test_a_sale_takes_out_cost_in_proportion_and_realises_the_rest() -> None:
    line = derive(trade("10", "100"), trade("30", "120"), trade("-20", "130", TODAY))["AAPL"]
    assert (line.quantity, line.cost_basis, line.realised_today) == (20, 2300, 300)


def test_cost_in_base_currency_is_at_the_rates_of_the_bookings() -> None:
    line = derive(trade("10", "100", rate="0.9"), trade("10", "100", rate="0.8"), trade("-10", "110", TODAY, "0.7"))[
        "AAPL"
    ]
    assert (line.cost_basis, line.cost_basis_base) == (1000, 850)
    assert line.realised_today == Decimal("770") - Decimal("850")


def test_the_opening_quantity_is_that_before_the_day_and_trades_since_are_counted_apart() -> None:
    lines = derive(trade("10", "100"), trade("5", "110", TODAY), trade("-3", "120", TODAY))
    assert (lines["AAPL"].opening_quantity, lines["AAPL"].day_traded) == (10, 550 - 360)
    assert (lines["USD"].opening_quantity, lines["USD"].day_traded) == (-1000, -190)


def test_a_booking_at_the_very_opening_belongs_to_the_day() -> None:
    assert derive(trade("10", "100", OPENING))["AAPL"].opening_quantity == 0


@pytest.mark.parametrize(("kind", "traded"), [("deposit", 50), ("withdrawal", 50), ("fx_in", 50), ("fx_out", 50)])
def test_flows_and_exchanges_are_not_profit(kind: str, traded: int) -> None:
    assert derive(Entry(kind, Decimal(50), booked_at=TODAY))["USD"].day_traded == traded


@pytest.mark.parametrize("kind", ["dividend", "coupon", "interest", "fee", "tax"])
def test_income_and_charges_of_an_instrument_move_from_its_line_to_cash(kind: str) -> None:
    lines = derive(Entry(kind, Decimal(50), "AAPL", booked_at=TODAY, rate_to_base=Decimal("0.9")))
    assert (lines["USD"].quantity, lines["USD"].day_traded, lines["USD"].day_traded_base) == (50, 50, 45)
    assert (lines["AAPL"].quantity, lines["AAPL"].day_traded, lines["AAPL"].day_traded_base) == (0, -50, -45)


@pytest.mark.parametrize("kind", ["interest", "fee", "tax"])
def test_income_and_charges_of_no_instrument_are_profit_and_loss_of_the_day_in_cash(kind: str) -> None:
    line = derive(Entry(kind, Decimal(50), booked_at=TODAY))["USD"]
    assert (line.quantity, line.day_traded, line.day_traded_base) == (50, 0, 0)


def test_what_moved_is_kept_in_base_currency_at_the_rate_of_each_booking() -> None:
    line = derive(trade("10", "100", TODAY, "0.9"), trade("-4", "110", TODAY, "0.8"))["AAPL"]
    assert (line.day_traded, line.day_traded_base) == (1000 - 440, 900 - 352)


def test_money_that_came_and_went_at_different_rates_is_a_line_still() -> None:
    """100 euros cost 110 and brought 120: nothing is held and nothing moved, but 10 were earned."""
    euros = [Entry("fx_in", Decimal(n), None, None, TODAY, "EUR", Decimal(r)) for n, r in ((100, "1.1"), (-100, "1.2"))]
    line = derive(*euros)["EUR"]
    assert (line.quantity, line.day_traded, line.day_traded_base) == (0, 0, -10)


def test_a_split_changes_the_quantity_and_neither_cost_nor_opening_nor_cash() -> None:
    lines = derive(trade("10", "100"), Entry("split", Decimal(0), "AAPL", Decimal(30), TODAY))
    line = lines["AAPL"]
    assert (line.quantity, line.cost_basis, line.cost_basis_base) == (40, 1000, 1000)
    assert (line.opening_quantity, line.day_traded, line.realised_today) == (10, 0, 0)
    assert (lines["USD"].quantity, lines["USD"].day_traded) == (-1000, 0)


def test_a_sale_after_a_reverse_split_realises_against_the_cost_of_the_old_shares() -> None:
    reverse = Entry("split", Decimal(0), "AAPL", Decimal(-30), TODAY)
    line = derive(trade("40", "10"), reverse, trade("-5", "42", TODAY))["AAPL"]
    assert (line.quantity, line.cost_basis, line.realised_today) == (5, 200, 10)


@pytest.mark.parametrize("change", ["-10", "-20"])
def test_a_split_that_leaves_nothing_or_turns_the_position_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match="a split cannot change 10"):
        derive(trade("10", "100"), Entry("split", Decimal(0), "AAPL", Decimal(change)))


def test_what_was_closed_before_today_is_gone_and_what_was_closed_today_stays() -> None:
    assert "AAPL" not in derive(trade("10", "100"), trade("-10", "110"))
    line = derive(trade("10", "100"), trade("-10", "110", TODAY))["AAPL"]
    assert (line.quantity, line.cost_basis, line.opening_quantity, line.day_traded, line.realised_today) == (
        0,
        0,
        10,
        -1100,
        100,
    )


def test_a_sale_beyond_what_is_held_opens_a_short_position_at_its_price() -> None:
    line = derive(trade("10", "100"), trade("-15", "120", TODAY))["AAPL"]
    assert (line.quantity, line.cost_basis, line.realised_today) == (-5, -600, 200)


def test_closing_a_short_position_realises_the_fall() -> None:
    line = derive(trade("-10", "100"), trade("10", "90", TODAY))["AAPL"]
    assert (line.quantity, line.cost_basis, line.realised_today) == (0, 0, 100)


def test_foreign_cash_keeps_its_average_rate_and_realises_nothing() -> None:
    euros = [
        Entry("fx_in", Decimal(amount), None, None, TODAY, "EUR", Decimal(rate))
        for amount, rate in ((100, "1.10"), (100, "1.20"), (-50, "1.30"))
    ]
    line = derive(*euros)["EUR"]
    assert (line.quantity, line.cost_basis, line.cost_basis_base, line.realised_today) == (
        150,
        150,
        Decimal("172.5"),
        0,
    )


def test_a_new_day_makes_the_quantities_the_opening_ones() -> None:
    ledger = PositionLedger()
    for entry in (trade("10", "100"), trade("-4", "110"), Entry("deposit", Decimal(2000))):
        ledger.book(entry)
    ledger.open_day()
    lines = {line.symbol: line for line in ledger.positions()}
    assert (lines["AAPL"].opening_quantity, lines["AAPL"].day_traded, lines["AAPL"].realised_today) == (6, 0, 0)
    assert lines["USD"].opening_quantity == lines["USD"].quantity


def test_no_bookings_are_no_positions() -> None:
    assert derive_positions([], OPENING) == ()


TRADES = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.decimals("0.01", "999", places=2), st.booleans()), max_size=30
)


@given(TRADES)
def test_quantities_cash_and_profit_always_reconcile(trades) -> None:
    entries = [
        trade(str(quantity), str(price), TODAY if today else YESTERDAY)
        for quantity, price, today in sorted(trades, key=lambda one: one[2])
    ]
    lines = derive(*entries)
    held, cash = (lines.get(symbol) for symbol in ("AAPL", "USD"))
    assert (held.quantity if held else 0) == sum(entry.quantity for entry in entries)
    assert (cash.quantity if cash else 0) == sum(entry.amount for entry in entries)
    assert (held.day_traded if held else 0) == -sum(entry.amount for entry in entries if entry.booked_at == TODAY)


@given(TRADES)
def test_cost_less_realised_profit_is_what_was_paid(trades) -> None:
    entries = [trade(str(quantity), str(price), TODAY) for quantity, price, _ in trades]
    line = derive(*entries).get("AAPL")
    paid = -sum(entry.amount for entry in entries)
    if line is not None:
        assert abs(line.cost_basis - line.realised_today - paid) < Decimal("0.0001")
        assert line.quantity * line.cost_basis >= 0
