"""The newest event of an instrument is its price; what is not a price is refused with a reason."""

import numpy as np
import pytest
from books import MINOR_UNITS, NOW_NS, SPECS, create_prices, quotes
from hypothesis import given
from hypothesis import strategies as st

from stream.messages import QuoteBatch
from stream.prices import STATES, InstrumentSpec, PriceTable, UnknownCurrency

AAPL = 2
ABSENT = float("nan")


def quote(bid: float, ask: float, last: float, instrument: int = 3, event_ns: int = NOW_NS) -> QuoteBatch:
    columns = [np.array([value]) for value in (bid, ask, last, ABSENT)]
    return QuoteBatch("test", NOW_NS, np.array([instrument], np.uint32), *columns, np.array([event_ns]))


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (quote(ABSENT, ABSENT, 10.0, instrument=4_000_000_000), "unknown_instrument"),
        (quote(ABSENT, ABSENT, 10.0, instrument=6), "unknown_instrument"),
        (quote(ABSENT, ABSENT, ABSENT), "no_price"),
        (quote(10.0, ABSENT, ABSENT), "no_price"),
        (quote(ABSENT, ABSENT, -10.0), "not_positive"),
        (quote(ABSENT, ABSENT, 0.0), "not_positive"),
        (quote(-1.0, 10.0, 9.0), "not_positive"),
        (quote(ABSENT, ABSENT, float("inf")), "not_finite"),
        (quote(10.1, 10.0, ABSENT), "crossed"),
        (quote(10.1, 10.0, 10.0), "crossed"),
        (quote(ABSENT, ABSENT, 10.0, event_ns=NOW_NS + 6_000_000_000), "future"),
    ],
)
def test_a_bad_quote_is_refused_and_the_price_stays(batch, reason) -> None:
    prices = create_prices()
    assert [(refusal.reason, refusal.index.tolist()) for refusal in prices.apply(batch, NOW_NS)] == [(reason, [0])]
    prices.refresh(NOW_NS)
    assert prices.price[AAPL] == 150.0
    assert prices.stale[AAPL]


def test_a_trade_is_the_price_and_else_the_middle_of_bid_and_ask() -> None:
    prices = create_prices()
    assert not prices.apply(quote(150.0, 151.0, ABSENT), NOW_NS)
    assert prices.mark[AAPL] == 150.5
    assert not prices.apply(quote(150.0, 151.0, 150.9), NOW_NS)
    assert prices.mark[AAPL] == 150.9


@given(st.permutations(list(range(8))), st.integers(1, 8))
def test_the_newest_event_wins_whatever_the_order_of_arrival(order, cut) -> None:
    prices = create_prices()
    ticks = [quote(ABSENT, ABSENT, 100.0 + moment, event_ns=NOW_NS + moment) for moment in order]
    for tick in ticks[:cut] + ticks[cut:]:
        prices.apply(tick, NOW_NS)
    assert prices.mark[AAPL] == 107.0


def test_one_bad_quote_does_not_refuse_its_neighbours() -> None:
    prices = create_prices()
    refusals = prices.apply(quotes((3, 151.0), (99, 1.0), (4, -2.0), (7, 1.2)), NOW_NS)
    assert {refusal.reason: refusal.index.tolist() for refusal in refusals} == {
        "unknown_instrument": [1],
        "not_positive": [2],
    }
    assert prices.mark[AAPL] == 151.0
    prices.refresh(NOW_NS)
    assert prices.rate("EUR", "USD") == pytest.approx(1.2)


def test_rates_convert_whichever_way_they_are_quoted() -> None:
    prices = create_prices()
    assert prices.rate("EUR", "USD") == pytest.approx(1.1)
    assert prices.rate("USD", "CHF") == pytest.approx(0.88)
    assert prices.rate("CHF", "EUR") == pytest.approx(1 / 0.88 / 1.1)
    assert prices.rate("USD", "JPY") == pytest.approx(151.25)


