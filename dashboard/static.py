"""Serve scripts and styles compressed once and cached for ever where their address carries a fingerprint."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread
import brotli
from dash.fingerprint import check_fingerprint
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIXES = ("/_dash-component-suites/", "/assets/")
IMMUTABLE = "public, max-age=31536000, immutable"
# Dash asks for a few files by names that never change: a day of reuse, then a question with the tag.
REVALIDATED = "public, max-age=600, stale-while-revalidate=86400"
# On the table's script (870 kB) 5 takes 0.02 s and leaves 229 kB, 11 takes 1.3 s and leaves 205 kB. Our own files
# come compressed at 11 from the build.
QUALITY = 5
SMALLEST_COMPRESSED = 800
ALREADY_COMPRESSED = (".woff2", ".png", ".ico", ".br")
HASHED_QUERY = re.compile(rb"v=[0-9a-f]{12}")
HASHED_NAME = re.compile(r"\.[0-9a-f]{12}\.[a-z0-9]+$")
REPLACED_HEADERS = frozenset({b"content-length", b"etag", b"cache-control", b"last-modified", b"accept-ranges"})
CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"range", b"accept-encoding"})


@dataclass(slots=True)
class Answer:
    """Collect what the application answered."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    async def collect(self, message: Message) -> None:
        """Take one ASGI message of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """Hold a file as it is sent: plain, compressed where that helps, and its tag."""

    headers: list[tuple[bytes, bytes]]
    plain: bytes
    compressed: bytes | None
    tag: bytes


class StaticAssets:
    """Stand before the application, keep each static file in memory, compressed; pass everything else through.

    The memory is bounded by the files there are: the key is the file's name without its fingerprint.
    """

    def __init__(self, inner: ASGIApp, assets: Path) -> None:
        self._inner = inner
        self._assets = assets
        self._files: dict[str, StaticFile] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET or HEAD of a static file; pass everything else to the application."""
        if not _is_static(scope):
            await self._inner(scope, receive, send)
            return
        key = plain_name(scope["path"])
        found = self._files.get(key)
        if found is None:
            answer = await self._ask(scope, receive)
            if answer.status != 200:
                await _send(send, answer.status, answer.headers, bytes(answer.body))
                return
            found = await anyio.to_thread.run_sync(self._compress, scope["path"], answer)
            self._files[key] = found
        await _send_file(found, scope, send)

    async def _ask(self, scope: Scope, receive: Receive) -> Answer:
        headers = [pair for pair in scope["headers"] if pair[0] not in CONDITIONS]
        answer = Answer()
        await self._inner({**scope, "method": "GET", "headers": headers}, receive, answer.collect)
        return answer

    def _compress(self, path: str, answer: Answer) -> StaticFile:
        plain = bytes(answer.body)
        headers = [pair for pair in answer.headers if pair[0].lower() not in REPLACED_HEADERS]
        tag = f'"{hashlib.sha256(plain).hexdigest()[:24]}"'.encode()
        return StaticFile(headers, plain, self._brotli(path, plain), tag)

    def _brotli(self, path: str, plain: bytes) -> bytes | None:
        if len(plain) < SMALLEST_COMPRESSED or path.endswith(ALREADY_COMPRESSED):
            return None
        built = self._assets / (path.removeprefix("/assets/") + ".br")
        if path.startswith("/assets/") and built.is_file():
            return built.read_bytes()
        compressed: bytes = brotli.compress(plain, quality=QUALITY)
        return compressed


def plain_name(path: str) -> str:
    """Return the address without Dash's fingerprint."""
    name: str = check_fingerprint(path)[0]  # type: ignore[no-untyped-call]  # dash is untyped here
    return name


def is_fingerprinted(path: str, query: bytes) -> bool:
    """Tell whether an address can only ever mean one content: a hash or Dash's fingerprint stands in it."""
    return bool(HASHED_NAME.search(path)) or plain_name(path) != path or bool(HASHED_QUERY.fullmatch(query))


def _is_static(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"].startswith(PREFIXES)


async def _send_file(file: StaticFile, scope: Scope, send: Send) -> None:
    request = Headers(scope=scope)
    lasting = is_fingerprinted(scope["path"], scope["query_string"])
    headers = [
        *file.headers,
        (b"etag", file.tag),
        (b"vary", b"accept-encoding"),
        (b"cache-control", (IMMUTABLE if lasting else REVALIDATED).encode()),
    ]
    if request.get("if-none-match", "").encode() == file.tag:
        await _send(send, 304, headers, b"")
        return
    body = file.plain
    if file.compressed is not None and "br" in request.get("accept-encoding", ""):
        body = file.compressed
        headers.append((b"content-encoding", b"br"))
    headers.append((b"content-length", str(len(body)).encode()))
    await _send(send, 200, headers, b"" if scope["method"] == "HEAD" else body)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
