import numpy as np
import pytest

from alhambra.bench.encodings import Encoding, Measurement, create_batch, encodings, write_table


@pytest.mark.parametrize("encoding", encodings(), ids=lambda encoding: encoding.name)
def test_what_is_compared_carries_the_same_quotes(encoding: Encoding):
    batch = create_batch(100)
    decoded = encoding.decode(encoding.encode(batch))
    for name in ("instrument", "bid", "ask", "last", "volume", "event_ns"):
        assert np.array_equal(
            getattr(decoded, name), getattr(batch, name), equal_nan=name not in ("instrument", "event_ns")
        )
        assert getattr(decoded, name).dtype == getattr(batch, name).dtype


def test_the_table_has_a_line_for_each_measurement():
    table = write_table([Measurement("one", 1_000, 2e6, 3e6, 44.0)])
    assert table.splitlines()[-1] == "| one | 1,000 | 3.00 | 2.00 | 44.0 |"
