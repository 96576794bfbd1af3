from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.lots import Disposal, Lots, derive_lots
from analytics.positions import derive_positions

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
LAST = START + timedelta(days=10_000)


@dataclass(frozen=True)
class Entry:
    type: str
    quantity: Decimal | None
    amount: Decimal
    rate_to_base: Decimal
    booked_at: datetime
    reference: str
    symbol: str | None = "A"
    currency: str = "USD"


def trades(*lines: tuple[str, str]) -> list[Entry]:
    """Book one trade a day, `T0`, `T1`…, of a quantity at a price; `split` in place of a price."""
    return [entry(number, Decimal(quantity), price) for number, (quantity, price) in enumerate(lines)]


def entry(number: int, quantity: Decimal, price: str | Decimal, rate: Decimal = Decimal(1)) -> Entry:
    kind = "split" if price == "split" else "buy" if quantity > 0 else "sell"
    amount = Decimal(0) if price == "split" else -quantity * Decimal(price)
    return Entry(kind, quantity, amount, rate, START + timedelta(days=number), f"T{number}")


def gains(lots: Lots) -> list[tuple[str, str, Decimal, Decimal]]:
    return [(one.reference, one.closed_by, one.quantity, one.gain) for one in lots.disposals]


def test_the_oldest_lot_is_sold_first() -> None:
    """15 sold at 13: all of the 10 bought at 10, gain 30, and 5 of those bought at 12, gain 5."""
    lots = derive_lots(trades(("10", "10"), ("10", "12"), ("-15", "13")))
    assert gains(lots) == [("T0", "T2", 10, 30), ("T1", "T2", 5, 5)]
    assert [(one.reference, one.quantity, one.cost) for one in lots.open] == [("T1", 5, 60)]


def test_a_disposal_tells_how_long_the_lot_was_held() -> None:
    (disposal,) = derive_lots([*trades(("10", "10")), entry(400, Decimal(-10), "9")]).disposals
    assert (disposal.days_held, disposal.proceeds, disposal.cost, disposal.short) == (400, 90, 100, False)


def test_short_lots_are_bought_back_in_the_order_they_were_sold() -> None:
    """Sold short 10 at 20 and 10 at 22; 15 bought back at 21: +10 and -(-1 x 5)."""
    lots = derive_lots(trades(("-10", "20"), ("-10", "22"), ("15", "21")))
    assert gains(lots) == [("T0", "T2", 10, -10), ("T1", "T2", 5, 5)]
    assert all(one.short and one.proceeds > 0 and one.cost > 0 for one in lots.disposals)
    assert [(one.quantity, one.cost) for one in lots.open] == [(-5, -110)]


def test_a_sale_beyond_what_is_held_closes_the_lots_and_opens_a_short_one() -> None:
    lots = derive_lots(trades(("10", "10"), ("-16", "11")))
    assert gains(lots) == [("T0", "T1", 10, 10)]
    assert [(one.reference, one.quantity, one.cost) for one in lots.open] == [("T1", -6, -66)]


def test_a_split_scales_the_lots_and_keeps_their_cost_and_age() -> None:
    """10 at 12 and 5 at 18 double: the first 20 sold at 8 had cost 6 each."""
    lots = derive_lots(trades(("10", "12"), ("5", "18"), ("15", "split"), ("-20", "8")))
    assert gains(lots) == [("T0", "T3", 20, 40)]
    assert [(one.reference, one.quantity, one.cost) for one in lots.open] == [("T1", 10, 90)]


def test_a_reverse_split_that_does_not_divide_evenly_loses_no_share() -> None:
    lots = derive_lots(trades(("10", "1"), ("10", "1"), ("1", "1"), ("-14", "split")))
    assert sum(one.quantity for one in lots.open) == 7
    assert [float(one.quantity) for one in lots.open] == pytest.approx([10 / 3, 10 / 3, 1 / 3])


@pytest.mark.parametrize("lines", [[("5", "split")], [("5", "1"), ("-5", "split")], [("5", "1"), ("-6", "split")]])
def test_a_split_that_closes_or_turns_a_position_is_refused(lines: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="split"):
        derive_lots(trades(*lines))
    with pytest.raises(ValueError, match="split"):
        derive_positions(trades(*lines), LAST)


