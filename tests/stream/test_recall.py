"""What a worker recalls of Redis: prices that stand too far back in the topic, none that a prior close has replaced."""

from __future__ import annotations

import msgspec

from stream.recall import parse_stored_quotes

NOW_NS = 1_795_000_000 * 10**9
HOUR_NS = 3600 * 10**9


def stored(symbol: str, price: float, age_ns: int) -> bytes:
    return msgspec.json.encode(
        {"symbol": symbol, "price": price, "prior_close": 1.0, "event_ns": NOW_NS - age_ns, "more": "later"}
    )


def test_quotes_of_the_last_day_are_recalled_under_their_own_time() -> None:
    kept = [stored("BOND", 99.5, 5 * HOUR_NS), stored("AAPL", 150.0, 0)]
    batch = parse_stored_quotes(kept, {"AAPL": 3, "BOND": 5}, NOW_NS)
    assert batch.instrument.tolist() == [5, 3]
    assert batch.last.tolist() == [99.5, 150.0]
    assert batch.event_ns.tolist() == [NOW_NS - 5 * HOUR_NS, NOW_NS]


def test_older_quotes_and_those_of_instruments_nobody_knows_are_left() -> None:
    left = [stored("BOND", 99.5, 25 * HOUR_NS), stored("GONE", 1.0, 0)]
    assert len(parse_stored_quotes(left, {"BOND": 5}, NOW_NS)) == 0
