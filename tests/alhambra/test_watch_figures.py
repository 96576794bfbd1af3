"""Numbers keep their places and every digit that matters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alhambra.watch_figures import BLOCKS, age, align, amount, chart, exact, minor_units


def test_amounts_have_the_digits_of_their_currency_and_zero_has_no_sign() -> None:
    assert amount(1_234_567.891, minor_units("EUR")) == "1,234,567.89"
    assert amount(1_234.0, minor_units("JPY"), signed=True) == "+1,234"
    assert amount(-0.5, minor_units("KWD")) == "-0.500"
    assert amount(-0.001, 2, signed=True) == "0.00"


def test_prices_show_every_digit_and_align_at_the_point() -> None:
    texts = [exact(1_234.5, 2), exact(1.08425, 2), exact(3.0, 2)]
    assert texts == ["1,234.50", "1.08425", "3.00"]
    assert align(texts) == ["1,234.50   ", "1.08425", "3.00   "]
    assert align([exact(120.0), exact(0.5)]) == ["120  ", "0.5"]
    assert align([]) == []


def test_ages_are_short() -> None:
    assert [age(one) for one in (-1.0, 0.44, 61.0, 7_300.0, 345_600.0)] == ["0.0 s", "0.4 s", "1 min", "2 h", "4 d"]


@given(st.lists(st.floats(-1e12, 1e12), max_size=60), st.integers(1, 40), st.integers(1, 4))
def test_a_chart_fills_its_place_and_never_leaves_it(values: list[float], width: int, height: int) -> None:
    lines = chart(values, width, height)
    assert [len(line) for line in lines] == [width] * height
    assert set("".join(lines)) <= set(BLOCKS)


def test_a_chart_shows_the_newest_values_the_highest_to_the_top() -> None:
    assert chart([9.0, 0.0, 1.0, 2.0], 3, 2) == [" ▁█", "▁██"]
