"""Fetch documents of a venue over HTTP: bounded in size and time, and with keys to nobody but the venue."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from ingest.market.errors import FeedUnclear, VenueLost
from ingest.market.losses import explain_status

DOCUMENT_BYTES = 16 << 20
DOCUMENT_S = 30.0  # the whole of it: a time-out of each read alone would let one byte a second go on for ever
REDIRECTS = 3
MOVED = frozenset({301, 302, 303, 307, 308})
NOT_MODIFIED = 304
OK = 200


@dataclass(frozen=True, slots=True)
class Document:
    """Hold an answer: its body, None where nothing has changed, and what makes the next request conditional."""

    body: bytes | None
    etag: str | None = None
    last_modified: str | None = None


def create_http_client(tls: ssl.SSLContext) -> httpx.AsyncClient:
    """Make the client of one feed; to be closed by `aclose`. Redirects are followed by `fetch_document` alone.

    Raises `FeedUnclear` where the environment names a proxy that cannot be used.
    """
    try:
        return httpx.AsyncClient(
            verify=tls,
            timeout=httpx.Timeout(10.0, connect=5.0),
            follow_redirects=False,
            headers={"User-Agent": "Alhambra", "Accept-Encoding": "identity"},  # unpacked, it is as large as it looks
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
        )
    except (ImportError, ValueError) as error:
        raise FeedUnclear(f"the proxy of this machine cannot be used: {error}") from error


async def fetch_document(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], known: Document | None = None
) -> Document:
    """Fetch one document; with what is `known` of it, only where it has changed.

    Raises `VenueLost` where the answer is no success or too large, and what httpx raises where there is none.
    """
    sent = dict(headers)
    if known is not None and known.etag:
        sent["If-None-Match"] = known.etag
    if known is not None and known.last_modified:
        sent["If-Modified-Since"] = known.last_modified
    async with asyncio.timeout(DOCUMENT_S):
        return await _follow(client, httpx.URL(url), sent, secret=bool(headers))


async def _follow(client: httpx.AsyncClient, url: httpx.URL, headers: Mapping[str, str], *, secret: bool) -> Document:
    for _ in range(REDIRECTS + 1):
        async with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code in MOVED and "location" in answer.headers:
                url = _redirected(url, answer.headers["location"], secret=secret)
                continue
            if answer.status_code == NOT_MODIFIED:
                return Document(None, answer.headers.get("etag"), answer.headers.get("last-modified"))
            if answer.status_code != OK:
                raise explain_status(answer.status_code, answer.headers.get("retry-after"))
            body = await _read(answer)
            return Document(body, answer.headers.get("etag"), answer.headers.get("last-modified"))
    raise VenueLost(f"it redirects more than {REDIRECTS} times", lasting=True)


def _redirected(url: httpx.URL, location: str, *, secret: bool) -> httpx.URL:
    """Return where to go on: not from TLS to plain, and with keys not to another host."""
    target = url.join(location)
    if url.scheme == "https" and target.scheme != "https":
        raise VenueLost("it redirects from https to another scheme", lasting=True)
    if secret and (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
        raise VenueLost(f"it redirects to another host, {target.host}, which is not given the key", lasting=True)
    return target


async def _read(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise VenueLost("it packs its document, which was not asked for")
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > DOCUMENT_BYTES:
            raise VenueLost(f"its document is larger than {DOCUMENT_BYTES >> 20} MiB")
    return bytes(body)
