"""Recorded sessions: what is written is read again, keys are never written, damage costs the damaged line only."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.venues.session_file import (
    Line,
    SessionWriter,
    Unreadable,
    Way,
    open_session,
    parse_line,
    read_session,
    secrets_of,
)
from ingest.venues.venue import Keys

URL = "wss://venue.example/stream?plan=free"
AT = 1_700_000_000_123_456_789


def read(content: bytes, **options: int) -> list[Line | Unreadable]:
    return list(read_session(io.BytesIO(content), **options))


def write(secrets: tuple[str, ...] = ()) -> tuple[SessionWriter, io.BytesIO]:
    file = io.BytesIO()
    return SessionWriter(file, secrets), file


def test_what_is_written_is_read_again() -> None:
    writer, file = write()
    writer.opened(URL, AT)
    writer.sent(URL, '{"op":"subscribe"}', AT + 1)
    writer.fetched("https://venue.example/depth", b'{"lastUpdateId":5}', AT + 2)
    writer.received('{"price":"10.05: still the price"}', AT + 3)
    writer.received(b"\xff\xfe no text", AT + 4)
    assert read(file.getvalue()) == [
        Line(1, Way.OPENED, AT, URL, b""),
        Line(2, Way.SENT, AT + 1, URL, b'{"op":"subscribe"}'),
        Line(3, Way.FETCHED, AT + 2, "https://venue.example/depth", b'{"lastUpdateId":5}'),
        Line(4, Way.RECEIVED, AT + 3, "", b'{"price":"10.05: still the price"}'),
        Line(5, Way.RECEIVED, AT + 4, "", b"\xff\xfe no text"),
    ]


@given(st.binary(max_size=200), st.integers(0, 10**21 - 1))
def test_any_record_stays_one_line_with_its_time(record: bytes, at_ns: int) -> None:
    writer, file = write()
    writer.received(record, at_ns)
    [line] = read(file.getvalue())
    assert line == Line(1, Way.RECEIVED, at_ns, "", record.replace(b"\n", b" ").replace(b"\r", b" "))


@pytest.mark.parametrize("secret", ["s3cret-key", 'quote"and\\slash', "a b/c+d", "Bearer ümlaut"])
def test_a_key_is_written_nowhere(secret: str) -> None:
    writer, file = write(secrets_of(Keys(finnhub_token=secret)))
    writer.opened(f"wss://ws.finnhub.io?token={quote(secret, safe='')}", AT)
    writer.sent(URL, json.dumps({"action": "auth", "key": secret}), AT)
    writer.sent(URL, json.dumps({"action": "auth", "key": secret}, ensure_ascii=False), AT)
    writer.received(f'{{"msg":"no such key {secret}"}}', AT)
    written = file.getvalue()
    for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
        assert spelling.encode() not in written
    assert written.count(b"***") == 4


def test_keys_that_are_not_there_mask_nothing() -> None:
    assert secrets_of(Keys()) == ()


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"configuration: {}",
        b"yesterday: {}",
        b"wss://venue.example <- 1700000000.5",  # nothing was sent
        b"1700000000.5",
        b"wss://venue.example <-> 1700000000.5: {}",  # an opened connection holds nothing
        b"wss://venue.example => 1700000000.5: {}",
        b"99999999999999999999: {}",
        b"-5: {}",
        b"1_0: {}",
        "١٧٠٠٠٠٠٠٠٠: {}".encode(),
    ],
)
def test_a_line_of_no_session_is_said_with_its_number(line: bytes) -> None:
    found = read(b"1700000000: {}\n\n" + line + b"\n1700000001: []")
    assert [type(one) for one in found] == [Line, Unreadable, Line]
    assert found[1].number == 3


@given(st.binary(max_size=100))
def test_no_line_stops_the_reader(line: bytes) -> None:
    assert isinstance(parse_line(line, 1), Line | Unreadable)


def test_a_line_without_end_is_passed_over_in_bounded_memory() -> None:
    found = read(b"1700000000: {}\n" + b"x" * 1_000_000 + b"\n1700000001: []\n", line_bytes=1_000)
    assert [type(one) for one in found] == [Line, Unreadable, Line]
    assert found[2].number == 3


@pytest.mark.parametrize("name", ["session.txt", "session.txt.gz", "session"])
def test_a_file_is_unpacked_by_what_it_holds(tmp_path: Path, name: str) -> None:
    content = b"1700000000.25: {}\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name != "session.txt" else content)
    with open_session(str(path)) as file:
        assert list(read_session(file)) == [Line(1, Way.RECEIVED, 1_700_000_000_250_000_000, "", b"{}")]


def test_a_compressed_file_that_is_cut_or_damaged_is_said_and_what_came_before_is_kept(tmp_path: Path) -> None:
    lines = "".join(f'{1_700_000_000 + number}: {{"number": {number * 7919}}}\n' for number in range(20_000))
    packed = gzip.compress(lines.encode())
    for damaged in (packed[: len(packed) // 2], packed[:-6] + b"\x00" * 6):
        path = tmp_path / "session.gz"
        path.write_bytes(damaged)
        with open_session(str(path)) as file:
            found = list(read_session(file))
        assert isinstance(found[0], Line)
        assert isinstance(found[-1], Unreadable)
        assert sum(isinstance(one, Unreadable) for one in found) <= 2


def test_all_recorded_sessions_are_read(shared_data: Path) -> None:
    lines = {}
    for path in sorted((shared_data / "ws-recorded").glob("*.ws*.gz")):
        with open_session(str(path)) as file:
            found = list(read_session(file))
        assert all(isinstance(one, Line) for one in found), path.name
        lines[path.name.split(".")[0]] = len(found)
    assert lines == {"BINANCE": 266, "BITSTAMP": 768, "COINBASE": 2_500, "KRAKEN": 4_323}
