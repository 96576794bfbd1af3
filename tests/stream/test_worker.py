"""The worker on real servers: restored from PostgreSQL, fed by Kafka, written to Redis; live equals batch.

One worker serves the whole file, as it would a bank: each test adds portfolios of its own, and what one does to
the worker (bad records, a Redis that goes away) the next must not notice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import msgspec
import numpy as np
import pytest
from books import quotes
from fakes import eventually
from fakes_stream import OwnValkey, Stage, open_stage, open_tail, open_worker, positions_now

from db.live import valuation_key
from stream.messages import (
    POSITIONS_TOPIC,
    QUOTES_TOPIC,
    VALUATIONS_TOPIC,
    QuoteBatch,
    Valuation,
    decode_quotes,
    decode_valuation,
    encode_message,
    encode_quotes,
)
from stream.metrics import DEAD_LETTERS

pytestmark = pytest.mark.integration
NOBODYS = 4_000_000_000


@pytest.fixture(scope="module")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnValkey]:
    """Lend a Valkey that a test may end and begin."""
    server = OwnValkey(tmp_path_factory.mktemp("own") / "valkey")
    await server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
async def stage(module_postgres_url: str, valkey: OwnValkey, module_kafka_servers: str) -> AsyncIterator[Stage]:
    """Lend one worker, with two portfolios that it restored, to all tests of this file."""
    async with open_stage(module_postgres_url, valkey.url, module_kafka_servers) as lent:
        await lent.bank.add_booked("USD", (1, "5000"), (3, "10"), (4, "7.5"))
        await lent.bank.add_booked("CHF", (2, "1234.56"), (5, "20000"), (12, "33"))
        async with open_worker(lent.settings):
            await eventually(lent.all_right, "the worker has valued the restored portfolios")
            yield lent


@pytest.fixture
async def portfolio(stage: Stage) -> str:
    """Lend a portfolio of 10 AAPL that reached the worker over Kafka."""
    return await send_new(stage, "USD", (3, "10"))


async def send_new(stage: Stage, base: str, *lines: tuple[int, str]) -> str:
    """Write a new portfolio to the ledger and to Kafka, as ingest does, and wait until it is valued; it is watched."""
    identity = await stage.bank.add_booked(base, *lines)
    await stage.live.watch([identity], 600)
    await stage.feed.send_positions(stage.bank.records[identity])
    await eventually(lambda: stage.is_right(identity), "the new portfolio is valued")
    return identity


def cents(amount: float) -> int:
    return round(amount * 100)


async def test_what_is_restored_and_quoted_is_valued_as_the_batch_values_it(stage: Stage) -> None:
    await stage.feed.quote((3, 157.575), (4, 111.25))
    await stage.feed.quote((7, 1.1234), (9, 0.8812), (5, 99.125), (12, 91.3))
    await eventually(stage.all_right, "the valuations equal their recomputation")


async def test_totals_equal_rows_in_what_redis_holds(stage: Stage) -> None:
    for identity in stage.bank.records:
        found = await eventually(lambda one=identity: stage.valuation(one))
        assert cents(found.total_equity) == sum(cents(row.value) for row in found.rows)
        assert cents(found.day_pnl) == sum(cents(row.day_pnl) for row in found.rows)
        for amounts in found.allocation.values():
            assert cents(found.total_equity) == sum(cents(amount) for amount in amounts.values())
        assert sum(row.weight for row in found.rows) == pytest.approx(1.0)


async def test_the_totals_of_the_floor_equal_the_valuations(stage: Stage, portfolio: str) -> None:
    worker = stage.settings.worker_name

    async def floor_equals_valuation() -> bool:
        totals, layout = await stage.live.totals(worker), await stage.live.layout(worker)
        found = await stage.valuation(portfolio)
        if totals is None or layout is None or portfolio not in layout.portfolios or found is None:
            return False
        if totals.layout != layout.layout:  # the portfolio has just joined: its totals come in a moment
            return False
        equities = np.frombuffer(totals.total_equity, "<i8")
        assert len(equities) == len(layout.portfolios)
        return int(equities[layout.portfolios.index(portfolio)]) == cents(found.total_equity)

    await stage.feed.quote((3, 161.3))
    await eventually(floor_equals_valuation, "the floor shows the same equity as the valuation")


async def test_the_sequence_grows_by_one_with_each_publication_and_the_epoch_stays(
    stage: Stage, portfolio: str
) -> None:
    async with watching(stage, portfolio) as published:
        for step in range(3):
            await stage.feed.quote((3, 170.0 + step))
            await eventually(lambda wanted=10 * (170.0 + step): published and published[-1].total_equity == wanted)
    assert all(after.seq == before.seq + 1 for before, after in pairwise(published))
    assert len({one.epoch for one in published}) == 1


async def test_a_watched_portfolio_is_published_in_the_cycle_that_changed_it(stage: Stage, portfolio: str) -> None:
    async with watching(stage, portfolio) as published:
        begun, steps = time.monotonic(), 6
        for step in range(steps):
            await stage.feed.quote((3, 180.0 + step))
            await eventually(lambda wanted=10 * (180.0 + step): published and published[-1].total_equity == wanted)
    assert time.monotonic() - begun < 0.5 * steps  # at once a second it would be six


async def test_a_portfolio_is_published_as_soon_as_somebody_watches_it_though_nothing_changes(stage: Stage) -> None:
    """A change between a reader's reading and its being seen to watch would else be published to nobody."""
    identity = await stage.bank.add_booked("USD", (3, "10"))
    await stage.feed.send_positions(stage.bank.records[identity])
    await eventually(lambda: stage.is_right(identity), "it is valued, and nobody watches it")
    async with stage.live.open_subscription() as channel:
        await channel.subscribe(valuation_key(identity))
        await stage.live.watch([identity], 600)
        published: list[Valuation] = []
        listener = asyncio.create_task(listen(channel, published))
        await eventually(lambda: published, "it is published", 2.0)
        listener.cancel()
        await asyncio.wait([listener])


