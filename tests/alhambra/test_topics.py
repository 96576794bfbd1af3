import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE

import numpy as np

from alhambra.topic_reader import readable
from stream.kafka import open_producer
from stream.messages import QUOTES_TOPIC, QuoteBatch, encode_quotes


def batch() -> QuoteBatch:
    nan = np.array([np.nan, np.nan])
    last = np.array([101.5, 7.25])
    moments = np.array([1_700_000_000_000_000_001] * 2)
    return QuoteBatch(
        "simulated", 1_700_000_000_000_000_002, np.array([17, 4], np.uint32), nan, nan, last, nan, moments
    )


def test_a_quote_batch_reads_as_one_line_a_quote_with_absent_prices_absent() -> None:
    first, second = readable(QUOTES_TOPIC, encode_quotes(batch()))
    assert (first["instrument"], first["last"], first["bid"]) == (17, 101.5, None)
    assert second["instrument"] == 4
    assert first["event"] == "2023-11-14T22:13:20.000000001Z"


def test_what_cannot_be_read_says_so_and_stops_nothing() -> None:
    [line] = readable(QUOTES_TOPIC, b"nonsense")
    assert "unreadable" in line


async def test_the_tail_of_a_topic_is_printed_from_its_beginning(kafka_servers: str) -> None:
    async with open_producer(kafka_servers, "test") as producer:
        await producer.send_and_wait(QUOTES_TOPIC, encode_quotes(batch()), partition=1)
    options = ("--from-beginning", "--limit", "2")
    names = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KAFKA_BOOTSTRAP_SERVERS": kafka_servers}
    tail = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alhambra.main", "topics", "tail", QUOTES_TOPIC, *options, env=names, stdout=PIPE
    )
    printed, _ = await asyncio.wait_for(tail.communicate(), 20)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [(line["partition"], line["instrument"]) for line in lines] == [(1, 17), (1, 4)]
