import asyncio
import io
import os
import sys
import time
from asyncio.subprocess import PIPE
from dataclasses import replace

import numpy as np
import pytest
from aiokafka.structs import OffsetAndMetadata
from books import positions, quotes
from fakes import eventually
from fakes_stream import Tail, open_tail
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from alhambra.dead_letters import (
    METADATA_LIMIT,
    CannotPutBack,
    Progress,
    Wanted,
    address,
    decode_offsets,
    encode_offsets,
    replay_dead_letters,
    restore_progress,
)
from alhambra.errors import CannotStart
from stream.kafka import open_producer
from stream.messages import (
    DEAD_LETTERS_TOPIC,
    POSITIONS_TOPIC,
    QUOTES_TOPIC,
    DeadLetter,
    decode_quotes,
    encode_message,
    encode_quotes,
)

PORTFOLIO = "2f0c8e3e-1a52-4c4c-9a43-5a0d4f0b7f11"
PARTITIONS = {QUOTES_TOPIC: 4, POSITIONS_TOPIC: 4}
BAD_QUOTES = encode_quotes(quotes((3, 10.0), (9, 11.0), (7, 12.0)))
BAD_POSITIONS = encode_message(positions(PORTFOLIO, "USD", 4, (77, "1", "1")))


def letter(topic: str, reason: str, payload: bytes, count: int = 1) -> DeadLetter:
    return DeadLetter(topic, 0, 5, reason, "for people", payload, time.time_ns(), count)


def test_quotes_are_wanted_whoever_leads_the_market_now() -> None:
    payload = encode_quotes(replace(quotes((3, 10.0), (4, 11.0)), epoch=7))
    records = address(letter(QUOTES_TOPIC, "crossed", payload), {QUOTES_TOPIC: 4})
    assert [decode_quotes(one.value).epoch for one in records] == [0, 0]


def test_quotes_go_to_the_partitions_of_their_instruments() -> None:
    records = address(letter(QUOTES_TOPIC, "unknown_instrument", BAD_QUOTES), PARTITIONS)
    places = {one.partition: decode_quotes(one.value).instrument.tolist() for one in records}
    assert places == {3: [3, 7], 1: [9]}


def test_positions_go_back_unchanged_under_their_portfolio() -> None:
    [record] = address(letter(POSITIONS_TOPIC, "unknown_instrument", BAD_POSITIONS), PARTITIONS)
    assert (record.topic, record.value, record.key) == (POSITIONS_TOPIC, BAD_POSITIONS, PORTFOLIO.encode())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("iboss:GetTransactions", b"<xml/>"),
        (DEAD_LETTERS_TOPIC, b""),
        (QUOTES_TOPIC, BAD_QUOTES[:-1]),
        (POSITIONS_TOPIC, b"\x00"),
    ],
)
def test_what_nothing_could_read_is_not_put_back(topic: str, payload: bytes) -> None:
    with pytest.raises(CannotPutBack):
        address(letter(topic, "unreadable", payload), {**PARTITIONS, DEAD_LETTERS_TOPIC: 4})


@given(st.sets(st.integers(0, 20_000)))
def test_the_offsets_beyond_the_committed_one_are_remembered(distances: set[int]) -> None:
    assert decode_offsets(encode_offsets(distances)) == distances


@given(st.integers(0, 1000), st.lists(st.booleans(), max_size=50))
def test_progress_comes_back_as_it_was_committed(start: int, outcomes: list[bool]) -> None:
    progress = Progress(start)
    for offset, put_back in enumerate(outcomes, start):
        progress.put_back.add(offset) if put_back else progress.leave(offset)
        progress.next = offset + 1
    restored = restore_progress(progress.committed(), 0)
    open_letters = {offset for offset, put_back in enumerate(outcomes, start) if not put_back}
    found = {offset for offset in range(restored.next, start + len(outcomes)) if offset not in restored.put_back}
    assert found == open_letters


def test_a_partition_whose_oldest_letters_the_broker_has_dropped_goes_on_with_what_is_left() -> None:
    assert restore_progress(OffsetAndMetadata(3, ""), 8).next == 8
    assert restore_progress(None, 8).next == 8


def test_ten_thousand_letters_put_back_between_as_many_that_are_left_can_be_remembered() -> None:
    assert len(encode_offsets(range(0, 20_000, 2))) < METADATA_LIMIT


def test_more_than_a_broker_keeps_beside_an_offset_is_said() -> None:
    chance = np.random.default_rng(1).integers(0, 2, 60_000).astype(bool)
    progress = Progress(60_000, set(np.flatnonzero(chance).tolist()), first_left=0)
    with pytest.raises(CannotStart, match="remember"):
        progress.committed()


