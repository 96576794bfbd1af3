"""Alpaca: our key goes only after the greeting, times are exact, and one bad record costs only itself."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes_listings import Listing
from hypothesis import given
from hypothesis import strategies as st

from ingest.venues.alpaca import AlpacaDecoder, create
from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Notice, Quote, Refused, Snapshot, Trade
from ingest.venues.rfc3339 import parse_rfc3339
from ingest.venues.venue import Keys, Send

KEYS = Keys(alpaca_key_id="the-id", alpaca_secret_key="the-secret")
QUOTE: dict[str, Any] = {"T": "q", "S": "AAPL", "bx": "U", "bp": 126.54, "bs": 1, "ax": "Q", "ap": 126.56, "as": 4} | {
    "t": "2021-02-22T15:51:45.335689322Z"
}
TRADE: dict[str, Any] = {"T": "t", "S": "AAPL", "i": 96921, "x": "D", "p": 126.55, "s": 7} | {
    "t": "2021-02-22T15:51:44.208Z"
}


def decoder(symbols: tuple[str, ...] = ("AAPL", "MSFT"), **options: str) -> AlpacaDecoder:
    return create(options, KEYS).decoder(symbols)


def decode(*records: Any) -> list[Event]:
    return list(decoder().decode(json.dumps(records), 0))


def sent(one: AlpacaDecoder) -> list[Any]:
    return [json.loads(wish.frame) for wish in one.wishes() if isinstance(wish, Send)]


def test_the_venues_own_examples_decode(shared_data: Path) -> None:
    lines = (shared_data / "ws-docs-fixtures" / "alpaca-v2-docs.jsonl").read_bytes().splitlines()
    one = decoder()
    told = [event for line in lines for event in one.decode(line, 0)]
    assert told == [
        Notice("connected"),
        Notice("authenticated"),
        Trade("AAPL", 126.55, 1.0, 1_614_009_104_208_000_000),
        Quote("AAPL", 126.54, 126.56, 1.0, 4.0, 1_614_009_105_335_689_322),
    ]


def test_the_key_is_sent_when_the_venue_has_greeted_and_the_subscription_when_it_was_taken() -> None:
    venue, one = create({}, KEYS), decoder()
    assert list(venue.greeting(["AAPL"])) == []
    assert dict(venue.headers()) == {}
    assert sent(one) == []
    one.decode('[{"T":"success","msg":"connected"}]', 0)
    assert sent(one) == [{"action": "auth", "key": "the-id", "secret": "the-secret"}]
    assert sent(one) == []
    one.decode('[{"T":"success","msg":"authenticated"}]', 0)
    assert sent(one) == [{"action": "subscribe", "trades": ["AAPL", "MSFT"], "quotes": ["AAPL", "MSFT"]}]
    told = one.decode('[{"T":"subscription","trades":["AAPL"],"quotes":["AAPL"],"bars":[],"lulds":["AAPL"]}]', 0)
    assert told == [Notice("subscribed to 1 trades and 1 quotes"), Snapshot("AAPL")]


def test_a_free_plan_takes_thirty_symbols_and_the_rest_is_said() -> None:
    one = decoder(tuple(f"S{number}" for number in range(32)))
    one.decode('[{"T":"success","msg":"authenticated"}]', 0)
    assert len(sent(one)[0]["trades"]) == 30
    told = one.decode('[{"T":"subscription","trades":[],"quotes":[]}]', 0)
    assert told == [
        Complaint("alpaca: subscribed to 0 trades and 0 quotes; the plan takes no more, left out: S30, S31", False)
    ]
    paid = decoder(tuple(f"S{number}" for number in range(32)), plan="sip")
    paid.decode('[{"T":"success","msg":"authenticated"}]', 0)
    assert len(sent(paid)[0]["trades"]) == 32


def test_a_side_of_zero_is_absent() -> None:
    (quote,) = decode(QUOTE | {"bp": 0, "bs": 0})
    assert isinstance(quote, Quote)
    assert math.isnan(quote.bid)
    assert quote.ask == 126.56


@pytest.mark.parametrize("condition", ["W", "4", "Z", "P", "7"])
def test_a_trade_that_was_not_at_the_markets_price_is_none(condition: str) -> None:
    (told,) = decode(TRADE | {"c": ["@", condition]})
    assert isinstance(told, Notice)


def test_an_odd_lot_at_night_is_a_price() -> None:
    assert decode(TRADE | {"c": ["@", "T", "I"]}) == [Trade("AAPL", 126.55, 7.0, 1_614_009_104_208_000_000)]


@pytest.mark.parametrize(("code", "lasting"), [(400, True), (405, True), (407, False), (409, True), (500, False)])
def test_an_error_says_whether_trying_again_is_of_use(code: int, lasting: bool) -> None:
    one = decoder()
    one.decode('[{"T":"success","msg":"authenticated"}]', 0)
    told = one.decode(json.dumps([{"T": "error", "code": code, "msg": "no"}]), 0)
    assert told == [Complaint(f"alpaca: {code} no", lasting)]


@pytest.mark.parametrize("code", [401, 402, 404, 406, 500])
def test_who_is_not_signed_in_waits_for_nothing_on_that_connection(code: int) -> None:
    assert decode({"T": "error", "code": code, "msg": "no"}) == [Complaint(f"alpaca: {code} no", lasting=True)]


def test_what_is_not_used_is_a_notice() -> None:
    halt = {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "Information requested"}
    correction = {"T": "c", "S": "AAPL", "op": 1.0, "cp": 2.0, "t": TRADE["t"]}
    told = decode(halt, correction, {"T": "x", "S": "AAPL"}, {"T": "l", "S": "AAPL"}, {"T": "brand-new"})
    assert [type(one) for one in told] == [Notice] * 5
    assert told[0] == Notice("AAPL: Trading Halt Information requested")


def test_a_bad_record_costs_only_itself() -> None:
    told = decode(QUOTE, TRADE | {"p": "much"}, TRADE | {"t": "yesterday"}, TRADE, 17)
    assert [type(one) for one in told] == [Quote, Refused, Refused, Trade, Refused]
    assert {one.reason for one in told if isinstance(one, Refused)} == {"unreadable"}


MUTILATED = [
    "",
    "null",
    "{}",
    "[",
    '[{"T":"q"',
    '{"T":"q"}',
    "[[[[]]]]",
    "[" * 100_000,
    '[{"T":"t","S":"AAPL","p":1e999,"s":1,"t":"2021-02-22T15:51:44Z"}]',
    '[{"T":"t","S":"AAPL","p":NaN,"s":1,"t":"2021-02-22T15:51:44Z"}]',
    '[{"T":"t","S":"AAPL","p":1,"s":1,"t":"2021-02-30T15:51:44Z"}]',
    '[{"T":"t","S":"\ud800","p":1,"s":1,"t":"x"}]',
    b"\xff\xfe[",
    b'[{"T":"t","S":"\xff","p":1,"s":1,"t":"2021-02-22T15:51:44Z"}]',
]


@pytest.mark.parametrize("frame", MUTILATED, ids=range(len(MUTILATED)))
def test_what_cannot_be_read_is_refused_and_never_raises(frame: str | bytes) -> None:
    told = decoder().decode(frame, 0)
    assert told
    assert all(isinstance(one, Refused) for one in told)


@given(st.text() | st.binary())
def test_no_frame_whatsoever_raises(frame: str | bytes) -> None:
    decoder().decode(frame, 0)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)), st.integers(0, 10**9 - 1))  # noqa: DTZ001
def test_a_time_is_exact_to_the_nanosecond(moment: datetime, ns: int) -> None:
    second = moment.replace(microsecond=0)
    expected = int(second.timestamp()) * 10**9 + ns
    assert parse_rfc3339(f"{second:%Y-%m-%dT%H:%M:%S}.{ns:09d}Z") == expected
    assert parse_rfc3339(f"{second:%Y-%m-%dT%H:%M:%S}.{ns:09d}+02:30") == expected - 9_000 * 10**9


@pytest.mark.parametrize("text", ["", "2021-02-22", "2021-02-22T15:51:44", "2021-02-22T15:51:44.1234567890Z", "٢٠٢١"])
def test_what_is_no_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("options", "keys", "why"),
    [
        ({}, Keys(), "ALPACA_KEY_ID and ALPACA_SECRET_KEY"),
        ({}, Keys(alpaca_key_id="the-id"), "ALPACA_SECRET_KEY"),
        ({"plan": "gold"}, KEYS, "iex, sip"),
        ({"url": "https://example.com"}, KEYS, "ws:// or wss://"),
        ({"url": "wss://me:pass@example.com"}, KEYS, "user or a password"),
        ({"max_symbols": "-1"}, KEYS, "whole number"),
        ({"colour": "red"}, KEYS, "no option 'colour'"),
    ],
)
def test_what_is_unclear_is_said_and_holds_no_key(options: dict[str, str], keys: Keys, why: str) -> None:
    with pytest.raises(VenueUnclear, match=why) as refusal:
        create(options, keys)
    assert "the-secret" not in str(refusal.value)
    assert "pass" not in str(refusal.value).replace("password", "")


def test_stocks_and_funds_of_american_exchanges_in_dollars_are_quoted() -> None:
    venue = create({"plan": "test"}, KEYS)
    assert venue.url(["AAPL"]) == "wss://stream.data.alpaca.markets/v2/test"
    assert venue.venue_symbol(Listing("AAPL")) == "AAPL"
    assert venue.venue_symbol(Listing("MTUM", "etf", exchange="BATS")) == "MTUM"
    for other in (Listing("AHLT", "etf", "CHF"), Listing("AB500", "etf", exchange=None), Listing("EUR/USD", "fx")):
        assert venue.venue_symbol(other) is None
    assert "the-secret" not in repr(venue)
    assert "the-secret" not in repr(vars(venue))