def test_a_price_grows_stale_with_its_age() -> None:
    prices = create_prices()
    prices.apply(quotes((3, 151.0)), NOW_NS)
    prices.refresh(NOW_NS + 899 * 10**9)
    assert not prices.stale[AAPL]
    prices.refresh(NOW_NS + 901 * 10**9)
    assert prices.stale[AAPL]


def test_instruments_are_added_without_moving_the_others() -> None:
    prices = create_prices()
    prices.apply(quotes((3, 151.0)), NOW_NS)
    new = InstrumentSpec(6, "NEW", "New", "equity", "Energy", "US", "USD", None, 1.0, 5.0, 0)
    prices.add([*SPECS, new])
    assert (prices.mark[AAPL], prices.index_of[6], prices.index_of[3]) == (151.0, len(SPECS), AAPL)


def test_an_instrument_in_an_unknown_currency_is_refused() -> None:
    with pytest.raises(UnknownCurrency, match="XTS"):
        PriceTable(MINOR_UNITS, [InstrumentSpec(1, "X", "X", "equity", "x", "US", "XTS", None, 1.0, 1.0, 0)])


def test_a_currency_whose_rate_has_no_price_cannot_be_converted() -> None:
    rate = InstrumentSpec(7, "EUR/USD", "Euro", "fx", "Currency", "DE", "USD", "EUR", 1.0, ABSENT, 0)
    prices = PriceTable(MINOR_UNITS, [rate])
    assert not prices.has_rate("EUR")
    prices.apply(quotes((7, 1.1)), NOW_NS)
    prices.refresh(NOW_NS)
    assert prices.has_rate("EUR")


HOUR_NS = 3_600 * 10**9
OPENED, CLOSED = 5 * HOUR_NS, -1


@pytest.mark.parametrize(
    ("now", "quoted", "opened_ns", "state"),
    [
        ("a fresh price in session", 0, OPENED, "live"),
        ("a fresh price though the market is closed, as a simulated one trades", 0, CLOSED, "live"),
        ("an old price in session", -1 * HOUR_NS, OPENED, "stale"),
        ("the last price of the session before, the market closed", -20 * HOUR_NS, CLOSED, "close"),
        ("a price of two sessions before, the market closed", -30 * HOUR_NS, CLOSED, "stale"),
        ("the last price of the session before, the market open for a minute", -20 * HOUR_NS, 0, "close"),
        ("the last price of the session before, the market open for an hour", -20 * HOUR_NS, HOUR_NS, "stale"),
    ],
)
def test_closed_is_close_and_not_stale(now, quoted, opened_ns, state) -> None:
    """The session before ended twenty hours ago; an equity is stale after a quarter of an hour."""
    now_ns = 1_000 * HOUR_NS
    prices = create_prices()
    opened = np.full(len(SPECS), -1 if opened_ns == CLOSED else now_ns - opened_ns)
    prices.follow_sessions(opened, np.full(len(SPECS), now_ns - 20 * HOUR_NS))
    prices.apply(quote(ABSENT, ABSENT, 151.0, event_ns=now_ns + quoted), now_ns)
    prices.refresh(now_ns)
    assert STATES[prices.state[AAPL]] == state


def test_each_time_zone_has_prior_closes_of_its_own() -> None:
    prices = create_prices()
    prices.roll("Asia/Dubai", {3: (140.0, NOW_NS), 7: (1.2, NOW_NS)})
    dubai, held = prices.zone("Asia/Dubai"), np.array([AAPL], np.uint32)
    assert (prices.closes(dubai, held)[0], prices.closes(0, held)[0]) == (140.0, 150.0)
    euro, dollar = prices.currency_index["EUR"], prices.currency_index["USD"]
    assert prices.cross_close[dubai, euro, dollar] == pytest.approx(120.0)
    assert prices.cross_close[0, euro, dollar] == pytest.approx(110.0)
    prices.refresh(NOW_NS)
    assert prices.price[AAPL] == 140.0  # never quoted: the newest close of all