@asynccontextmanager
async def watching(stage: Stage, portfolio: str) -> AsyncIterator[list[Valuation]]:
    """Follow a watched portfolio's channel as an API node does; gives what arrives, once something has."""
    published: list[Valuation] = []
    async with stage.live.open_subscription() as channel:
        await channel.subscribe(valuation_key(portfolio))
        listener = asyncio.create_task(listen(channel, published))

        async def is_published() -> bool:
            await stage.feed.quote((3, 150.0 + len(published)))
            return bool(published)

        await eventually(is_published, "the worker has seen that the portfolio is watched")
        try:
            yield published
        finally:
            listener.cancel()
            await asyncio.wait([listener])


async def listen(channel: object, published: list[Valuation]) -> None:
    async for message in channel.listen():
        if message["channel"].startswith(b"valuation:"):
            published.append(decode_valuation(message["data"]))


async def test_the_valuations_topic_carries_what_redis_holds(stage: Stage, portfolio: str) -> None:
    await stage.feed.quote((3, 144.4))
    held = await eventually(lambda: stage.is_right(portfolio))
    async with open_tail(stage.servers, VALUATIONS_TOPIC) as tail:

        async def carried() -> bool:
            found = {(one.portfolio_id, one.seq): one for one in await tail.valuations()}
            return found.get((portfolio, held.seq)) == held

        await eventually(carried, "the topic carries the valuation")


async def test_a_new_version_replaces_and_an_older_one_changes_nothing(stage: Stage, portfolio: str) -> None:
    newer = await stage.bank.book(portfolio, "USD", 5, (3, "25"), (12, "4"))
    await stage.feed.send_positions(newer)
    await eventually(lambda: stage.is_right(portfolio), "version 5 is valued")
    await stage.feed.send_positions(positions_now(portfolio, "USD", 4, (3, "99")))
    await stage.feed.send_positions(positions_now(portfolio, "USD", 5, (3, "98")))
    await send_new(stage, "USD", (4, "1"))  # all partitions are read together: by now those two were seen
    await stage.feed.quote((3, 149.9))
    await eventually(lambda: stage.is_right(portfolio), "it is still version 5 that is valued")


async def test_an_instrument_that_is_new_in_postgresql_is_learnt(stage: Stage, portfolio: str) -> None:
    await stage.bank.add_instrument(40, "NEW", "equity", "USD")
    await stage.bank.add_close(40, datetime.now(UTC).date() - timedelta(days=1), 12.5)
    await stage.feed.send_positions(await stage.bank.book(portfolio, "USD", 9, (40, "8")))

    async def is_valued() -> bool:
        found = await stage.valuation(portfolio)
        return found.total_equity == 100.0 and found.rows[0].symbol == "NEW"

    await eventually(is_valued, "the new instrument is valued at its close")
    await stage.feed.send_batch(quotes((40, 13.0), event_ns=time.time_ns()))
    await eventually(lambda: has_equity(stage, portfolio, 104.0), "and then at its price")
    await stage.feed.send_positions(await stage.bank.book(portfolio, "USD", 10, (3, "1")))


