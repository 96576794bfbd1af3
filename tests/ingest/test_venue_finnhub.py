"""Finnhub: trades in milliseconds; the token stands in the address and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes_listings import Listing
from hypothesis import given
from hypothesis import strategies as st

from ingest.venues.errors import VenueUnclear
from ingest.venues.events import Complaint, Event, Heartbeat, Notice, Refused, Trade
from ingest.venues.finnhub import create
from ingest.venues.venue import Keys

KEYS = Keys(finnhub_token="to ken")
DEAL: dict[str, Any] = {"s": "AAPL", "p": 122.1, "t": 1_672_348_887_195, "v": 1, "c": ["1", "12"]}


def decode(frame: str | bytes) -> list[Event]:
    return list(create({}, KEYS).decoder(["AAPL"]).decode(frame, 0))


def trades(*deals: Any) -> list[Event]:
    return decode(json.dumps({"type": "trade", "data": deals}))


def test_the_venues_own_examples_decode(shared_data: Path) -> None:
    lines = (shared_data / "ws-docs-fixtures" / "finnhub-docs.jsonl").read_bytes().splitlines()
    assert [event for line in lines for event in decode(line)] == [
        Heartbeat(),
        Trade("BINANCE:BTCUSDT", 7296.89, 0.011467, 1_575_526_691_134_000_000),
        Complaint("finnhub: Subscribing to too many symbols", lasting=True),
    ]


def test_a_frame_holds_many_trades_and_a_bad_one_costs_only_itself() -> None:
    told = trades(DEAL, DEAL | {"p": None}, DEAL | {"t": -1}, DEAL | {"t": 10**18}, DEAL | {"p": 122.2})
    assert [type(one) for one in told] == [Trade, Refused, Refused, Refused, Trade]
    assert told[0] == Trade("AAPL", 122.1, 1.0, 1_672_348_887_195_000_000)


@pytest.mark.parametrize(
    ("text", "lasting"),
    [("Invalid API key", True), ("You don't have access to this resource.", True), ("Invalid symbol XYZ", False)],
)
def test_an_error_says_whether_trying_again_is_of_use(text: str, lasting: bool) -> None:
    assert decode(json.dumps({"type": "error", "msg": text})) == [Complaint(f"finnhub: {text}", lasting)]


def test_a_kind_that_is_not_used_is_a_notice() -> None:
    assert decode('{"type":"news","data":[{"headline":"x"}]}') == [Notice("a record of the kind news")]


MUTILATED = ["", "[]", "null", '{"type":"trade"}', '{"type":"trade","data":7}', "{" * 100_000, b"\xff", "\ud800"]


@pytest.mark.parametrize("frame", MUTILATED, ids=range(len(MUTILATED)))
def test_what_cannot_be_read_is_refused_and_never_raises(frame: str | bytes) -> None:
    told = decode(frame)
    assert told
    assert all(isinstance(one, Refused) for one in told)


@given(st.text() | st.binary())
def test_no_frame_whatsoever_raises(frame: str | bytes) -> None:
    decode(frame)


def test_the_token_stands_in_the_address_only() -> None:
    venue = create({"url": "wss://example.com/stream"}, KEYS)
    assert venue.url([]) == "wss://example.com/stream?token=to%20ken"
    assert "to ken" not in repr(venue)
    assert all("ken" not in send.frame for send in venue.greeting(["AAPL"]))


def test_each_symbol_is_subscribed_to_as_far_as_the_plan_allows() -> None:
    frames = [json.loads(send.frame) for send in create({}, KEYS).greeting([f"S{number}" for number in range(60)])]
    assert frames[0] == {"type": "subscribe", "symbol": "S0"}
    assert len(frames) == 50
    assert len(create({"max_symbols": "0"}, KEYS).greeting(["S"] * 60)) == 60


def test_symbols_are_in_the_venues_forms() -> None:
    venue = create({}, KEYS)
    assert venue.venue_symbol(Listing("AAPL")) == "AAPL"
    assert venue.venue_symbol(Listing("EUR/USD", "fx", exchange="24/5")) == "OANDA:EUR_USD"
    assert venue.venue_symbol(Listing("USD/CHF", "fx", "CHF", "24/5")) == "OANDA:USD_CHF"
    assert venue.venue_symbol(Listing("BTC/USD", "crypto", exchange="24/7")) == "COINBASE:BTC-USD"
    assert venue.venue_symbol(Listing("ASTP", "etf", "EUR", "XETR")) is None
    assert venue.venue_symbol(Listing("UST28", "bond")) is None


@pytest.mark.parametrize(
    ("options", "keys", "why"),
    [
        ({}, Keys(), "FINNHUB_TOKEN"),
        ({"url": "wss://ws.finnhub.io?token=abc"}, KEYS, "belongs into FINNHUB_TOKEN"),
        ({"plan": "gold"}, KEYS, "no option 'plan'"),
    ],
)
def test_what_is_unclear_is_said(options: dict[str, str], keys: Keys, why: str) -> None:
    with pytest.raises(VenueUnclear, match=why) as refusal:
        create(options, keys)
    assert "abc" not in str(refusal.value)