def test_the_gain_in_base_currency_is_at_the_rates_of_both_days() -> None:
    """10 bought at 100 and 0.90, sold at 100 and 0.95: nothing in dollars, 50 in base currency."""
    one, other = entry(0, Decimal(10), "100", Decimal("0.90")), entry(1, Decimal(-10), "100", Decimal("0.95"))
    (disposal,) = derive_lots([one, other]).disposals
    assert (disposal.gain, disposal.gain_base) == (0, 50)


def test_the_last_part_of_a_lot_takes_what_rounding_left() -> None:
    """Half of a millionth rounds to nothing, twice."""
    bought = Entry("buy", Decimal(2), Decimal("-0.0001"), Decimal("0.01"), START, "T0")
    lots = derive_lots([bought, entry(1, Decimal(-1), "1"), entry(2, Decimal(-1), "1")])
    assert [one.cost_base for one in lots.disposals] == [0, Decimal("0.000001")]


def test_income_and_cash_make_no_lots() -> None:
    dividend = Entry("dividend", None, Decimal(5), Decimal(1), START, "D")
    deposit = Entry("deposit", None, Decimal(5), Decimal(1), START, "C", symbol=None)
    assert derive_lots([dividend, deposit]) == Lots((), ())


SPLITS = [Decimal(1), Decimal("0.5"), Decimal("-0.5"), Decimal("-0.875")]
STEPS = st.lists(
    st.tuples(
        st.integers(-500, 500).filter(bool),
        st.decimals("0.01", "999", places=2),
        st.decimals("0.5", "2", places=4),
        st.sampled_from([None, None, None, *SPLITS]),
    ),
    max_size=30,
)


def sequence(steps: list[tuple[int, Decimal, Decimal, Decimal | None]]) -> list[Entry]:
    """Book trades in tenths of a share and, where something is held, splits of it."""
    entries: list[Entry] = []
    held = Decimal(0)
    for number, (tenths, price, rate, ratio) in enumerate(steps):
        split = ratio is not None and held
        quantity = (held * ratio).quantize(Decimal("0.000001")) if split else Decimal(tenths) / 10
        if split and (not quantity or (held + quantity) * held <= 0):
            continue
        held += quantity
        entries.append(entry(number, quantity, "split" if split else price, rate))
    return entries


def total(disposals: tuple[Disposal, ...]) -> tuple[Decimal, Decimal]:
    return sum((one.gain for one in disposals), Decimal(0)), sum((one.gain_base for one in disposals), Decimal(0))


@given(STEPS)
def test_lots_add_up_to_the_position_and_no_money_is_lost(steps: list) -> None:
    entries = sequence(steps)
    lots = derive_lots(entries)
    lines = {one.symbol: one for one in derive_positions(entries, LAST)}
    quantity = sum((one.quantity for one in lots.open), Decimal(0))
    assert quantity == (lines["A"].quantity if "A" in lines else 0)
    assert all(one.quantity * quantity > 0 for one in lots.open)
    gain, gain_base = total(lots.disposals)
    assert gain - sum(one.cost for one in lots.open) == sum(one.amount for one in entries)
    booked = sum((one.amount * one.rate_to_base).quantize(Decimal("0.000001")) for one in entries)
    assert gain_base - sum(one.cost_base for one in lots.open) == booked


@given(STEPS, st.decimals("0.01", "999", places=2))
def test_fifo_and_average_cost_agree_once_everything_is_closed(steps: list, price: Decimal) -> None:
    entries = sequence(steps)
    held = sum((one.quantity for one in entries), Decimal(0))
    if held:
        entries.append(entry(len(steps), -held, price, Decimal("1.1")))
    lots = derive_lots(entries)
    (line,) = [one for one in derive_positions(entries, START) if one.symbol == "A"] or [None]
    assert lots.open == ()
    assert total(lots.disposals)[1] == (line.realised_today if line else 0)
