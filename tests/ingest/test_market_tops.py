import math
from datetime import UTC, date, datetime

import pytest
from fakes_feeds import instrument

from analytics.sessions import Session
from ingest.market.clock_offset import ClockOffset
from ingest.market.hours import OpenHours
from ingest.market.symbols import Mapped, SymbolMap
from ingest.market.tops import GAP, LIVE, RESYNC, STALE, FeedStatus, Tops
from ingest.venues.events import Complaint, Gap, Heartbeat, Quote, Refused, Snapshot, Trade
from stream.messages import QuoteBatch

S = 1_000_000_000
T0 = 1_800_000_000 * S
A, B = "A", "B"


def tops_of(*symbols: str, factor: float = 1.0, silent_after_s: float | None = None) -> Tops:
    tops = Tops("venue", ClockOffset(), silent_after_s)
    mapped = {name: Mapped(instrument(number, name), factor) for number, name in enumerate(symbols, 1)}
    tops.remap(SymbolMap(mapped), T0)
    return tops


def state(tops: Tops, symbol: str = A) -> FeedStatus:
    return next(top.state for top in tops if top.symbol == symbol)


def only_row(batch: QuoteBatch | None) -> tuple[float, float, float, int]:
    assert batch is not None
    assert len(batch) == 1
    return float(batch.bid[0]), float(batch.ask[0]), float(batch.last[0]), int(batch.event_ns[0])


def same(found: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found, wanted, strict=True))


def test_a_row_carries_the_whole_top_as_it_is_known_and_only_the_newest():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, 11.0, event_ns=T0)], T0, (A,))
    tops.apply([Trade(A, 10.0, 5.0, T0 + 1)], T0 + 2, (A,))
    assert same(only_row(tops.take(T0 + 2)), (9.0, 11.0, 10.0, T0 + 1))
    assert tops.take(T0 + 3) is None


def test_a_last_price_outside_bid_and_ask_is_left_out():
    tops = tops_of(A)
    tops.apply([Trade(A, 8.0, 5.0, T0), Quote(A, 9.0, 11.0, event_ns=T0)], T0, (A,))
    assert same(only_row(tops.take(T0)), (9.0, 11.0, math.nan, T0))


def test_what_has_no_mark_is_not_told_yet():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, math.nan)], T0, (A,))
    assert tops.take(T0) is None


def test_prices_are_turned_into_the_currency_of_the_instrument():
    tops = tops_of(A, factor=0.01)
    tops.apply([Quote(A, 5400.0, 5500.0)], T0, (A,))
    assert only_row(tops.take(T0))[:2] == (54.0, 55.0)


def test_a_record_without_a_time_is_dated_when_it_was_received():
    tops = tops_of(A)
    tops.apply([Trade(A, 10.0, 1.0, T0 - S)], T0, (A,))
    tops.apply([Quote(A, 9.0, 11.0)], T0 + 5, (A,))
    assert only_row(tops.take(T0 + 5))[3] == T0 + 5


def test_a_snapshot_without_a_time_is_followed_by_changes_whose_time_is_before_it_came():
    tops = tops_of(A)
    tops.apply([Snapshot(A), Quote(A, 9.0, 11.0)], T0 + S, (A,))
    tops.apply([Quote(A, 9.5, 10.5, event_ns=T0 + S - 1000)], T0 + S + 1, (A,))
    assert same(only_row(tops.take(T0 + S + 1)), (9.5, 10.5, math.nan, T0 + S))


def test_an_older_quote_or_trade_says_nothing_new():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, 11.0, event_ns=T0), Trade(A, 10.0, 1.0, T0)], T0, (A,))
    tops.apply([Quote(A, 1.0, 2.0, event_ns=T0 - 1), Trade(A, 1.5, 1.0, T0 - 1)], T0 + 1, (A,))
    assert same(only_row(tops.take(T0 + 1)), (9.0, 11.0, 10.0, T0))


def test_the_future_is_refused_and_changes_nothing():
    tops = tops_of(A)
    (refused,) = tops.apply([Quote(A, 9.0, 11.0, event_ns=T0 + 6 * S)], T0, (A,))
    assert isinstance(refused, Refused)
    assert refused.reason == "future"
    assert tops.take(T0) is None


def test_a_venue_whose_clock_is_ahead_is_believed_after_some_seconds_and_dated_by_our_clock():
    tops, refused = tops_of(A), 0
    for second in range(10):
        now = T0 + second * S
        refused += len(tops.apply([Quote(A, 9.0, 11.0, event_ns=now + 7 * S)], now, (A,)))
    assert refused == 4
    assert only_row(tops.take(T0 + 9 * S))[3] == T0 + 9 * S


def test_one_stray_time_does_not_make_the_venues_clock_ahead():
    offset = ClockOffset()
    for second in range(20):
        offset.observe(T0 + second * S, T0 + second * S + 40_000_000)
    offset.observe(T0 + 4000 * S, T0 + 20 * S)
    offset.observe(T0 + 21 * S, T0 + 21 * S + 40_000_000)
    offset.travelled(0.02)
    assert (offset.offset_ns, offset.ahead_ns) == (30_000_000, 0)


