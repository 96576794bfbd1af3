"""Polled venues with their faults: asked within their budget, without haste, and only for what has changed."""

import asyncio
import math
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from fakes import eventually
from fakes_certificates import Authority
from fakes_documents import QuoteDocuments, ReferenceRates
from fakes_feeds import Followed, following, instrument, quotes_at, symbol_map
from fakes_market import Letters
from fakes_venues import Answer, VenueServer

from ingest.market.polling import PolledSource
from ingest.market.quarantine import Quarantine
from ingest.market.symbols import Mapped, SymbolMap
from ingest.market.tops import FeedStatus
from ingest.venues.registry import create_venue
from ingest.venues.venue import Keys

TOPS = {"AAA": (10.0, 10.5), "BBB": (20.0, 20.5)}
PAGE = b'<html><body style="color:red">Service temporarily unavailable</body></html>'


@dataclass
class Polled:
    """A venue that is polled, and the feed that polls it."""

    server: VenueServer
    market: QuoteDocuments
    feed: Followed

    def agrees(self) -> bool:
        newest = {symbol: self.feed.newest(symbol) for symbol in TOPS}
        return all(row is not None and row.top == self.market.top(symbol) for symbol, row in newest.items())

    async def is_right(self, seconds: float = 15.0) -> None:
        await eventually(self.agrees, "the newest prices are the venue's", seconds)


@asynccontextmanager
async def polling(
    tls: ssl.SSLContext | None = None, trust: Path | None = None, keys: Keys | None = None, **options: str
) -> AsyncIterator[Polled]:
    market, letters = QuoteDocuments(TOPS), Letters()
    async with VenueServer(market, tls).open() as server:
        venue = create_venue("http", quotes_at(server, **options), keys or Keys())
        quarantine = Quarantine("http", letters.refuse)
        source = PolledSource("http", venue, quarantine, ssl.create_default_context(cafile=trust))  # type: ignore[arg-type]
        async with following(source, letters, symbol_map(*TOPS)) as feed:
            yield Polled(server, market, feed)


async def test_what_has_not_changed_is_asked_for_and_not_sent() -> None:
    async with polling() as of:
        await of.is_right()
        await eventually(lambda: of.market.not_modified >= 2, "it is asked whether something is new")
        assert of.market.whole == 1
        assert of.feed.batches == 1
        of.market.quote("AAA", 11.0, 11.5)
        await of.is_right()
        assert of.market.whole == 2


FAULTS = (
    ("too many requests", Answer(status=429, headers={"Retry-After": "1"}), "429", ""),
    ("too many requests, until a date", Answer(status=429, headers={"Retry-After": "tomorrow"}), "429", ""),
    ("out of order", Answer(PAGE, 503), "503", ""),
    ("broken", Answer(PAGE, 500), "500", ""),
    ("a page for people", Answer(PAGE), "", "unreadable"),
    ("cut JSON", Answer(b'{"data":{"quotes":[{"symbol":"AAA","quote":{"bid":1'), "", "unreadable"),
    ("another shape", Answer(b'{"data":{"quotes":42}}'), "", "unreadable"),
    ("wrong encoding", Answer(b'{"data":{"quotes":[{"symbol":"\xff\xfe","quote":{}}]}}'), "", "unreadable"),
    ("deep", Answer(b"[" * 100_000), "", "unreadable"),
    ("shorter than it says", Answer(b"{}", headers={"Content-Length": "4000"}), "no connection", ""),
    ("huge", Answer(b" " * (17 << 20)), "larger than", ""),
    ("packed, unasked", Answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "packs its document", ""),
)


@pytest.mark.parametrize(("answer", "says", "refuses"), [one[1:] for one in FAULTS], ids=[one[0] for one in FAULTS])
async def test_a_bad_answer_is_said_and_the_next_one_is_right(answer: Answer, says: str, refuses: str) -> None:
    async with polling() as of:
        await of.is_right()
        of.market.quote("AAA", 12.0, 12.5)
        of.server.faults.documents.append(answer)
        await eventually(lambda: not of.server.faults.documents, "it has been answered")
        await of.is_right()
        assert any(says in one for one in of.feed.troubles), of.feed.troubles
        assert set(of.feed.reasons) == ({refuses} if refuses else set())
        assert of.feed.source.trouble == ""
        assert all(row.top in {TOPS["AAA"], (12.0, 12.5)} for row in of.feed.rows["AAA"])


async def test_a_venue_that_is_busy_is_left_alone_for_as_long_as_it_asks() -> None:
    async with polling() as of:
        await of.is_right()
        of.server.faults.documents.append(Answer(status=429, headers={"Retry-After": "2"}))
        await eventually(lambda: "429" in of.feed.source.trouble, "the feed says so")
        busy = of.server.requests[-1][0]
        asked = len(of.server.requests)
        await eventually(lambda: len(of.server.requests) > asked, "it is asked again")
        assert of.server.requests[asked][0] - busy >= 2.0


async def test_a_venue_that_is_silent_half_way_is_given_up_and_asked_again() -> None:
    async with polling() as of:
        await of.is_right()
        of.market.quote("AAA", 13.0, 13.5)
        of.server.faults.alive.clear()
        await eventually(lambda: "does not answer in time" in of.feed.source.trouble, "the feed says so", 20.0)
        of.server.faults.alive.set()
        await of.is_right()


