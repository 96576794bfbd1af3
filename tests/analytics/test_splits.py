"""Which splits lie between two moments, and what a record's lines are in the shares of a later one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from analytics.opening import DayLine, lines_of_day
from analytics.splits import NEVER_NS, NO_SPLITS, Split, Splits, create_splits

SHARE, OTHER = 3, 4
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
DAY_START, AT, LATER = 100, 200, 300


@dataclass
class Announced:
    instrument: int
    ex_date: date
    effective_at: datetime
    ratio: Decimal


def split(effective_ns: int, ratio: str, instrument: int = SHARE, ex_date: date = TUESDAY) -> Split:
    return Split(instrument, ex_date, effective_ns, Decimal(ratio))


def line(quantity: str, opening: str, traded: str = "0") -> DayLine:
    moved = Decimal(traded)
    return DayLine(SHARE, Decimal(quantity), Decimal(opening), moved, moved, Decimal(50), Decimal(1))


def amounts(found: tuple[DayLine, ...]) -> list[tuple[int, int, int]]:
    return [(int(one.quantity), int(one.opening_quantity), int(one.day_traded)) for one in found]


def test_splits_multiply_and_count_after_one_moment_up_to_another() -> None:
    splits = Splits([split(LATER, "0.04"), split(AT, "2"), split(AT, "3", OTHER)])
    assert splits.ratio(SHARE, 0, NEVER_NS) == Decimal("0.08")
    assert splits.ratio(SHARE, AT, LATER) == Decimal("0.04")
    assert splits.ratio(SHARE, AT - 1, AT) == 2
    assert splits.ratio(5, 0, NEVER_NS) == 1
    assert [one.instrument for one in splits.between(0, AT)] == [SHARE, OTHER]
    assert (splits.next_ns(0), splits.next_ns(AT), splits.next_ns(LATER)) == (AT, LATER, NEVER_NS)


def test_a_close_is_of_before_the_splits_whose_ex_date_is_later() -> None:
    splits = Splits([split(AT, "2", ex_date=TUESDAY), split(LATER, "5", ex_date=MONDAY)])
    assert splits.ratio_since_close(SHARE, MONDAY, LATER) == 2
    assert splits.ratio_since_close(SHARE, date(2026, 11, 20), LATER) == 10
    assert splits.ratio_since_close(SHARE, date(2026, 11, 20), AT) == 2
    assert splits.ratio_since_close(SHARE, TUESDAY, LATER) == 1


def test_a_split_is_read_from_what_was_announced_to_the_microsecond() -> None:
    at = datetime(2026, 11, 24, 9, 30, 0, 1, tzinfo=UTC)
    (found,) = create_splits([Announced(SHARE, TUESDAY, at, Decimal(2))]).between(0, NEVER_NS)
    assert found == split(1_795_512_600_000_001_000, "2")


def test_a_record_of_before_a_split_holds_old_shares_and_its_opening_is_of_its_day() -> None:
    splits = Splits([split(AT, "2")])
    found = lines_of_day([line("10", "8", "300")], AT - 1, DAY_START, splits, LATER)
    assert amounts(found) == [(20, 16, 300)]
    assert amounts(lines_of_day([line("10", "8", "300")], AT - 1, DAY_START, splits, AT - 1)) == [(10, 8, 300)]


def test_a_record_of_after_a_split_holds_new_shares_and_its_opening_old_ones() -> None:
    assert amounts(lines_of_day([line("20", "8")], AT, DAY_START, Splits([split(AT, "2")]), LATER)) == [(20, 16, 0)]


@pytest.mark.parametrize(("effective_ns", "opening"), [(DAY_START, 16), (DAY_START - 1, 8)])
def test_a_split_at_the_start_of_the_day_is_one_of_the_day(effective_ns: int, opening: int) -> None:
    splits = Splits([split(effective_ns, "2")])
    assert amounts(lines_of_day([line("20", "8")], AT, DAY_START, splits, LATER)) == [(20, opening, 0)]


def test_an_older_record_opens_with_what_is_held_in_the_shares_of_now() -> None:
    splits = Splits([split(DAY_START - 5, "2"), split(AT, "3")])
    assert amounts(lines_of_day([line("10", "8", "300")], DAY_START - 9, DAY_START, splits, LATER)) == [(60, 60, 0)]


def test_without_a_split_lines_are_those_of_the_record() -> None:
    record = [line("10", "8", "300")]
    assert lines_of_day(record, AT, DAY_START, NO_SPLITS, LATER)[0] is record[0]
