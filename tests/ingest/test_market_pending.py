import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.market.pending import PendingQuotes, conflate_quotes, merge_quotes
from stream.messages import QuoteBatch

TICKS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=30)


def batch_of(ticks: list[tuple[int, int]], source: str = "test", received_ns: int = 7) -> QuoteBatch:
    """Make a batch of (instrument, event time); the price tells the order of arrival."""
    nothing = np.full(len(ticks), np.nan)
    instrument = np.array([tick[0] for tick in ticks], np.uint32)
    last = np.arange(1.0, len(ticks) + 1)
    event_ns = np.array([tick[1] for tick in ticks], np.int64)
    return QuoteBatch(source, received_ns, instrument, nothing, nothing, last, nothing, event_ns)


def final_prices(batch: QuoteBatch) -> dict[int, float]:
    """Apply quotes one by one as the stream does: the newest event wins, of equal ones the last to arrive."""
    newest: dict[int, tuple[int, float]] = {}
    for instrument, last, event in zip(batch.instrument.tolist(), batch.last, batch.event_ns.tolist(), strict=True):
        if instrument not in newest or event >= newest[instrument][0]:
            newest[instrument] = (event, float(last))
    return {instrument: price for instrument, (_, price) in newest.items()}


@given(TICKS)
def test_conflation_keeps_one_quote_an_instrument_and_every_final_price(ticks: list[tuple[int, int]]):
    batch = batch_of(ticks)
    conflated = conflate_quotes(batch)
    assert len(conflated) == len(set(batch.instrument.tolist()))
    assert final_prices(conflated) == final_prices(batch)


@given(st.lists(TICKS, min_size=1, max_size=5), st.integers(1, 40))
def test_what_is_taken_is_what_was_added_in_its_order(parts: list[list[tuple[int, int]]], ticks: int):
    pending = PendingQuotes()
    for part in parts:
        pending.add(batch_of(part))
    taken = []
    while pending.ticks:
        taken.append(pending.take(ticks))
    assert merge_quotes(taken).event_ns.tolist() == [event for part in parts for _, event in part]


def test_batches_of_two_sources_are_never_merged():
    pending = PendingQuotes()
    for source in ("one", "one", "two"):
        pending.add(batch_of([(1, 1), (1, 2)], source))
    assert pending.conflate() == 4
    assert [pending.take(100).source for _ in range(2)] == ["one", "two"]
    assert pending.ticks == 0


def test_merged_quotes_were_received_when_the_first_of_them_was():
    merged = merge_quotes([batch_of([(1, 1)], received_ns=7), batch_of([(1, 2)], received_ns=9)])
    assert (len(merged), merged.received_ns) == (2, 7)


def test_nothing_cannot_be_taken():
    with pytest.raises(IndexError):
        PendingQuotes().take(1)
