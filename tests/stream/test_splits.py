"""Over a split nothing jumps, whatever is known first: the price, the positions, or the split itself."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from books import CLOSE_NS, MINOR_UNITS, NOW_NS, SPECS, positions, quotes
from hypothesis import given
from hypothesis import strategies as st

from analytics.splits import NO_SPLITS, Split, Splits
from stream.alert_rules import Rule, RuleBook
from stream.messages import PortfolioPositions, Position, ValuationRow
from stream.prices import PriceTable
from stream.processor import Processor
from stream.sample import compare, take_sample

SHARE, OTHER = 3, 4  # closed at 150 and at 110.5
SECOND = 1_000_000_000
OPENED_NS = NOW_NS - 100 * SECOND
EX_DATE = date(1970, 1, 2)


def split(ratio: str, at_ns: int = NOW_NS, instrument: int = SHARE) -> Split:
    return Split(instrument, EX_DATE, at_ns, Decimal(ratio))


def create(*splits: Split, shares_ns: int = OPENED_NS) -> Processor:
    return Processor(PriceTable(MINOR_UNITS, SPECS, Splits(splits), shares_ns), OPENED_NS)


def record(
    version: int, quantity: str, opening: str, event_ns: int, traded: str = "0", cost: str = "1400"
) -> PortfolioPositions:
    moved = Decimal(traded)
    line = Position(SHARE, Decimal(quantity), Decimal(cost), Decimal(cost), Decimal(opening), moved, Decimal(0), moved)
    return PortfolioPositions("p", version, "USD", (line,), event_ns, event_ns)


def shown(processor: Processor, now_ns: int) -> ValuationRow:
    processor.revalue(now_ns)
    return processor.take(0, now_ns).rows[0]


def figures(processor: Processor, now_ns: int) -> tuple[float, float, float, float]:
    """Return (quantity, price, prior close, day P&L) as shown."""
    row = shown(processor, now_ns)
    return row.quantity, row.price, row.prior_close, row.day_pnl


def is_right(processor: Processor, record: PortfolioPositions) -> bool:
    """Say whether what is shown is what the record makes in `Decimal`, to the minor unit."""
    found = compare(take_sample(processor, processor.book.portfolios[0], NOW_NS), record, MINOR_UNITS)
    assert found.differences == ()
    return found.largest < 1e-3


def test_a_split_before_the_first_price_leaves_value_and_close_comparable() -> None:
    processor, held = create(split("2")), record(1, "10", "10", NOW_NS - 50)
    processor.apply_positions(held, 0, 1)
    assert figures(processor, NOW_NS - 1) == (10, 150.0, 150.0, 0.0)
    assert figures(processor, NOW_NS) == (20, 75.0, 75.0, 0.0)
    assert is_right(processor, held)
    processor.apply_positions(after := record(2, "20", "10", NOW_NS + 5), 0, 1)  # IBOSS says so itself, later
    assert figures(processor, NOW_NS + 9) == (20, 75.0, 75.0, 0.0)
    assert is_right(processor, after)


def test_a_split_after_prices_divides_them_and_takes_quotes_of_after_it_as_they_are() -> None:
    processor, held = create(split("2")), record(1, "10", "10", NOW_NS - 50)
    processor.apply_positions(held, 0, 1)
    processor.apply_quotes(quotes((SHARE, 156.0), event_ns=NOW_NS - 10), NOW_NS)
    assert figures(processor, NOW_NS - 1) == (10, 156.0, 150.0, 60.0)
    assert figures(processor, NOW_NS) == (20, 78.0, 75.0, 60.0)
    processor.apply_quotes(quotes((SHARE, 157.0), event_ns=NOW_NS - 5), NOW_NS)  # late, in old shares
    assert figures(processor, NOW_NS + 1) == (20, 78.0, 75.0, 60.0)
    processor.apply_quotes(quotes((SHARE, 79.0), event_ns=NOW_NS + 2), NOW_NS + 2)
    assert figures(processor, NOW_NS + 3) == (20, 79.0, 75.0, 80.0)
    assert is_right(processor, held)


def test_what_is_kept_by_differences_goes_on_right_after_a_split() -> None:
    processor, held = create(split("2")), record(1, "10", "10", NOW_NS - 50)
    processor.revaluation.pace.full_ns = 1e9  # so that it follows changes, however small the book
    processor.apply_positions(held, 0, 1)
    processor.revalue(NOW_NS)
    for price in (76.0, 77.5):
        processor.apply_quotes(quotes((SHARE, price), event_ns=NOW_NS + 1), NOW_NS + 1)
        processor.revalue(NOW_NS + 1)
        assert processor.revaluation.equity[0] == 20 * price * 100  # before a document, which adds up anew
        assert is_right(processor, held)


def test_a_split_at_the_very_midnight_is_one_of_the_day() -> None:
    processor = create(split("2", OPENED_NS), shares_ns=OPENED_NS - 1)
    held = record(1, "20", "10", OPENED_NS + 5)
    processor.apply_positions(held, 0, 1)
    assert figures(processor, OPENED_NS + 10) == (20, 75.0, 75.0, 0.0)
    assert is_right(processor, held)


def test_a_reverse_split_of_one_for_25() -> None:
    processor, held = create(split("0.04")), record(1, "250", "250", NOW_NS - 50)
    processor.apply_positions(held, 0, 1)
    processor.apply_quotes(quotes((SHARE, 151.0), event_ns=NOW_NS - 10), NOW_NS)
    assert figures(processor, NOW_NS - 1) == (250, 151.0, 150.0, 250.0)
    assert figures(processor, NOW_NS) == (10, 3775.0, 3750.0, 250.0)
    assert is_right(processor, held)


def test_a_split_and_a_trade_of_one_day() -> None:
    """10 at the close of 150, a split 2 for 1, then 4 new ones bought at 76: at 77 the day's gain is 20 * 2 + 4."""
    processor = create(split("2"))
    processor.apply_positions(record(1, "10", "10", NOW_NS - 50), 0, 1)
    processor.revalue(NOW_NS)
    bought = record(2, "24", "10", NOW_NS + 10, traded="304")
    processor.apply_positions(bought, 0, 1)
    processor.apply_quotes(quotes((SHARE, 77.0), event_ns=NOW_NS + 20), NOW_NS + 20)
    assert figures(processor, NOW_NS + 20) == (24, 77.0, 75.0, 44.0)
    assert is_right(processor, bought)


