"""The records of the topics survive the wire, and garbage is refused with a reason."""

import numpy as np
import pytest
from books import positions, quotes
from hypothesis import given
from hypothesis import strategies as st

from stream.messages import (
    QuoteBatch,
    UnreadableMessage,
    decode_positions,
    decode_quotes,
    encode_message,
    encode_quotes,
    partition_quotes,
)

prices = st.floats(allow_nan=True, allow_infinity=True)
rows = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), prices, prices, prices, prices, st.integers(-(2**63), 2**63 - 1)), max_size=50
)


def batch_of(lines: list[tuple[int, float, float, float, float, int]]) -> QuoteBatch:
    columns = list(zip(*lines, strict=True)) or [()] * 6
    kinds = (np.uint32, np.float64, np.float64, np.float64, np.float64, np.int64)
    return QuoteBatch("test", 7, *(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))


@given(rows)
def test_a_quote_batch_survives_the_wire(lines) -> None:
    sent = batch_of(lines)
    got = decode_quotes(encode_quotes(sent))
    assert (got.source, got.received_ns) == ("test", 7)
    for name in ("instrument", "bid", "ask", "last", "volume", "event_ns"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name))


@given(rows, st.integers(1, 12))
def test_partitioning_loses_nothing_and_keeps_the_order(lines, partitions) -> None:
    whole = batch_of(lines)
    parts = partition_quotes(whole, partitions)
    assert sum(len(part) for _, part in parts) == len(whole)
    for key, part in parts:
        mine = whole.instrument % partitions == key
        np.testing.assert_array_equal(part.event_ns, whole.event_ns[mine])
        assert (part.instrument % partitions == key).all()


@pytest.mark.parametrize("garbage", [b"", b"{}", b"\x00\xff", b"[1,2", encode_quotes(quotes((3, 1.0)))[:-5]])
def test_garbage_is_refused(garbage) -> None:
    with pytest.raises(UnreadableMessage):
        decode_quotes(garbage)
    with pytest.raises(UnreadableMessage):
        decode_positions(garbage)


def test_columns_of_different_length_are_refused() -> None:
    batch = quotes((3, 1.0), (4, 2.0))
    torn = QuoteBatch("test", 0, batch.instrument, batch.bid[:1], batch.ask, batch.last, batch.volume, batch.event_ns)
    with pytest.raises(UnreadableMessage, match="differ in length"):
        decode_quotes(encode_quotes(torn))


def test_booked_quantities_stay_decimal() -> None:
    record = positions("p", "USD", 1, (3, "10.000001", "1500.10"))
    assert decode_positions(encode_message(record)) == record