async def has_equity(stage: Stage, portfolio: str, equity: float) -> bool:
    found = await stage.valuation(portfolio)
    return found is not None and found.total_equity == equity


def one_quote(instrument: int, bid: float, ask: float, last: float, later_ns: int = 0) -> QuoteBatch:
    now_ns = time.time_ns()
    columns = [np.array([value]) for value in (bid, ask, last, np.nan)]
    return QuoteBatch("test", now_ns, np.array([instrument], np.uint32), *columns, np.array([now_ns + later_ns]))


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("unknown_instrument", lambda: one_quote(NOBODYS, np.nan, np.nan, 10.0)),
        ("not_positive", lambda: one_quote(3, np.nan, np.nan, -1.0)),
        ("crossed", lambda: one_quote(3, 10.2, 10.1, np.nan)),
        ("no_price", lambda: one_quote(3, np.nan, np.nan, np.nan)),
        ("not_finite", lambda: one_quote(3, np.nan, np.nan, np.inf)),
        ("too_large", lambda: one_quote(3, np.nan, np.nan, 1e300)),
        ("future", lambda: one_quote(3, np.nan, np.nan, 10.0, later_ns=3_600 * 10**9)),
        ("cash_has_no_quote", lambda: one_quote(1, np.nan, np.nan, 2.0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_quote_that_cannot_be_right_becomes_a_dead_letter_and_the_next_one_counts(
    stage: Stage, portfolio: str, reason: str, bad: Callable[[], QuoteBatch]
) -> None:
    batch = bad()
    place = await stage.feed.send_batch(batch)
    await stage.feed.quote((3, 151.5), (4, 112.0))
    letter = await eventually(lambda: stage.letter(reason), f"there is a dead letter for {reason}")
    assert (letter.topic, letter.partition, letter.offset) == (QUOTES_TOPIC, place.partition, place.offset)
    assert decode_quotes(letter.payload).instrument.tolist() == batch.instrument.tolist()
    await eventually(stage.all_right, "the good quotes are valued")


async def test_of_a_batch_only_the_bad_quotes_are_set_aside(stage: Stage, portfolio: str) -> None:
    await stage.feed.quote((3, 152.5), (NOBODYS - 1, 1.0), (4, 113.0))
    await eventually(stage.all_right, "the good quotes of the batch are valued")
    letter = await eventually(lambda: stage.letter("unknown_instrument"))
    assert (letter.count, decode_quotes(letter.payload).instrument.tolist()) == (1, [NOBODYS - 1])


@pytest.mark.parametrize("topic", [QUOTES_TOPIC, POSITIONS_TOPIC])
@pytest.mark.parametrize(
    "garbage",
    [b"\x00garbage", b"", None, encode_quotes(one_quote(3, 1.0, 1.0, 1.0))[:-3]],
    ids=["garbage", "empty", "deletion", "cut"],
)
async def test_garbage_becomes_a_dead_letter_and_stops_nothing(
    stage: Stage, portfolio: str, topic: str, garbage: bytes | None
) -> None:
    place = await stage.feed.send(topic, garbage, key=b"key", partition=2)

    async def is_set_aside() -> bool:
        letter = await stage.letter("unreadable")
        return letter is not None and (letter.topic, letter.partition, letter.offset) == (topic, 2, place.offset)

    await eventually(is_set_aside, "the garbage is a dead letter")
    await stage.feed.quote((3, 153.5))
    await eventually(lambda: stage.is_right(portfolio), "the next quote is valued")


def with_quantity(portfolio: str, quantity: str) -> bytes:
    record = msgspec.json.decode(encode_message(positions_now(portfolio, "USD", 50, (3, "1"))))
    record["positions"][0]["quantity"] = quantity
    return msgspec.json.encode(record)


BAD_POSITIONS: list[tuple[str, Callable[[str], bytes]]] = [
    ("unknown_instrument", lambda one: encode_message(positions_now(one, "USD", 50, (77, "1")))),
    ("unknown_instrument", lambda one: encode_message(positions_now(one, "USD", 50, (2**70, "1")))),
    ("unknown_instrument", lambda one: encode_message(positions_now(one, "USD", 50, (-3, "1")))),
    ("duplicate_instrument", lambda one: encode_message(positions_now(one, "USD", 50, (3, "1"), (3, "2")))),
    ("unknown_currency", lambda one: encode_message(positions_now(one, "XTS", 50, (3, "1")))),
    ("unknown_portfolio", lambda _: encode_message(positions_now(str(uuid4()), "USD", 50, (3, "1")))),
    ("unknown_portfolio", lambda _: encode_message(positions_now("garbage", "USD", 50, (3, "1")))),
    ("unknown_portfolio", lambda one: encode_message(positions_now(one.upper(), "USD", 50, (3, "1")))),
    ("not_finite", lambda one: with_quantity(one, "NaN")),
    ("not_finite", lambda one: with_quantity(one, "sNaN")),
    ("not_finite", lambda one: with_quantity(one, "-Infinity")),
    ("not_finite", lambda one: with_quantity(one, "1e400")),
    ("too_large", lambda one: with_quantity(one, "1e14")),
]


@pytest.mark.parametrize(
    ("reason", "bad"), BAD_POSITIONS, ids=[f"{reason}-{number}" for number, (reason, _) in enumerate(BAD_POSITIONS)]
)
async def test_positions_that_cannot_be_right_become_a_dead_letter_and_the_old_ones_stay(
    stage: Stage, portfolio: str, reason: str, bad: Callable[[str], bytes]
) -> None:
    value = bad(portfolio)
    place = await stage.feed.send(POSITIONS_TOPIC, value, partition=1)

    async def is_set_aside() -> bool:
        letter = await stage.letter(reason)
        return letter is not None and (letter.offset, letter.payload) == (place.offset, value)

    await eventually(is_set_aside, f"there is a dead letter for {reason}")
    await stage.feed.quote((3, 154.5))
    await eventually(lambda: stage.is_right(portfolio), "the old positions are valued")


async def test_an_instrument_in_a_currency_that_is_new_too_has_the_worker_restore(stage: Stage, portfolio: str) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    before = (await stage.valuation(portfolio)).epoch
    await stage.bank.pool.execute("insert into currencies values ('SEK', 'Krona', 2)")
    for number, symbol, asset_class, base, close in (
        (50, "USD/SEK", "fx", "USD", 10.0),
        (51, "VOLV", "equity", None, 250.0),
    ):
        await stage.bank.add_instrument(number, symbol, asset_class, "SEK", base)
        await stage.bank.add_close(number, yesterday, close)
    await stage.feed.send_positions(await stage.bank.book(portfolio, "USD", 2, (51, "4")))
    await eventually(lambda: has_equity(stage, portfolio, 100.0), "the new instrument is valued at the new rate")
    await stage.feed.send_positions(await stage.bank.book(portfolio, "USD", 3, (3, "1")))
    await eventually(lambda: stage.all_right(before + 1), "everything is right, under a new epoch")


async def test_the_base_currency_follows_the_newest_version(stage: Stage, portfolio: str) -> None:
    await stage.feed.send_positions(await stage.bank.book(portfolio, "EUR", 2, (3, "10")))

    async def is_in_euro() -> bool:
        found = await stage.is_right(portfolio)
        return found is not None and found.base_currency == "EUR"

    await eventually(is_in_euro, "the portfolio is valued in euro")


async def test_everything_is_written_again_within_two_seconds_of_a_flush(stage: Stage) -> None:
    await stage.redis.flushall()
    begun = time.monotonic()
    await eventually(stage.all_right, "all valuations are there again")
    await eventually(stage.live.quotes, "and the quotes")
    await eventually(lambda: stage.live.totals(stage.settings.worker_name), "and the totals")
    assert time.monotonic() - begun < 2.0


async def test_ticks_go_on_without_redis_and_all_is_right_soon_after_it_is_back(
    stage: Stage, valkey: OwnValkey, portfolio: str
) -> None:
    valkey.stop()
    refused = DEAD_LETTERS.labels("unknown_instrument")._value.get()
    for step in range(20):
        await stage.feed.quote((3, 190.0 + step), (9, 0.85 + step / 1000))
    await stage.feed.send_batch(one_quote(NOBODYS, np.nan, np.nan, 10.0))

    def went_on() -> bool:
        return DEAD_LETTERS.labels("unknown_instrument")._value.get() > refused

    await eventually(went_on, "ticks are read while Redis is away")
    await valkey.start()
    begun = time.monotonic()
    await eventually(stage.all_right, "all valuations are right again")
    assert time.monotonic() - begun < 5.0
    assert (await stage.valuation(portfolio)).rows[0].price == 209.0