def test_a_trade_before_the_split_is_split_with_the_rest() -> None:
    processor, bought = create(split("2")), record(1, "12", "10", NOW_NS - 5, traded="304")
    processor.apply_positions(bought, 0, 1)
    assert figures(processor, NOW_NS - 1) == (12, 150.0, 150.0, -4.0)
    assert figures(processor, NOW_NS) == (24, 75.0, 75.0, -4.0)
    assert is_right(processor, bought)


def test_two_splits_of_one_day_apply_one_after_the_other_and_at_once() -> None:
    processor, held = create(split("2"), split("5", NOW_NS + 100)), record(1, "10", "10", NOW_NS - 50)
    processor.apply_positions(held, 0, 1)
    processor.apply_quotes(quotes((SHARE, 160.0), event_ns=NOW_NS - 10), NOW_NS)
    assert figures(processor, NOW_NS + 50) == (20, 80.0, 75.0, 100.0)
    assert figures(processor, NOW_NS + 150) == (100, 16.0, 15.0, 100.0)
    assert is_right(processor, held)
    asleep = create(split("2"), split("5", NOW_NS + 100))
    asleep.apply_positions(held, 0, 1)
    asleep.apply_quotes(quotes((SHARE, 160.0), event_ns=NOW_NS - 10), NOW_NS)
    assert figures(asleep, NOW_NS + 150) == (100, 16.0, 15.0, 100.0)


def test_a_worker_that_begins_in_the_middle_shows_the_same() -> None:
    """Closes come in new shares; marks and records come as they were made, and say by their time in which shares."""
    processor, held = create(split("2"), shares_ns=NOW_NS + 10), record(1, "10", "10", NOW_NS - 50)
    processor.prices.roll("UTC", {SHARE: (75.0, CLOSE_NS)})
    processor.apply_positions(held, 0, 1)
    processor.apply_quotes(quotes((SHARE, 156.0), event_ns=NOW_NS - 10), NOW_NS)
    assert figures(processor, NOW_NS + 20) == (20, 78.0, 75.0, 60.0)
    assert is_right(processor, held)


def test_the_time_of_a_mark_says_in_which_shares_it_is_when_it_is_stored_and_recalled() -> None:
    processor = create(split("2"))
    processor.apply_quotes(quotes((SHARE, 156.0), event_ns=NOW_NS - 10), NOW_NS)
    processor.revalue(NOW_NS)
    place = processor.prices.place(SHARE)
    assert (processor.prices.mark[place], processor.prices.mark_ns[place]) == (78.0, NOW_NS)
    recalled = create(split("2"), shares_ns=NOW_NS + 10)
    recalled.apply_quotes(quotes((SHARE, 78.0), event_ns=NOW_NS), NOW_NS)
    recalled.revalue(NOW_NS + 10)
    assert recalled.prices.price[place] == 78.0


def test_the_next_day_opens_in_new_shares_for_records_of_before_and_of_after_its_start() -> None:
    processor = create(split("2"))
    processor.apply_positions(record(1, "10", "10", NOW_NS - 50), 0, 1)
    processor.revalue(NOW_NS)
    tomorrow = NOW_NS + 1000
    processor.begin_day(tomorrow, {SHARE: (76.0, tomorrow - 1)})
    processor.apply_quotes(quotes((SHARE, 77.0), event_ns=tomorrow + 1), tomorrow + 1)
    assert figures(processor, tomorrow + 1) == (20, 77.0, 76.0, 20.0)
    assert is_right(processor, record(1, "10", "10", NOW_NS - 50))


