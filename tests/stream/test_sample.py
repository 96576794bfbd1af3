"""What is shown is compared with what the ledger makes of it, and every kind of fault is found."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
from books import CLOSE_NS, MINOR_UNITS, NOW_NS, create_prices, positions, quotes

from stream.messages import PortfolioPositions
from stream.pnl import Revaluation
from stream.processor import Processor
from stream.sample import Comparison, compare, minor_units_of, take_sample

LINES = ((1, "1234.56", "1100"), (3, "10", "1400"), (5, "20000", "19000"), (12, "-33", "-2900"))
RECORD = positions("p", "EUR", 1, *LINES)


@pytest.fixture
def processor() -> Processor:
    processor = Processor(create_prices())
    processor.apply_positions(RECORD, 0, 1)
    processor.apply_quotes(quotes((3, 157.575), (5, 99.125), (12, 91.3), (7, 1.1234), (9, 0.8812)), NOW_NS)
    processor.revalue(NOW_NS)
    return processor


def compared(processor: Processor, record: PortfolioPositions = RECORD) -> Comparison:
    return compare(take_sample(processor, processor.book.portfolios[0], NOW_NS), record, MINOR_UNITS)


def test_a_right_book_differs_in_nothing_but_the_noise_of_float64(processor: Processor) -> None:
    found = compared(processor)
    assert found.differences == ()
    assert 0.0 <= found.largest < 1e-6


def _wrong_quantity(processor: Processor) -> None:
    processor.book.quantity[1] += 1.0


def _wrong_sum(processor: Processor) -> None:
    processor.revaluation.equity[0] += 1.0


def _wrong_allocation(processor: Processor) -> None:
    processor.revaluation._sums[0, 0] += 1.0


def _wrong_cost(processor: Processor) -> None:
    processor.book.cost_base[1] += 0.01


def _wrong_constant(processor: Processor) -> None:
    processor.book.constants.basis[0] -= 1.0


def _wrong_unit_value(processor: Processor) -> None:
    processor.prices.unit_value[processor.prices.index_of[3]] *= 1.001
    processor.prices.dirty[:] = 1
    _pass_over(processor.revaluation)


def _pass_over(revaluation: Revaluation) -> None:
    revaluation._pass_over_all()


@pytest.mark.parametrize(
    ("corrupt", "named"),
    [
        (_wrong_quantity, "AAPL"),
        (_wrong_sum, "the equity kept by differences"),
        (_wrong_allocation, "the allocation by"),
        (_wrong_cost, "unrealised_pnl"),
        (_wrong_constant, "the day P&L of the floor"),
        (_wrong_unit_value, "value of AAPL"),
    ],
)
def test_a_fault_is_found_and_named(processor: Processor, corrupt: Callable[[Processor], None], named: str) -> None:
    corrupt(processor)
    assert named in "; ".join(compared(processor).differences)


def test_a_fault_smaller_than_rounding_shows_before_it(processor: Processor) -> None:
    processor.book.quantity[1] *= 1.0 + 1e-7
    assert compared(processor).largest > 0.01


def test_positions_of_an_earlier_day_open_anew_on_both_sides(processor: Processor) -> None:
    processor.begin_day(NOW_NS + 1, {3: (157.0, CLOSE_NS), 7: (1.12, CLOSE_NS)})
    processor.revalue(NOW_NS)
    found = compared(processor)
    assert found.differences == ()
    assert found.largest < 1e-6


def test_another_number_of_rows_is_a_difference_and_no_crash(processor: Processor) -> None:
    other = positions("p", "EUR", 1, (1, "1234.56", "1100"))
    found = compared(processor, other)
    assert found.largest == np.inf
    assert any("the rows are" in one for one in found.differences)


def test_digits_are_those_of_the_currencies() -> None:
    assert minor_units_of(create_prices()) == MINOR_UNITS
    assert Decimal(10) ** MINOR_UNITS["JPY"] == 1
