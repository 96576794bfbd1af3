"""What the book costs, as ratios within one run: against a pass in NumPy, against itself, against the memory.

They print figures and never fail on a time: `make bench-ratios`, or `pytest tests/benchmarks --benchmark-only -s`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from alhambra.bench.book import Market, compare_exactly, create_book, hot_bytes
from stream.messages import PortfolioPositions, encode_message
from stream.processor import Processor

PORTFOLIOS, POSITIONS, INSTRUMENTS = 10_000, 20, 5_000
Book = tuple[Processor, list[PortfolioPositions], Market]


@pytest.fixture(scope="module")
def book() -> Book:
    random = np.random.default_rng(1)
    processor, records = create_book(random, PORTFOLIOS, POSITIONS, INSTRUMENTS)
    return processor, records, Market(processor, random)


def median_s(act: Callable[[], object], rounds: int = 15) -> float:
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def test_a_full_pass_against_numpy(benchmark: BenchmarkFixture, book: Book) -> None:
    processor, _, market = book
    prices, held, size = processor.prices, processor.book, len(processor.book)
    everything = np.arange(len(prices.specs))

    def turn() -> None:
        processor.revalue(0)

    def move() -> None:
        processor.apply_quotes(market.tick(everything), 2**62)

    owner = np.repeat(np.arange(size), held.count[:size])
    used = slice(0, held.used)

    def with_numpy() -> np.ndarray:
        """Value everything without allocations: only equity."""
        unit = prices.unit_value[held.instrument[used]]
        cross = prices.cross[prices.currency[held.instrument[used]], held.base[owner]]
        return np.bincount(owner, np.rint(held.quantity[used] * unit * cross), size)

    benchmark.pedantic(turn, setup=move, rounds=15)
    move()
    processor.revalue(0)
    assert np.abs(with_numpy() - processor.revaluation.equity[:size]).max() <= POSITIONS  # it rounds without the grid
    if benchmark.stats is not None:
        ratio = median_s(with_numpy, 5) / benchmark.stats.stats.median
        print(f"\nequity alone in NumPy takes {ratio:.1f} times a full pass with its four allocations")


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_following_what_ticked_against_a_full_pass(benchmark: BenchmarkFixture, book: Book, share: float) -> None:
    processor, records, market = book
    touched, changes = benchmark.pedantic(market.time_incremental, args=(share,), rounds=1)
    full = market.time_full(5)
    print(f"\n{share:.1%} of instruments touch {touched:.1%} of portfolios, in {changes / full:.2f} of a full pass")
    assert compare_exactly(processor, records[:50])[0] == 0


def test_a_new_version_of_one_portfolio(benchmark: BenchmarkFixture, book: Book) -> None:
    processor, records, market = book
    versions = iter(range(1_000_000, 2_000_000))

    def change() -> None:
        processor.apply_positions(msgspec.structs.replace(records[7], version=next(versions)), 0, 1)

    benchmark.pedantic(change, rounds=200)
    full = market.time_full(5)
    if benchmark.stats is not None:
        print(f"\na changed portfolio costs {benchmark.stats.stats.median / full:.3f} of a full pass")


def test_a_document(benchmark: BenchmarkFixture, book: Book) -> None:
    processor, _, market = book
    document = benchmark(lambda: encode_message(processor.take(11, 1)))
    if benchmark.stats is not None:
        full = market.time_full(5) / len(processor.book)
        print(
            f"\na document of {len(document):,} bytes costs {benchmark.stats.stats.median / full:.0f} valuations of it"
        )


def test_memory_a_position(book: Book) -> None:
    processor, _, _ = book
    size = hot_bytes(processor) / processor.book.used
    print(f"\n{size:.1f} bytes a position in the arrays of a cycle, index included")
    assert size < 40