def test_a_record_of_the_new_day_that_comes_before_the_day_has_rolled_opens_right() -> None:
    processor = create(split("2"))
    processor.apply_positions(record(1, "10", "10", NOW_NS - 50), 0, 1)
    processor.revalue(NOW_NS)
    tomorrow = NOW_NS + 1000
    early = record(2, "24", "20", tomorrow + 5, traded="300")
    processor.apply_positions(early, 0, 1)
    processor.begin_day(tomorrow, {SHARE: (76.0, tomorrow - 1)})
    assert figures(processor, tomorrow + 10)[0] == 24
    assert is_right(processor, early)


def test_other_instruments_and_those_nobody_holds_stay_as_they_are() -> None:
    processor = create(split("2"), split("7", instrument=12), split("3", instrument=999))
    processor.apply_positions(positions("p", "USD", 1, (SHARE, "10", "0"), (OTHER, "4", "0")), 0, 1)
    processor.revalue(NOW_NS + 1)
    rows = {row.symbol: (row.quantity, row.prior_close) for row in processor.take(0, NOW_NS).rows}
    assert rows["XOM"] == (4, 110.5)


def test_change_in_percent_is_against_the_close_in_new_shares() -> None:
    processor = create(split("2"))
    rules = RuleBook(processor, with_instruments=True)
    rules.put(Rule(UUID(int=1), 1, "price_change_pct", SHARE, None, -1, -10.0, repeats=False, armed=True))
    processor.apply_quotes(quotes((SHARE, 151.0), event_ns=NOW_NS - 10), NOW_NS)
    for at in (NOW_NS - 1, NOW_NS):
        processor.revalue(at)
        assert rules.judge(at) == ([], [])
    processor.apply_quotes(quotes((SHARE, 67.0), event_ns=NOW_NS + 1), NOW_NS + 1)
    processor.revalue(NOW_NS + 1)
    ((tripped,), _) = rules.judge(NOW_NS + 1)
    assert round(tripped.value, 2) == -10.67


def test_splits_to_come_are_learned_and_those_that_came_too_late_are_not() -> None:
    processor = create(shares_ns=NOW_NS)
    processor.apply_positions(record(1, "10", "10", NOW_NS - 50), 0, 1)
    assert processor.learn_splits(Splits([split("2", NOW_NS + 5)]))
    assert figures(processor, NOW_NS + 5)[:2] == (20, 75.0)
    assert not processor.learn_splits(Splits([split("3", NOW_NS + 5)])), "it was applied as 2 for 1"
    assert not processor.learn_splits(NO_SPLITS), "it was taken back"
    assert not processor.learn_splits(Splits([split("2", NOW_NS + 5), split("3", NOW_NS - 5)]))
    assert processor.learn_splits(Splits([split("2", NOW_NS + 5), split("3", NOW_NS - 5, instrument=999)]))
    assert figures(processor, NOW_NS + 6)[:2] == (20, 75.0)


def test_what_split_before_everything_that_is_held_needs_no_new_start() -> None:
    processor = create(shares_ns=NOW_NS)
    processor.apply_positions(record(1, "10", "10", NOW_NS - 50), 0, 1)
    assert processor.learn_splits(Splits([split("2", CLOSE_NS - 1)]))
    assert figures(processor, NOW_NS)[:2] == (10, 150.0)


RATIOS = st.sampled_from(["2", "3", "0.04", "1.5", "0.333333333333333333", "20"])


@given(
    splits=st.lists(st.tuples(RATIOS, st.integers(-200, 200)), max_size=3),
    held_at=st.integers(-300, 200),
    opening=st.integers(1, 5000),
    quoted_at=st.integers(-300, 300),
    price=st.integers(1, 100_000),
    looks=st.lists(st.integers(-200, 300), max_size=4),
    day_at=st.one_of(st.none(), st.integers(-150, 250)),
)
def test_live_equals_batch_whatever_comes_when(
    splits: list[tuple[str, int]],
    held_at: int,
    opening: int,
    quoted_at: int,
    price: int,
    looks: list[int],
    day_at: int | None,
) -> None:
    processor = create(*(split(ratio, NOW_NS + at) for ratio, at in splits))
    held = record(1, str(opening + 7), str(opening), NOW_NS + held_at, traded="-33.25")
    processor.apply_positions(held, 0, 1)
    processor.apply_quotes(quotes((SHARE, price / 100), event_ns=NOW_NS + quoted_at), NOW_NS + 300)
    for at in sorted(looks):
        processor.revalue(NOW_NS + at)
    if day_at is not None:
        processor.begin_day(NOW_NS + day_at, {SHARE: (150.0, NOW_NS + day_at - 1)})
    processor.revalue(NOW_NS + 400)
    assert is_right(processor, held)