async def send_letters(servers: str, *letters: DeadLetter | bytes, partition: int = 1) -> None:
    async with open_producer(servers, "test") as producer:
        for one in letters:
            value = one if isinstance(one, bytes) else encode_message(one)
            await producer.send_and_wait(DEAD_LETTERS_TOPIC, value, partition=partition)


async def replay(servers: str, **wanted: object) -> str:
    printed = io.StringIO()
    await replay_dead_letters(servers, Wanted(**wanted), Console(width=200, file=printed))
    return printed.getvalue()


async def instruments(tail: Tail) -> list[int]:
    return [number for value in await tail.values() for number in decode_quotes(value).instrument.tolist()]


@pytest.mark.integration
async def test_each_letter_is_put_back_once_and_what_cannot_be_stays(kafka_servers: str) -> None:
    bad = letter(QUOTES_TOPIC, "unknown_instrument", BAD_QUOTES, 3)
    foreign = letter("iboss:GetTransactions", "unreadable", b"<xml/>")
    await send_letters(kafka_servers, foreign, bad, b"garbage", letter(QUOTES_TOPIC, "unreadable", b"\x00"))
    async with open_tail(kafka_servers, QUOTES_TOPIC) as back:
        printed = await replay(kafka_servers)
        assert "put back" in printed
        for topic in (QUOTES_TOPIC, "iboss:GetTransactions", DEAD_LETTERS_TOPIC):
            assert topic in printed

        async def is_back() -> bool:
            return sorted(await instruments(back)) == [3, 7, 9]

        await eventually(is_back, "the quotes are back")
        again = await replay(kafka_servers)
        assert "put back" not in again
        assert "iboss:GetTransactions" in again  # it is still there, and still said
        await send_letters(kafka_servers, letter(QUOTES_TOPIC, "crossed", encode_quotes(quotes((4, 1.0)))))
        await replay(kafka_servers)

        async def is_back_too() -> bool:
            return sorted(await instruments(back)) == [3, 4, 7, 9]

        await eventually(is_back_too, "only what was new is back")


@pytest.mark.integration
async def test_a_reason_a_limit_and_a_dry_run_are_kept_to(kafka_servers: str) -> None:
    for number, reason in enumerate(("crossed", "future", "crossed", "crossed", "future")):
        payload = encode_quotes(quotes((10 + number, 1.0)))
        await send_letters(kafka_servers, letter(QUOTES_TOPIC, reason, payload), partition=number % 2)
    async with open_tail(kafka_servers, QUOTES_TOPIC) as back:

        async def replayed(count: int, **wanted: object) -> list[int]:
            await replay(kafka_servers, **wanted)

            async def are_there() -> bool:
                return len(await instruments(back)) >= count

            await eventually(are_there, f"{count} are back")
            return sorted(await instruments(back))

        assert "would be put back" in await replay(kafka_servers, dry_run=True)
        assert await replayed(0, dry_run=True) == []
        assert len(await replayed(2, reason="crossed", limit=2)) == 2
        assert await replayed(3, reason="crossed") == [10, 12, 13]
        assert await replayed(5) == [10, 11, 12, 13, 14]
        assert "no dead letters" in await replay(kafka_servers)


@pytest.mark.integration
async def test_the_command_says_in_one_table_what_it_did(kafka_servers: str) -> None:
    await send_letters(kafka_servers, letter(POSITIONS_TOPIC, "unknown_instrument", BAD_POSITIONS))
    async with open_tail(kafka_servers, POSITIONS_TOPIC) as back:
        assert await command(kafka_servers, "--dry-run") == (0, 1)
        assert await command(kafka_servers) == (0, 1)
        assert await command(kafka_servers) == (0, 0)
        await eventually(back.values, "the positions are back")
        assert await back.values() == [BAD_POSITIONS]


async def command(servers: str, *options: str) -> tuple[int, int]:
    """Run the command; returns its exit status, and how many lines of it name the positions."""
    names = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KAFKA_BOOTSTRAP_SERVERS": servers}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alhambra.main", "replay-dead-letters", *options, env=names, stdout=PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, printed.decode().count(POSITIONS_TOPIC)


async def test_a_kafka_that_is_not_there_is_one_clear_sentence() -> None:
    with pytest.raises(CannotStart, match=r"does not answer at 127\.0\.0\.1:1"):
        await replay("127.0.0.1:1")
