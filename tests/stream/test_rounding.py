"""Rounding in binary gives what rounding in decimal gives."""

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.rounding import to_minor, to_minor_exact
from stream.rounding import round_minor, round_minor_columns


def test_half_cent_prices_round_as_in_decimal_where_a_plain_float_does_not() -> None:
    random = np.random.default_rng(1)
    quantity = random.integers(1, 1000, 20_000)
    price = (random.integers(1000, 50_000, 20_000) + 0.5) / 100
    exact = [
        int((Decimal(int(count)) * Decimal(str(mark)) * 100).quantize(Decimal(1), ROUND_HALF_EVEN))
        for count, mark in zip(quantity, price, strict=True)
    ]
    amounts = quantity * price * 100
    assert (round_minor_columns(amounts) == exact).all()
    assert (np.rint(amounts) != exact).any()


@settings(deadline=None)  # the first example compiles
@given(st.floats(-1e11, 1e11))
def test_the_four_forms_of_the_rule_agree(amount) -> None:
    assert to_minor(amount) == to_minor_exact(Decimal(amount))
    assert int(round_minor(amount)) == to_minor_exact(Decimal(amount))
    assert round_minor_columns(np.array([amount]))[0] == to_minor_exact(Decimal(amount))