async def test_a_venue_that_has_gone_is_said_and_asked_with_pauses() -> None:
    async with polling() as of:
        await of.is_right()
        await of.server.stop()
        await eventually(lambda: "nothing listens there" in of.feed.source.trouble, "the feed says so")
        await asyncio.sleep(2.0)
        assert of.feed.source.losses <= 5, "it does not ask without a pause"
        of.market.quote("AAA", 14.0, 14.5)
        await of.server.start()
        await of.is_right(40.0)


async def test_a_budget_of_calls_is_kept() -> None:
    async with polling(calls_a_minute="3") as of:
        await of.is_right()
        began = time.monotonic()
        while time.monotonic() - began < 3.0:
            await asyncio.sleep(0.1)
            of.market.quote("AAA", 15.0 + time.monotonic() - began, 30.0)
        assert len(of.server.requests) == 3


async def test_a_day_whose_calls_are_used_up_is_said() -> None:
    async with polling(calls_a_day="2") as of:
        await eventually(lambda: "the 2 calls of a day are used up" in of.feed.source.trouble, "the feed says so")
        await asyncio.sleep(1.0)
        assert len(of.server.requests) == 2


async def test_a_key_is_not_carried_to_another_host() -> None:
    keys = Keys(http_authorization="Bearer very-secret")
    async with polling(keys=keys, authorize="yes") as of, VenueServer(QuoteDocuments(TOPS)).open() as stranger:
        await of.is_right()
        assert of.server.headers["authorization"] == "Bearer very-secret"
        of.server.faults.documents.append(Answer(status=302, headers={"Location": stranger.http_url + "/quotes"}))
        await eventually(lambda: "another host" in of.feed.source.trouble, "the feed says so")
        assert not stranger.requests
        assert "very-secret" not in " ".join(of.feed.troubles)


async def test_a_certificate_is_checked_here_too(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    async with polling(ours.server(), ours.path) as of:
        await of.is_right()
    async with polling(ours.server(expired=True), ours.path) as of:
        await eventually(lambda: "certificate has expired" in of.feed.source.trouble, "the feed says so")
        assert not of.server.requests


async def test_prices_confirmed_by_nothing_new_stay_live_and_become_stale_when_nobody_answers() -> None:
    market, letters = QuoteDocuments(TOPS), Letters()
    async with VenueServer(market).open() as server:
        venue = create_venue("http", quotes_at(server), Keys())
        quarantine = Quarantine("http", letters.refuse)
        source = PolledSource("http", venue, quarantine, ssl.create_default_context(), silent_after_s=2.0)  # type: ignore[arg-type]
        async with following(source, letters, symbol_map(*TOPS)) as feed:
            await eventually(feed.all_live, "everything is live")
            feed.states.clear()
            await eventually(lambda: market.not_modified >= 5, "nothing is new for longer than that")
            assert feed.states == {FeedStatus.LIVE}
            await server.stop()
            await eventually(lambda: feed.state_of("AAA") is FeedStatus.STALE, "it is stale")
            await server.start()
            await eventually(feed.all_live, "everything is live again", 30.0)


@pytest.fixture
async def rates() -> AsyncIterator[tuple[VenueServer, ReferenceRates, Followed]]:
    """Lend the ECB with its rates of a Friday, and a feed that asks it every half second."""
    market, letters = ReferenceRates(date(2026, 10, 30), {"USD": "1.1172", "GBP": "0.8338", "CHF": "0.9194"}), Letters()
    symbols = SymbolMap({name: Mapped(instrument(number, name, "fx")) for number, name in enumerate(PAIRS, 1)})
    async with VenueServer(market).open() as server:
        venue = create_venue("ecb", {"url": server.http_url + "/eurofxref-daily.xml"}, Keys())
        venue.budget = type(venue.budget)(0.5)  # type: ignore[misc]
        quarantine = Quarantine("ecb", letters.refuse)
        source = PolledSource("ecb", venue, quarantine, ssl.create_default_context())  # type: ignore[arg-type]
        async with following(source, letters, symbols) as feed:
            yield server, market, feed


PAIRS = ("EUR/USD", "GBP/USD", "USD/CHF")


def fixed(feed: Followed) -> list[float]:
    return [math.nan if (row := feed.newest(pair)) is None else row.last for pair in PAIRS]


async def test_reference_rates_are_taken_once_a_day_and_crossed_through_the_euro(
    rates: tuple[VenueServer, ReferenceRates, Followed],
) -> None:
    server, market, feed = rates
    await eventually(feed.all_live, "everything is fixed")
    assert fixed(feed) == pytest.approx([1.1172, 1.1172 / 0.8338, 0.9194 / 1.1172], rel=1e-12)
    await eventually(lambda: market.not_modified >= 2, "it is asked whether there is a new day")
    assert market.whole == 1
    for answer in (Answer(PAGE), Answer(b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'), Answer(b"")):
        server.faults.documents.append(answer)
    await eventually(lambda: not server.faults.documents, "it was told nonsense")
    await asyncio.sleep(1.1)  # a document's time is of whole seconds
    market.publish(date(2026, 11, 2), {"USD": "1.12", "GBP": "0.84", "CHF": "0.92"})
    await eventually(lambda: fixed(feed)[0] == 1.12, "the next day is taken")
    assert feed.reasons["unreadable"] == 3
