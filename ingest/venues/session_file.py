"""Read and write recorded sessions: what went over one connection, a line for each record, with the time.

    URL <-> 1618677816.843429800              the connection was opened
    URL <- 1618677817.020616000: {…}          we sent
    1618677817.061845000: {…}                 we received
    URL -> 1618677816.841499800: […]          a document was fetched

A line that cannot be read is handed out as `Unreadable`, with its number, and the next one goes on: recorded files are
cut, joined and edited by hand. A record stays the bytes that it was, because a wrong encoding is worth recording too;
only line breaks become spaces, which mean the same in JSON and in XML. Keys of ours are never written.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from io import BufferedReader
from typing import BinaryIO, TypeAlias, cast
from urllib.parse import quote

from ingest.venues.venue import Keys

LINE_BYTES = 64 << 20  # a snapshot of the deepest book is some 4 MB
STANDARD_INPUT = "-"
MASK = b"***"
SECOND_NS = 1_000_000_000
_GZIP = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 16
_LINE = re.compile(
    rb"(?:(?P<url>\S{1,65536}) (?P<arrow><->|<-|->) )?(?P<second>[0-9]{1,12})(?:\.(?P<fraction>[0-9]{1,20}))?"
    rb"(?:: (?P<body>.*))?",
    re.DOTALL,
)


class Way(StrEnum):
    """Name what a line tells of."""

    OPENED = "<->"
    SENT = "<-"
    FETCHED = "->"
    RECEIVED = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one record of a session; `url` is empty of what was received, `body` of what was opened."""

    number: int
    way: Way
    at_ns: int
    url: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Say that a line is none of a session."""

    number: int
    reason: str


Read: TypeAlias = Line | Unreadable


def open_session(path: str) -> BinaryIO:
    """Open a session for reading: a file, compressed by gzip or not, or standard input where it is `-`.

    Raises `OSError` where there is none.
    """
    file = cast(BufferedReader, sys.stdin.buffer if path == STANDARD_INPUT else open(path, "rb"))  # noqa: SIM115 - returned
    compressed = file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
    return cast(BinaryIO, _Compressed(file) if compressed else file)


def read_session(file: BinaryIO, line_bytes: int = LINE_BYTES) -> Iterator[Read]:
    """Yield the lines of a session as they are read; a line of more than `line_bytes` is passed over and said."""
    number = 0
    try:
        while raw := file.readline(line_bytes + 1):
            number += 1
            if len(raw) > line_bytes:
                _skip_line(file, raw)
                yield Unreadable(number, f"it is longer than {line_bytes:,} bytes")
                continue
            line = raw.rstrip(b"\r\n")
            if line:
                yield parse_line(line, number)
    except (EOFError, OSError, zlib.error) as error:  # of gzip: cut off, or damaged
        yield Unreadable(number + 1, f"the file cannot be read further: {error}")


def parse_line(line: bytes, number: int) -> Read:
    """Return what one line says, without its end."""
    found = _LINE.fullmatch(line)
    if found is None:
        return Unreadable(number, "it does not begin with a time, or with an address, an arrow and a time")
    way = Way((found["arrow"] or b"").decode())
    body = found["body"]
    if (body is None) is not (way is Way.OPENED):
        return Unreadable(number, "it holds no record" if body is None else "an opened connection holds a record")
    at_ns = int(found["second"]) * SECOND_NS + int((found["fraction"] or b"0")[:9].ljust(9, b"0"))
    return Line(number, way, at_ns, (found["url"] or b"").decode("utf-8", "replace"), body or b"")


class SessionWriter:
    """Write one connection's session into a file that somebody else opened, compressed or not.

    `secrets` are masked wherever they stand, as they are and as JSON and addresses write them.
    """

    def __init__(self, file: BinaryIO, secrets: Sequence[str] = ()) -> None:
        self._file = file
        self._secrets = _spellings(secrets)

    def opened(self, url: str, at_ns: int) -> None:
        """Note that a connection was opened; whoever reads begins with empty books here."""
        self._write(f"{_address(url)} <-> {_time(at_ns)}", b"")

    def sent(self, url: str, frame: str | bytes, at_ns: int) -> None:
        """Note what was sent."""
        self._write(f"{_address(url)} <- {_time(at_ns)}: ", frame)

    def fetched(self, url: str, body: bytes, at_ns: int) -> None:
        """Note what was answered to a request."""
        self._write(f"{_address(url)} -> {_time(at_ns)}: ", body)

    def received(self, frame: str | bytes, at_ns: int) -> None:
        """Note what was received."""
        self._write(f"{_time(at_ns)}: ", frame)

    def _write(self, head: str, record: str | bytes) -> None:
        body = record.encode("utf-8", "replace") if isinstance(record, str) else record
        line = head.encode("utf-8", "replace") + body.replace(b"\n", b" ").replace(b"\r", b" ")
        for secret in self._secrets:
            line = line.replace(secret, MASK)
        self._file.write(line + b"\n")


class _Compressed(gzip.GzipFile):
    """Close the file beneath too, which `GzipFile` leaves to who opened it."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(fileobj=file)
        self._beneath = file

    def close(self) -> None:
        super().close()
        self._beneath.close()


def secrets_of(keys: Keys) -> tuple[str, ...]:
    """Return the keys that there are, for the writer to mask."""
    return tuple(value for value in (getattr(keys, field.name) for field in fields(keys)) if value)


def _spellings(secrets: Sequence[str]) -> tuple[bytes, ...]:
    found = {
        text for secret in secrets if secret for text in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))
    }
    return tuple(text.encode() for text in sorted(found, key=len, reverse=True))


def _address(url: str) -> str:
    return "".join(url.split()) or "-"  # a space would end it


def _time(at_ns: int) -> str:
    return f"{at_ns // SECOND_NS}.{at_ns % SECOND_NS:09d}"


def _skip_line(file: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = file.readline(_CHUNK_BYTES)