def test_nothing_is_known_of_a_clock_at_first():
    assert ClockOffset().offset_ns is None


def test_the_states_of_an_instrument_from_connecting_to_live():
    tops = tops_of(A)
    assert state(tops) is RESYNC
    tops.apply([Snapshot(A)], T0, (A,))
    assert state(tops) is RESYNC
    tops.apply([Quote(A, 9.0, 11.0)], T0, (A,))
    assert state(tops) is LIVE


def test_after_a_gap_nothing_is_published_before_a_snapshot():
    tops = tops_of(A, B)
    tops.apply([Quote(A, 9.0, 11.0), Quote(B, 1.0, 2.0)], T0, (A, B))
    tops.take(T0)
    assert tops.apply([Gap(A, "missing")], T0 + 1, (A, B)) == [Gap(A, "missing")]
    tops.apply([Quote(A, 5.0, 6.0), Trade(A, 5.5)], T0 + 2, (A, B))
    assert (state(tops), state(tops, B)) == (GAP, LIVE)
    assert tops.take(T0 + 2) is None
    assert tops.oldest_break_ns((A, B), T0 + 11) == 10
    tops.asked((A, B), T0 + 3)
    assert (state(tops), state(tops, B), tops.counts.resyncs) == (RESYNC, LIVE, 1)
    tops.apply([Snapshot(A), Quote(A, 7.0, 8.0)], T0 + 4, (A, B))
    assert state(tops) is LIVE
    assert same(only_row(tops.take(T0 + 4)), (7.0, 8.0, math.nan, T0 + 4))


def test_a_gap_of_the_connection_is_one_of_its_symbols_and_of_no_others():
    tops = tops_of(A, B)
    tops.apply([Quote(A, 9.0, 11.0), Quote(B, 1.0, 2.0)], T0, (A, B))
    tops.apply([Gap(None, "missing")], T0, (A,))
    assert (state(tops), state(tops, B)) == (GAP, LIVE)


def test_a_gap_that_breaks_nothing_is_only_counted():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, 11.0)], T0, (A,))
    tops.apply([Gap(A, "two trades", broken=False)], T0, (A,))
    assert (state(tops), tops.counts.gaps) == (LIVE, 1)


def test_what_a_lost_connection_has_told_is_not_mixed_with_what_the_next_one_tells():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, 11.0), Trade(A, 10.0)], T0, (A,))
    tops.reset((A,), T0 + 1)
    assert state(tops) is RESYNC
    tops.apply([Trade(A, 20.0)], T0 + 2, (A,))
    assert same(only_row(tops.take(T0 + 2)), (math.nan, math.nan, 20.0, T0 + 2))


def test_silence_makes_stale_and_the_next_record_live():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, 11.0)], T0, (A,))
    tops.age(OpenHours(), T0 + 60 * S)
    assert state(tops) is LIVE
    tops.age(OpenHours(), T0 + 61 * S)
    assert state(tops) is STALE
    tops.apply([Trade(A, 10.0)], T0 + 62 * S, (A,))
    assert state(tops) is LIVE


def hours(first_opens_s: int, closes_s: int) -> OpenHours:
    begin = datetime.fromtimestamp(T0 / S + first_opens_s, UTC)
    return OpenHours([Session("24/7", date(2027, 1, 15), begin, datetime.fromtimestamp(T0 / S + closes_s, UTC))])


def test_a_closed_market_is_not_stale_and_has_time_to_begin():
    tops = tops_of(A)
    tops.apply([Quote(A, 9.0, 11.0)], T0, (A,))
    opens = hours(1000, 2000)
    for seconds, wanted in ((500, LIVE), (1030, LIVE), (1061, STALE)):
        tops.age(opens, T0 + seconds * S)
        assert state(tops) is wanted
    assert opens.opened_ns("24/7", T0 + 2000 * S) is None
    assert opens.opened_ns("XNYS", T0) == 0


def test_symbols_can_change_while_the_rest_stays():
    tops = tops_of(A, B)
    tops.apply([Quote(A, 9.0, 11.0), Quote(B, 1.0, 2.0)], T0, (A, B))
    tops.remap(SymbolMap({A: Mapped(instrument(1, A)), "C": Mapped(instrument(3, "C"))}), T0)
    assert [(top.symbol, top.state) for top in tops] == [(A, LIVE), ("C", RESYNC)]
    assert same(only_row(tops.take(T0)), (9.0, 11.0, math.nan, T0))


def test_what_is_not_ours_is_counted_and_what_the_venue_complains_of_is_handed_on():
    tops, complaint = tops_of(A), Complaint("wrong key", lasting=True)
    assert tops.apply([Quote("X", 1.0, 2.0), Heartbeat(T0), complaint], T0, (A,)) == [complaint]
    assert (tops.counts.unmapped, tops.counts.heartbeats) == (1, 1)


@pytest.mark.parametrize("seconds", [30.0])
def test_a_feed_can_say_how_long_is_too_long(seconds: float):
    tops = tops_of(A, silent_after_s=seconds)
    tops.apply([Quote(A, 9.0, 11.0)], T0, (A,))
    tops.age(OpenHours(), T0 + round((seconds + 1) * S))
    assert state(tops) is STALE
